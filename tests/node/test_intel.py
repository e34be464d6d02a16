"""The agent on a node with the real kvm_intel, against an independent oracle.

A boot takes minutes, so one node serves all stories, in an order in which each begins where the
one before it ends. What starts Python in there is dear too: the daemon tells most of it.
"""

import gzip
import json
from typing import Any

from tests.node.base import NodeTestCase
from tests.node.bed.bed import INTEL
from tests.node.bed.node import Node
from tests.node.test_daemon import UNIT, conditions, install
from tests.node.test_verify import KVM_CONF, NOVA_CONF, check

REPORT = '/var/lib/nested-agent/report.json'
MODULE = '/sys/module/kvm_intel'
# A test that fails may take long to do so; one that passes never waits for this.
DEADLINE = 1200.0


def stored(node: Node) -> dict[str, Any]:
    """Return the daemon's report, packed for the way over the serial port."""
    packed = node.run(['gzip', '-c', REPORT]).stdout
    data = json.loads(gzip.decompress(packed.encode(errors='surrogateescape')))
    report: dict[str, Any] = data['report']
    return report


def message(report: dict[str, Any], type_: str) -> str:
    (found,) = (each['message'] for each in report['conditions'] if each['type'] == type_)
    return str(found)


def reload_module(node: Node, *options: str) -> None:
    # While it verifies, the daemon too has /dev/kvm open.
    node.wait_until('modprobe -r kvm_intel')
    node.run(['modprobe', 'kvm_intel', *options])


class IntelTest(NodeTestCase):
    def test_a_node_with_kvm_intel(self) -> None:
        node = self.node(cpu=INTEL)
        self.without_nesting_it_is_drifted(node)
        self.held_it_is_pending_and_the_holder_named(node)
        self.reloaded_it_is_compliant(node)
        self.without_ept_it_is_degraded_but_on(node)
        self.host_model_exposes_the_flag(node)
        self.rebooted_it_is_still_compliant(node)

    def without_nesting_it_is_drifted(self, node: Node) -> None:
        found = check(node)
        self.assertEqual((1, 'drifted'), (found.code, found.state))
        self.assertEqual('False/Disabled', found['NestedRuntime'])
        self.assertEqual('False/OptionDisabled', found['NestedPersistent'])
        self.assertIn(f'{KVM_CONF}:2', found.message('NestedPersistent'))
        self.assertEqual(['write-modprobe-dropin', 'reload-module'], found.plan)
        for type_ in ('CPUSupported', 'KernelSupported', 'KVMUsable', 'GuestCPU', 'VirtType'):
            self.assertEqual('True', found.conditions[type_]['status'], found.conditions[type_])
        self.assert_runtime(node, found.report, on=False)

    def held_it_is_pending_and_the_holder_named(self, node: Node) -> None:
        install(node)
        node.run(['systemctl', '--quiet', 'enable', '--now', UNIT], timeout=DEADLINE)
        self.assertEqual('drifted', stored(node)['state'])
        node.run(['systemd-run', '--unit=hold', 'kvmprobe', 'hold', '86400'])
        node.wait_until(f'test "$(cat {MODULE}/refcnt)" != 0')
        pid = node.run('systemctl show -P MainPID hold').stdout.strip()
        node.write_file(KVM_CONF, 'options kvm_intel nested=1\n')
        report = self.becomes(node, 'NestedPersistent', 'True/OptionEnabled')
        self.assertEqual('pending', report['state'])
        self.assertIn(f'kvmprobe (pid {pid})', message(report, 'NestedRuntime'))
        refcnt = node.read_file(f'{MODULE}/refcnt').strip()
        self.assertEqual(refcnt, str(report['observation']['modules']['kvm_intel']['refcnt']))
        self.assertEqual(1, node.run('modprobe -r kvm_intel', check=False).returncode)
        node.run('systemctl stop hold')

    def reloaded_it_is_compliant(self, node: Node) -> None:
        reload_module(node, 'nested=1')
        report = self.becomes(node, 'NestedRuntime', 'True/Enabled')
        self.assertEqual(('compliant', []), (report['state'], report['plan']))
        self.assert_runtime(node, report, on=True)

    def without_ept_it_is_degraded_but_on(self, node: Node) -> None:
        reload_module(node, 'ept=0')
        report = self.becomes(node, 'NestedRuntime', 'True/Degraded')
        self.assertEqual('compliant', report['state'])
        self.assertIn('ept=N', message(report, 'NestedRuntime'))
        self.assert_runtime(node, report, on=True)

    def host_model_exposes_the_flag(self, node: Node) -> None:
        node.write_file(NOVA_CONF, '[libvirt]\nvirt_type = kvm\ncpu_mode = host-model\n', 0o640)
        report = self.becomes(node, 'GuestCPU', 'True/HostModel')
        self.assertNotIn('False', conditions(report)['VirtType'])

    def rebooted_it_is_still_compliant(self, node: Node) -> None:
        before = node.boot_id()
        node.reboot()
        report = stored(node)
        self.assertEqual(node.boot_id(), report['boot_id'])
        self.assertNotEqual(before, report['boot_id'])
        self.assertEqual('compliant', report['state'])
        found = conditions(report)
        self.assertEqual('True/Enabled', found['NestedRuntime'])
        self.assertEqual('True/HostModel', found['GuestCPU'])
        self.assertEqual('True/StartedAfterChange', found['NovaConfigCurrent'])
        self.assert_runtime(node, report, on=True)

    def becomes(self, node: Node, type_: str, wanted: str) -> dict[str, Any]:
        """Return the daemon's report once it holds the condition."""
        seen: dict[str, Any] = {}

        def fact() -> bool:
            seen.update(stored(node))
            return conditions(seen)[type_] == wanted

        try:
            node.wait_until(fact, DEADLINE)
        except TimeoutError as error:
            raise AssertionError(f'{type_} is not {wanted}: {conditions(seen)}') from error
        return seen

    def assert_runtime(self, node: Node, report: dict[str, Any], *, on: bool) -> None:
        """Assert that ioctl, sysfs and a guest that tries (VMLAUNCH) say the same."""
        observation = report['observation']
        self.assertEqual(on, bool(observation['kvm']['cpuid']['0x1']['ecx'] >> 5 & 1))
        parameters = observation['modules']['kvm_intel']['parameters']
        self.assertEqual('Y' if on else 'N', parameters['nested'])
        self.assertEqual('Y' if on else 'N', node.read_file(f'{MODULE}/parameters/nested').strip())
        tried = node.run('kvmprobe vmx', check=False)
        self.assertEqual(0 if on else 1, tried.returncode, tried)
