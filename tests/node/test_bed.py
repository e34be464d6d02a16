"""The test bed does what tests on it take for granted."""

import sys
import time
from pathlib import Path

import fixtures

from tests.node.base import NodeTestCase
from tests.node.bed import prerequisite, process
from tests.node.bed.bed import UNSUPPORTED
from tests.node.bed.node import Node
from tests.node.bed.polling import poll
from tests.node.bed.process import CommandError

ROOT = Path(__file__).parents[2]
NESTED = '/sys/module/kvm_amd/parameters/nested'
REFCNT = '/sys/module/kvm_amd/refcnt'
REFUSED = 1


def hold(node: Node) -> None:
    """Keep a virtual machine open in the node, as a running guest does."""
    node.run(['systemd-run', '--unit=hold', 'kvmprobe', 'hold', '600'])
    node.wait_until(lambda: node.read_file(REFCNT).strip() != '0')


class PrerequisiteTest(NodeTestCase):
    def test_what_is_missing_is_named(self) -> None:
        self.useFixture(
            fixtures.MockPatchObject(prerequisite, 'PROGRAMS', {'qemu-system-z': 'qemu-z'})
        )
        error = self.assertRaises(prerequisite.MissingPrerequisiteError, self.node)
        self.assertEqual(
            'emulated nodes need qemu-system-z (package qemu-z): run tools/test-setup.sh',
            str(error),
        )


class OrphanTest(NodeTestCase):
    SCRIPT = """\
import contextlib
import signal
from tests.node.base import BED
with contextlib.ExitStack() as stack:
    print(BED.node(stack).emulator.pid, flush=True)
    signal.pause()
"""

    def test_no_emulator_outlives_a_killed_test_run(self) -> None:
        directory = Path(self.useFixture(fixtures.TempDir()).path)
        log = directory / 'log'
        command = [sys.executable, '-c', self.SCRIPT]
        test_run = process.start(command, directory=ROOT, log=log, descriptors=())
        self.addCleanup(test_run.wait)
        self.addCleanup(test_run.kill)

        def line() -> str | None:
            text = log.read_text()
            return text if text.endswith('\n') else None

        said = poll(line, 900, 'a node')
        emulator = Path('/proc', said.strip())
        self.assertIn('qemu-system', (emulator / 'cmdline').read_text())
        test_run.kill()
        poll(lambda: not emulator.exists(), 60, 'the emulator is gone')


class NodeTest(NodeTestCase):
    def test_an_amd_node_starts_with_nested_off(self) -> None:
        node = self.node()
        self.assertEqual('0\n', node.read_file(NESTED))
        self.assertEqual(REFUSED, node.run('kvmprobe svm', check=False).returncode)
        self.assertIn('svm=0', node.run('kvmprobe caps').stdout.split())
        self.assertEqual('compute-1\n', node.read_file('/proc/sys/kernel/hostname'))
        self.assertEqual('', node.run('swapon --noheadings').stdout)

    def test_a_reloaded_module_runs_a_nested_guest(self) -> None:
        node = self.node()
        node.run('modprobe -r kvm_amd && modprobe kvm_amd nested=1')
        self.assertEqual('1\n', node.read_file(NESTED))
        node.run('kvmprobe svm')
        self.assertIn('svm=1', node.run('kvmprobe caps').stdout.split())

    def test_a_held_guest_pins_the_module(self) -> None:
        node = self.node()
        self.assertEqual('0\n', node.read_file(REFCNT))
        hold(node)
        refused = node.run('modprobe -r kvm_amd', check=False)
        self.assertEqual(1, refused.returncode)
        self.assertIn('Module kvm_amd is in use', refused.stderr)
        node.run('systemctl stop hold')
        node.run('modprobe -r kvm_amd')

    def test_a_power_cut_spares_only_what_was_synced(self) -> None:
        node = self.node()
        boot = node.boot_id()
        node.write_file('/var/lib/kept/file', 'kept\n', 0o600)
        node.run('sync')
        node.write_file('/var/lib/lost', 'lost\n')
        node.power_cut()
        node.power_on()
        self.assertNotEqual(boot, node.boot_id())
        self.assertEqual('kept\n', node.read_file('/var/lib/kept/file'))
        # Another process's fsync may have kept the name, but nothing its data.
        self.assertNotEqual(0, node.run('grep lost /var/lib/lost', check=False).returncode)
        self.assertEqual('0\n', node.read_file(NESTED))

    def test_a_reboot_keeps_what_was_written(self) -> None:
        node = self.node()
        boot = node.boot_id()
        node.write_file('/etc/modprobe.d/kvm.conf', 'options kvm_amd nested=1\n')
        node.reboot()
        self.assertNotEqual(boot, node.boot_id())
        self.assertEqual('1\n', node.read_file(NESTED))

    def test_kernel_arguments_win_over_the_file(self) -> None:
        node = self.node(arguments='kvm_amd.nested=1', cold=True)
        self.assertEqual('1\n', node.read_file(NESTED))

    def test_an_unsupported_node_has_no_kvm(self) -> None:
        node = self.node(cpu=UNSUPPORTED)
        self.assertEqual(1, node.run('test -e /dev/kvm', check=False).returncode)
        self.assertEqual(2, node.run('kvmprobe caps', check=False).returncode)
        refused = node.run('modprobe kvm_amd', check=False)
        self.assertIn('Operation not supported', refused.stderr)

    def test_nova_compute_looks_like_debians(self) -> None:
        node = self.node()
        pid = node.run('systemctl show -P MainPID nova-compute').stdout.strip()
        self.assertEqual(
            [
                '/opt/nested-agent/bin/python3',
                '/usr/bin/nova-compute',
                '--config-file=/etc/nova/nova.conf',
                '--config-file=/etc/nova/nova-compute.conf',
                '--log-file=/var/log/nova/nova-compute.log',
                '',
            ],
            node.read_file(f'/proc/{pid}/cmdline').split('\0'),
        )
        self.assertEqual('nova\n', node.run(f'ps -o user= -p {pid}').stdout)

    def test_commands_of_the_project_are_installed(self) -> None:
        node = self.node()
        node.run('nested-agentctl --help')

    def test_the_clock_is_right(self) -> None:
        node = self.node()
        seconds = float(node.run('date +%s').stdout)
        self.assertLess(abs(time.time() - seconds), 60)

    def test_a_command_that_takes_too_long_is_killed(self) -> None:
        node = self.node()
        self.assertRaises(TimeoutError, node.run, 'sleep 600; true', timeout=1)
        node.wait_until('! pgrep -x sleep')

    def test_a_failed_command_says_so(self) -> None:
        node = self.node()
        error = self.assertRaises(CommandError, node.run, 'echo because >&2; exit 3')
        self.assertEqual(3, error.result.returncode)
        self.assertIn('because', str(error))
