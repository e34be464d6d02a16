"""A fix that is interrupted at any point, by a kill or by the loss of power, leaves no half state.

What is counted is printed, see the details of a test (stestr last --all-attachments).
"""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import testtools
from testtools.content import text_content

from tests.node import drifted, in_node
from tests.node.base import NodeTestCase
from tests.node.bed.node import Node
from tests.node.bed.qemu import Qemu, QemuMachine
from tests.node.bed.snapshot import overlay
from tests.node.daemon import CONFIG, DEADLINE, STATE, UNIT, install, runs
from tests.node.drifted import (
    AFTER,
    BEFORE,
    MENDED_NAMES,
    MODPROBE_DROPIN,
    NOVA_CONF,
    REVERTED_NAMES,
    last_start,
    nested_guest_runs,
)

# By SIGKILL, or by SIGALRM that nobody handles.
KILLED = (-9, -14)
OPTION = 'options kvm_amd nested=1'
# Of what the agent remembers; not the half of a write that was killed, which nobody reads and the
# next recovery sweeps away, and not saved files, which have the digest of their content for a name.
RECORDS = {
    *('changes.json', 'control.json', 'history.json', 'originals'),
    *('history.lock', 'remediation.lock'),
}
KILL_SECONDS = 3600.0
# What nova-compute reads does not matter here, and reading it is slow: there are many restarts.
WAITS = """\
#!/bin/sh
trap exit INT TERM
while :; do sleep 3600 & wait; done
"""


@testtools.skipUnless('NESTED_AGENT_LONG_TESTS' in os.environ, 'takes half an hour')
class KillTest(NodeTestCase):
    """kill -9 before each change that a fix makes; no process of the agent is left to undo it."""

    def test_a_fix(self) -> None:
        self.assert_interruptible('mend', mended=True)

    def test_a_revert(self) -> None:
        self.assert_interruptible('revert', mended=False)

    def assert_interruptible(self, name: str, *, mended: bool) -> None:
        """Assert that a fix can be killed at every point; it leaves a node mended, or not."""
        node = self.node()
        drifted.drift(node)
        node.write_file(CONFIG, '[remediation]\nnova_settle = 0\n')
        node.write_file('/usr/bin/nova-compute', WAITS, 0o755)
        node.run('systemctl restart nova-compute')
        in_node.install(node)
        done = node.run(in_node.command('interrupt', 'kill', name), timeout=KILL_SECONDS)
        self.addDetail('lines', text_content(done.stdout))
        self.addDetail('log', text_content(done.stderr))
        *killed, ended = [json.loads(line) for line in done.stdout.splitlines()]
        sys.stderr.write(f'{name}: killed at {len(killed)} points\n')

        self.assert_ended(ended['killed'], mended=mended)
        self.assertEqual(len(killed), ended['killed']['points'])
        # Five steps, each in the journal before and after, and what they change.
        self.assertGreater(len(killed), 40)
        for told in killed:
            self.assert_put_right(told)
        going_on = [told for told in killed if 'made' in told]
        # From what was undone, and from what was finished or stays by itself.
        self.assertGreater(len(going_on), 1)
        for told in going_on:
            self.assert_ended(told['made'], mended=mended)
            self.assert_ended(told['undone'], mended=not mended)

    def assert_put_right(self, told: dict[str, Any]) -> None:
        """Assert that nothing was torn by a kill, and nothing half after the recovery."""
        where = json.dumps(told, indent=1)
        self.assertIn(told['killed']['code'], KILLED, where)
        self.assert_whole(told['killed'], where)
        after = told['recovered']
        self.assertEqual(0, after['code'], where)
        self.assertIn(after.get('run'), (None, 'applied', 'rolled_back'), where)
        self.assert_whole(after, where)
        self.assert_at_rest(after, where)

    def assert_whole(self, facts: dict[str, Any], where: str) -> None:
        self.assertIn(facts['nova_conf'], (BEFORE, AFTER), where)
        if facts['dropin'] is not None:
            self.assertTrue(facts['dropin'].endswith(f'\n{OPTION}\n'), where)

    def assert_at_rest(self, facts: dict[str, Any], where: str) -> None:
        """Assert that nothing is left half way, and that guests are promised nothing untrue."""
        dropin = facts['dropin'] is not None
        if dropin:
            self.assertLessEqual({*facts['names']}, {*MENDED_NAMES}, where)
        else:
            # Nothing else beside the files than, perhaps, the empty room for second names.
            self.assertLessEqual({*facts['names']}, {*REVERTED_NAMES}, where)
        records = {name for name in facts['records'] if not name.startswith(('originals/', '.'))}
        self.assertLessEqual(records, RECORDS, where)
        self.assertEqual('active', facts['nova'], where)
        self.assertIn(facts['nested'], ('0\n', '1\n') if dropin else ('0\n',), where)
        if facts['nova_conf'] == AFTER:
            self.assertEqual('1\n', facts['nested'], where)
        (uid, _, mode), device = facts['access']
        self.assertEqual((0, 0o100640), (uid, mode), where)
        self.assertEqual(0o20660, device[2], where)

    def assert_ended(self, facts: dict[str, Any], *, mended: bool) -> None:
        where = json.dumps(facts, indent=1)
        # The recovery may have left nothing to do.
        self.assertIn((facts['code'], facts['run']), ((0, 'applied'), (0, 'noop')), where)
        self.assert_at_rest(facts, where)
        wanted = (AFTER, '1\n', True) if mended else (BEFORE, '0\n', False)
        found = (facts['nova_conf'], facts['nested'], facts['dropin'] is not None)
        self.assertEqual(wanted, found, where)


class Moment:
    """A node at one moment, to go on from there as often as wanted."""

    def __init__(self, node: Node) -> None:
        assert isinstance(node.machine, QemuMachine)
        assert isinstance(node.emulator, Qemu)
        self._machine = node.machine
        self._memory = node.machine.directory / 'moment'
        node.emulator.save_memory(self._memory)
        node.emulator.quit()

    def node(self, name: str) -> Node:
        image = self._machine.directory / f'{name}.qcow2'
        overlay(image, self._machine.disk, 'qcow2')
        machine = dataclasses.replace(self._machine, disk=image)
        node = Node(machine)
        node.resume(lambda: Qemu(machine, self._memory))
        return node


@testtools.skipUnless('NESTED_AGENT_LONG_TESTS' in os.environ, 'takes half an hour')
class PowerCutTest(NodeTestCase):
    """The power goes after each disruptive change; at the next boot the daemon does the rest."""

    # Drop-in, stop, unload, load, nova.conf, start; a revert has another order.
    CHANGES = 6

    def test_the_node_mends_itself(self) -> None:
        for node, said in self.power_cuts('mend', 'enforce'):
            self.assert_mended(node, said)
            self.assertEqual(MENDED_NAMES, drifted.names(node), said)

    def test_the_node_stays_mended(self) -> None:
        """A revert is undone, though the boot may have loaded the module without the drop-in."""
        for node, said in self.power_cuts('revert', 'noop'):
            self.assert_mended(node, said)
            # A room for second names goes with what is undone.
            self.assertLessEqual({*drifted.names(node)}, {*MENDED_NAMES}, said)

    def power_cuts(self, name: str, mode: str) -> Iterator[tuple[Node, str]]:
        """Yield the node, booted after the power went, and the change after which it did."""
        moment = self.about_to(name, mode)
        said = []
        for number in range(1, self.CHANGES + 1):
            with moment.node(str(number)) as node:
                said.append(self.until(node, number))
                node.power_cut()
                node.power_on()
                yield node, said[-1]
        sys.stderr.write(f'power cut after: {"; ".join(said)}\n')
        self.assertEqual(self.CHANGES, len(set(said)))
        with moment.node('end') as node:
            self.assertEqual('the end', self.until(node, self.CHANGES + 1))

    def about_to(self, name: str, mode: str) -> Moment:
        node = self.node()
        drifted.drift(node)
        install(node, f'[remediation]\nmode = {mode}\nsplay = 0\nnova_settle = 0\n')
        node.run(f'systemctl enable {UNIT}')
        in_node.install(node)
        node.run(['systemd-run', '--unit=interrupt', *in_node.command('interrupt', 'hang', name)])
        node.wait_until('test -e /run/interrupt.ready', DEADLINE)
        # nova-compute, which a mend before a revert restarts, is not torn out of its start.
        last_start(node)
        node.run('sync')
        return Moment(node)

    def until(self, node: Node, number: int) -> str:
        """Have the fix go on until so many disruptive changes were made; returns the last."""
        node.write_file('/run/interrupt.new', str(number))
        node.run('mv /run/interrupt.new /run/interrupt.number')
        node.wait_until('test -s /run/interrupt.said', DEADLINE)
        return node.read_file('/run/interrupt.said')

    def assert_mended(self, node: Node, said: str) -> None:
        # However far the daemon came by now.
        self.assertIn(node.read_file(NOVA_CONF), (BEFORE, AFTER), said)
        boot = node.boot_id()

        def mended() -> bool:
            done = node.run(f'cat {STATE}/report.json', check=False)
            report = json.loads(done.stdout)['report'] if done.stdout else {}
            return (report.get('boot_id'), report.get('state')) == (boot, 'compliant')

        node.wait_until(mended, DEADLINE)
        self.assertTrue(nested_guest_runs(node), said)
        self.assertEqual(AFTER, node.read_file(NOVA_CONF), said)
        self.assertEqual('root:nova 640', drifted.owner_and_mode(node, NOVA_CONF), said)
        self.assertTrue(node.read_file(MODPROBE_DROPIN).endswith(f'\n{OPTION}\n'), said)
        self.assertEqual('host-passthrough', last_start(node)['cpu_mode'], said)
        recovered = [run for run in runs(node) if run['trigger'] == 'recovery']
        self.assertEqual(1, len(recovered), said)
        self.assertEqual(1, node.run(f'test -e {STATE}/journal.json', check=False).returncode)
