"""A node that is monitored: the daemon's loop on a simulated node, and a node_exporter."""

from pathlib import Path

import fixtures
from oslo_config import cfg

from nested_agent import service
from nested_agent.agent import Effort
from nested_agent.conf import load
from nested_agent.remediation.history import History
from nested_agent.reporting.textfile import NAME, Textfile
from tests.functional.prometheus import NodeExporter
from tests.unit.simulated import SimulatedNode

NOVA_CONF = '/etc/nova/nova.conf'
GOOD = '[libvirt]\nvirt_type = kvm\ncpu_mode = host-passthrough\n'
#: Guests get a processor without the flag.
DRIFTED = GOOD.replace('host-passthrough', 'custom') + 'cpu_models = qemu64\n'

#: Seconds between two verifications.
INTERVAL = 1


class MonitoredNode(fixtures.Fixture):
    """A compute node of files; what runs on it is the agent's own loop, and a node_exporter.

    :param name: what Prometheus calls it
    :param files: of the node, that differ from what an operator wants
    """

    def __init__(self, name, files=None, **node):
        super().__init__()
        self.name = name
        self._files = files or {}
        self._parts = node
        self._service = None

    def _setUp(self):  # noqa: N802  # fixtures' name
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.exporter = self.useFixture(NodeExporter())
        self.file = self.exporter.directory / NAME
        self.node = SimulatedNode(self, **self._parts)
        self.write(self._files)
        path = self.base / 'nested-agent.conf'
        path.write_text(
            f'[DEFAULT]\nhost = {self.name}\n'
            f'[agent]\nstate_dir = {self.base / "state"}\ninterval = {INTERVAL}\n'
            '[remediation]\nnova_settle = 0\n'
        )
        (self.base / 'state').mkdir()
        self._conf = cfg.ConfigOpts()
        load.load(self._conf, [str(path)])
        self.addCleanup(self.stop)
        self.start()

    def start(self):
        """Start the agent, as the command does."""
        effort = Effort()
        channel = Textfile(
            self.exporter.directory,
            'of-the-test',
            lambda: self._conf.agent.interval,
            effort,
            History(self.base / 'state').runs,
        )
        self._service = service.AgentService(
            self._conf, None, self.node.root, [channel], effort=effort
        )
        self._service.start()

    def stop(self):
        """Stop it in an orderly way."""
        if self._service:
            self._service.stop()
            self._service = None

    def write(self, files):
        """Write files of the node: the agent sees them within its interval."""
        self.node.write(files)

    def remediate(self):
        """Mend the node as somebody who asks for it, and return the run."""
        return self._service.agent.remediate(noop=False, who='the test')
