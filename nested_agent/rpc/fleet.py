"""What agents tell the collector, and what it answers: the interface both sides share.

API history:

* 1.0: cast ``report_state(report, release)``; calls ``ping()``,
  ``list_nodes(filters, marker, limit)``, ``get_node(host)``, ``summary()``,
  ``list_events(filters, marker, limit)``

Reports go to the topic :data:`REPORTS`, questions to :data:`QUERIES`, so that these are answered
at once however many reports wait. Each message reaches one of the collectors, no matter which.
"""

from typing import Any

from nested_agent.rpc import api
from nested_agent.rpc.peer import Peer

REPORTS = 'nested_collector'
QUERIES = 'nested_collector_query'
VERSION = '1.0'

#: What a question may say.
HOST_LENGTH = 200
WORD_LENGTH = 64
PAGE = 500
PAGE_MOST = 5000

#: State of a node that no report came from for ``agent_down_time``; no agent ever reports it.
DOWN = 'down'

#: Filters of ``list_nodes``: a list of states, a list of reasons.
NODE_FILTERS = ('state', 'reason')
#: Filters of ``list_events``: a host, a kind, seconds since the epoch.
EVENT_FILTERS = ('host', 'kind', 'since')

COLLECTOR = Peer('the collector', QUERIES, None, 'no collector answers')


class StoreFailureError(api.AgentFailureError):
    """The collector cannot answer, for its database as a rule; its log says why."""


def reports(version: str = VERSION) -> Any:
    """Return the oslo.messaging Target of reports."""
    import oslo_messaging

    return oslo_messaging.Target(topic=REPORTS, version=version)
