"""The agent's side of its interface."""

from collections.abc import Sequence

from oslo_config import cfg

from nested_agent.rpc import api
from nested_agent.rpc.api import Agent, configured
from nested_agent.rpc.listener import THREADS, Listener
from nested_agent.rpc.workers import Lanes

__all__ = ['THREADS', 'Agent', 'Server', 'configured']


class Server(Listener):
    """Answers for one host.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :param host: the name the agent is asked by at first
    """

    def __init__(self, conf: cfg.ConfigOpts, host: str, agent: Agent) -> None:
        def endpoints(host: str) -> Sequence[object]:
            # Imported here: it costs megabytes, and most of a start.
            from nested_agent.rpc.endpoint import Endpoint

            return [Endpoint(conf, host, agent)]

        super().__init__(conf, api.TOPIC, host, lambda: api.VERSION, endpoints, Lanes)
