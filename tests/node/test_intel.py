"""The agent on a node with the real kvm_intel, proved by guests and by an independent oracle.

A boot takes minutes, so one node serves all stories, in an order in which each begins where the
one before it ends. What starts Python in there is dear too: the daemon tells most of it.
"""

import json
from typing import Any

from tests.matrix import CELLS
from tests.node import drifted
from tests.node.bed.bed import INTEL
from tests.node.bed.node import Node
from tests.node.cells import found
from tests.node.daemon import conditions, message, runs, stored
from tests.node.drifted import AFTER, BEFORE, MODPROBE_DROPIN, NOVA_CONF
from tests.node.enforced import (
    DISABLED,
    ENFORCE,
    FAULT_CONF,
    RemediateTestCase,
    make_loads_fail,
    results,
    states,
)

REFCNT = '/sys/module/kvm_intel/refcnt'
# Nothing is done by the daemon itself; a machine as slow as this needs long to start a process.
PROOF = '[prove]\ntimeout = 600\n'
NOOP = PROOF + '[remediation]\nmode = noop\n'
UNATTENDED = PROOF + ENFORCE
HOST_MODEL = AFTER.replace('host-passthrough', 'host-model')


class IntelTest(RemediateTestCase):
    def test_a_node_with_kvm_intel(self) -> None:
        node = self.node(cpu=INTEL)
        self.cells_of_the_matrix(node)
        drifted.drift(node)
        self.addOnException(lambda error: self.tell(node))
        self.without_ept_it_is_degraded_but_on(node)
        self.without_nesting_it_is_drifted(node)
        self.held_it_is_pending_and_the_holder_named(node)
        self.idle_it_is_mended_and_proved(node)
        self.host_model_exposes_the_flag(node)
        self.where_it_is_disabled_it_is_off(node)
        self.a_load_that_fails_is_rolled_back(node)
        self.rebooted_it_is_still_compliant(node)

    def cells_of_the_matrix(self, node: Node) -> None:
        node.run(['mv', drifted.KVM_CONF, '/root/kvm.conf'])
        # The other cells differ by files, which are read alike for both modules.
        cells = sorted(
            (cell for cell in CELLS if cell.dropin == 'none'), key=lambda cell: cell.loaded
        )
        for cell, (state, plan) in zip(cells, found(node, cells), strict=True):
            self.assertEqual((cell.state, cell.plan), (state, plan), cell)
        node.run(['mv', '/root/kvm.conf', drifted.KVM_CONF])

    def without_ept_it_is_degraded_but_on(self, node: Node) -> None:
        node.run('modprobe -r kvm_intel && modprobe kvm_intel nested=1 ept=0')
        self.start(node, NOOP)
        report = self.becomes(node, 'drifted', NestedRuntime='True/Degraded')
        self.assertIn('ept=N', message(report, 'NestedRuntime'))
        judged = conditions(report)
        self.assertEqual('False/OptionDisabled', judged['NestedPersistent'])
        for type_ in ('CPUSupported', 'KernelSupported', 'KVMUsable', 'VirtType'):
            self.assertIn('True/', judged[type_], type_)
        self.assert_runtime(node, report, on=True)

    def without_nesting_it_is_drifted(self, node: Node) -> None:
        # While it verifies, the daemon too has /dev/kvm open.
        node.wait_until('modprobe -r kvm_intel')
        node.run('modprobe kvm_intel')
        report = self.becomes(node, 'drifted', NestedRuntime='False/Disabled')
        self.assertIn(f'{drifted.KVM_CONF}:2', message(report, 'NestedPersistent'))
        self.assert_runtime(node, report, on=False)

    def held_it_is_pending_and_the_holder_named(self, node: Node) -> None:
        holder = drifted.hold(node)
        self.loaded, self.begun = drifted.load_of_module(node), len(drifted.starts(node))
        self.reconfigure(node, UNATTENDED)
        report = self.becomes(node, 'pending', NestedPersistent='True/OptionEnabled')
        self.assertIn(f'kvmprobe (pid {holder})', message(report, 'NestedRuntime'))
        refcnt = node.read_file(REFCNT).strip()
        self.assertEqual(refcnt, str(report['observation']['modules']['kvm_intel']['refcnt']))
        self.assertIn('options kvm_intel nested=1\n', node.read_file(MODPROBE_DROPIN))
        self.assertEqual(self.loaded, drifted.load_of_module(node))
        self.assertEqual(self.begun, len(drifted.starts(node)))
        self.assertEqual(BEFORE, node.read_file(NOVA_CONF))

    def idle_it_is_mended_and_proved(self, node: Node) -> None:
        node.run('systemctl stop hold')
        report = self.becomes(node, 'compliant', Remediable='True/Enforce')
        self.assert_mended(node)
        self.assertNotEqual(self.loaded, drifted.load_of_module(node))
        self.assertEqual(self.begun + 1, len(drifted.starts(node)))
        run = runs(node)[0]
        self.assertEqual(('applied', 'drifted', 'compliant'), (run['result'], *states(run)))
        self.assert_runtime(node, report, on=True)
        self.becomes(node, 'compliant', NestedProved='True/Proved')

    def host_model_exposes_the_flag(self, node: Node) -> None:
        node.write_file(NOVA_CONF, HOST_MODEL, 0o640)
        # It has but to be started with it.
        self.becomes(
            node,
            'compliant',
            GuestCPU='True/HostModel',
            NovaConfigCurrent='True/StartedAfterChange',
        )
        self.assertEqual(HOST_MODEL, node.read_file(NOVA_CONF))
        self.assertEqual('host-model', drifted.last_start(node)['cpu_mode'])
        self.assertEqual({'restart-nova-compute': 'applied'}, results(runs(node)[0]))

    def where_it_is_disabled_it_is_off(self, node: Node) -> None:
        self.reconfigure(node, UNATTENDED + DISABLED)
        report = self.becomes(node, 'compliant', NestedRuntime='True/Disabled')
        self.assertIn('options kvm_intel nested=0\n', node.read_file(MODPROBE_DROPIN))
        self.assertEqual(HOST_MODEL, node.read_file(NOVA_CONF))
        self.assert_runtime(node, report, on=False)

    def a_load_that_fails_is_rolled_back(self, node: Node) -> None:
        make_loads_fail(node)
        self.reconfigure(node, UNATTENDED + 'backoff = 86400\n')
        report = self.becomes(node, 'drifted', Remediable='False/Failed')
        self.assertIn('kvm_intel cannot be loaded', message(report, 'Remediable'))
        self.assertEqual('failed', results(runs(node)[0])['reload-module'])
        self.assertIn('options kvm_intel nested=0\n', node.read_file(MODPROBE_DROPIN))
        self.assertFalse(drifted.nested_guest_runs(node))
        self.assertEqual('host-model', drifted.last_start(node)['cpu_mode'])
        node.run(['rm', FAULT_CONF])
        node.run('nested-agentctl resume')
        self.becomes(node, 'compliant', NestedRuntime='True/Enabled')
        self.assertTrue(drifted.nested_guest_runs(node))

    def rebooted_it_is_still_compliant(self, node: Node) -> None:
        before, made = node.boot_id(), len(runs(node))
        node.reboot()
        report = stored(node)
        self.assertEqual(node.boot_id(), report['boot_id'])
        self.assertNotEqual(before, report['boot_id'])
        self.assertEqual('compliant', report['state'])
        judged = conditions(report)
        self.assertEqual('True/Enabled', judged['NestedRuntime'])
        self.assertEqual('True/HostModel', judged['GuestCPU'])
        self.assertEqual('True/StartedAfterChange', judged['NovaConfigCurrent'])
        # A proof is one of the load that it was made in.
        self.assertNotIn('NestedProved', judged)
        self.assertEqual(made, len(runs(node)))
        self.assert_runtime(node, report, on=True)

    def assert_runtime(self, node: Node, report: dict[str, Any], *, on: bool) -> None:
        """Assert that ioctl, sysfs, our proof and the oracle (VMLAUNCH) say the same."""
        observation = report['observation']
        self.assertEqual(on, bool(observation['kvm']['cpuid']['0x1']['ecx'] >> 5 & 1))
        parameters = observation['modules']['kvm_intel']['parameters']
        self.assertEqual('Y' if on else 'N', parameters['nested'])
        self.assertEqual(on, drifted.nested(node))
        self.assertEqual(on, drifted.nested_guest_runs(node))
        tried = node.run('nested-agentctl prove -f json', check=False)
        self.assertEqual(0 if on else 1, tried.returncode, tried)
        self.assertEqual('proved' if on else 'refused', json.loads(tried.stdout)['outcome'])
