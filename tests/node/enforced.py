"""The daemon in enforce mode on a node that has drifted: what its tests have in common."""

from typing import Any

from testtools.content import text_content

from tests.node import drifted
from tests.node.base import NodeTestCase
from tests.node.bed.bed import AMD
from tests.node.bed.node import Node
from tests.node.daemon import (
    DEADLINE,
    STATE,
    UNIT,
    conditions,
    configure,
    install,
    stored,
)
from tests.node.drifted import AFTER, MODPROBE_DROPIN, NOVA, NOVA_CONF

ENFORCE = '[remediation]\nmode = enforce\nsplay = 0\nnova_settle = 3\n'
DISABLED = '[policy]\nnested = disabled\n'
FAULT_CONF = '/etc/modprobe.d/fault.conf'


def results(run: dict[str, Any]) -> dict[str, str]:
    """Return what became of a run's actions; those on nova.conf all came out alike."""
    return {each['action']['kind']: each['result'] for each in run['outcomes']}


def states(run: dict[str, Any]) -> tuple[str, str]:
    return run['state_before'], run['state_after']


def make_loads_fail(node: Node) -> None:
    """Have every load of the module fail, though ``modprobe -D`` shows nothing wrong.

    kmod runs the command right before it inserts the module, which then finds no symbols.
    """
    fault = f'softdep {drifted.module(node)} pre: fault\ninstall fault /sbin/rmmod kvm\n'
    node.write_file(FAULT_CONF, fault)


class RemediateTestCase(NodeTestCase):
    def drifted(self, cpu: str = AMD) -> Node:
        node = self.node(cpu=cpu)
        drifted.drift(node)
        self.assertFalse(drifted.nested_guest_runs(node))
        self.addOnException(lambda error: self.tell(node))
        return node

    def tell(self, node: Node) -> None:
        """Have what the node has to say in the details of a failed test."""
        for command in (
            f'journalctl --no-pager -u {UNIT} -u {NOVA}',
            f'cat {STATE}/history.json',
            'cat /proc/modules',
        ):
            text = node.run(command, check=False).stdout
            self.addDetail(command, text_content(text))

    def start(self, node: Node, options: str = ENFORCE) -> None:
        install(node, options)
        node.run(f'systemctl enable --now {UNIT}', timeout=DEADLINE)

    def reconfigure(self, node: Node, options: str) -> None:
        configure(node, options)
        node.run(f'systemctl reload {UNIT}')

    def becomes(self, node: Node, state: str, **expected: str) -> dict[str, Any]:
        """Return the first report with this state and these conditions."""
        seen: list[Any] = []

        def report() -> dict[str, Any] | None:
            found = stored(node)
            seen[:] = found['state'], conditions(found)
            good = found['state'] == state and expected.items() <= conditions(found).items()
            return found if good else None

        try:
            found = node.wait_until(report, DEADLINE)
        except TimeoutError as error:
            raise AssertionError(f'not {state}, {expected}: {seen}') from error
        assert isinstance(found, dict)
        return found

    def assert_mended(self, node: Node) -> None:
        self.assertTrue(drifted.nested(node))
        self.assertTrue(drifted.nested_guest_runs(node))
        self.assertEqual(AFTER, node.read_file(NOVA_CONF))
        self.assertEqual('root:nova 640', drifted.owner_and_mode(node, NOVA_CONF))
        lines = node.read_file(MODPROBE_DROPIN).splitlines()
        self.assertEqual(f'options {drifted.module(node)} nested=1', lines[-1])
        self.assertEqual('root:root 644', drifted.owner_and_mode(node, MODPROBE_DROPIN))
        last = drifted.last_start(node)
        self.assertEqual(('host-passthrough', []), (last['cpu_mode'], last['cpu_models']))
