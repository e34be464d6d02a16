"""Casts the reports of many agents: ``python -m tools.simulate_agents CONF NODES``.

Writes a line when every node has reported once. SIGTERM ends it; it then writes how many reports
it has cast.
"""

from nested_agent import bootstrap  # noqa: F401, I001  # first, as in every command

import copy
import itertools
import signal
import sys
import threading
import time
from collections.abc import Sequence

import oslo_messaging
from oslo_config import cfg

from nested_agent.conf import load
from nested_agent.model import ConditionType
from nested_agent.rpc import api, fleet

#: One node in so many has another state in each round.
RESTLESS = 1000

REPORT = {
    'schema_version': '1.1',
    'host': 'node',
    'time': 0.0,
    'boot_id': '3c7b0fd4-6a2a-4a4f-9d0f-4b8f8f0b3a10',
    'driver': 'amd',
    'policy': {'nested': 'enabled', 'cpu_mode': 'any-exposing', 'minimum_kernel': '3.0'},
    'state': 'compliant',
    'conditions': [
        {
            'type': type_.value,
            'status': 'True',
            'reason': 'HostPassthrough',
            'message': '',
            'observed': None,
            'since': 1763890000.0,
        }
        for type_ in ConditionType
    ],
    'plan': [],
    'observation': {
        'kernel': {'release': '6.1.0-56-cloud-amd64'},
        'cpu': {'vendor': 'AuthenticAMD', 'model': 'AMD EPYC Processor'},
    },
    'sequence': 0,
    'nova_running': None,
    'remediation': {'mode': 'enforce', 'pause': None, 'failures': 0, 'last_run': None},
}


#: Threads: each cast waits until the broker has confirmed it.
THREADS = 16


class Share:
    """The agents of one thread."""

    def __init__(self, client: oslo_messaging.RPCClient, nodes: Sequence[int]) -> None:
        self.count = 0
        self.once = threading.Event()
        self.stopping = threading.Event()
        self._client = client
        self._nodes = nodes
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        for number in itertools.count():
            for node in self._nodes:
                if self.stopping.is_set():
                    return
                report = _report(node, number)
                self._client.cast({}, 'report_state', report=report, release='0.1.0')
                self.count += 1
            self.once.set()


def main() -> None:
    """Cast until told to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    conf, nodes = sys.argv[1], int(sys.argv[2])
    load.load(cfg.CONF, [conf])
    transport = api.open_transport(cfg.CONF, api.transport_url(cfg.CONF))
    client = oslo_messaging.get_rpc_client(transport, fleet.reports(), retry=0)
    shares = [Share(client, range(nodes)[first::THREADS]) for first in range(THREADS)]
    for share in shares:
        share.once.wait()
    print('all', flush=True)
    signal.sigwait({signal.SIGTERM})
    for share in shares:
        share.stopping.set()
    for share in shares:
        share.thread.join()
    print(sum(share.count for share in shares), flush=True)


def _report(node: int, number: int) -> dict[str, object]:
    report = copy.copy(REPORT)
    restless = node % RESTLESS == 0 and number % 2
    report.update(
        host=f'compute-{node:05}.example.org',
        sequence=number + 1,
        time=time.time(),
        state='drifted' if restless else 'compliant',
    )
    return report


if __name__ == '__main__':
    main()
