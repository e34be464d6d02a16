"""The module loaded, reloaded and unloaded on a node that behaves as kmod and the kernel do."""

import json
import os
import struct

from oslotest import base

from nested_agent.actions.module import LoadModule, ReloadModule, UnloadModule
from nested_agent.exceptions import BusyError, StepError
from nested_agent.policy import Nested, Policy
from tests.unit.simulated import SimulatedNode

DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'
DISABLED = Policy(Nested.DISABLED)
REMOVED = ['unload kvm_amd', 'unload kvm', 'unload ccp', 'unload irqbypass']


class ModuleCase(base.BaseTestCase):
    def node(self, **changes):
        self.simulated = SimulatedNode(self, **changes)
        return self.simulated

    def off(self, **changes):
        """Return a node whose module does not nest, although the files say so since."""
        node = self.node(**{'options': 'nested=0', **changes})
        node.write({DROPIN: f'options {node.module} nested=1\n'})
        return node

    def reload(self, node, wanted=True, policy=None, **limits):
        site = node.site(policy or Policy(), **limits)
        return ReloadModule(site, (), node.driver, wanted)

    def begun(self, step):
        """Return the record as the journal gives it back."""
        step.precheck()
        return json.loads(json.dumps(step.record(), sort_keys=True))

    def carried_out(self, step):
        record = self.begun(step)
        step.apply()
        return record, step.verify()

    def undo(self, node, record, rebooted=False):
        return ReloadModule.undo(node.site(), record, rebooted=rebooted)


class ReloadTest(ModuleCase):
    def test_both_vendors_take_what_the_files_say(self):
        for intel in (False, True):
            node = self.off(intel=intel)
            _, said = self.carried_out(self.reload(node))
            self.assertEqual('Y' if intel else '1', node.parameter('nested'))
            self.assertIn(f'KVM offers {node.driver.flag}: yes', said)
            self.assertIn(f'{node.module} is loaded with nested=', said)
            self.assertEqual(f'load {node.module} nested=1', node.loads[-1])

    def test_the_other_way(self):
        for intel in (False, True):
            node = self.node(intel=intel)
            node.write({DROPIN: f'options {node.module} nested=0\n'})
            self.carried_out(self.reload(node, False, DISABLED))
            self.assertEqual('N' if intel else '0', node.parameter('nested'))

    def test_it_is_loaded_without_arguments(self):
        node = self.off()
        self.carried_out(self.reload(node))
        self.assertIn('/usr/sbin/modprobe kvm_amd', node.root.ran)

    def test_busy_is_no_failure_and_names_who(self):
        node = self.off()
        node.hold(4711, 'guest1')
        error = self.assertRaises(BusyError, self.reload(node).precheck)
        self.assertEqual('kvm_amd is in use by guest1 (pid 4711)', str(error))
        self.assertEqual([], node.loads)

    def test_a_moment_s_use_is_waited_for(self):
        node = self.off()
        node.hold(seconds=1.2)
        self.reload(node).precheck()

    def test_busy_since_the_precheck(self):
        node = self.off()
        step = self.reload(node)
        step.precheck()
        node.hold()
        self.assertRaises(BusyError, step.record)

    def test_busy_since_the_record_changes_nothing(self):
        node = self.off()
        step = self.reload(node)
        self.begun(step)
        node.hold()
        error = self.assertRaises(BusyError, step.apply)
        self.assertIn('guest1', str(error))
        self.assertEqual([], node.loads)

    def test_used_by_a_module(self):
        node = self.off()
        node.write({'/sys/module/kvm_amd/refcnt': '1\n', '/sys/module/kvm_amd/holders/kvm_x': ''})
        error = self.assertRaises(BusyError, self.reload(node).precheck)
        self.assertEqual('kvm_amd is in use by kvm_x', str(error))

    def test_what_uses_kvm_alone_does_not_matter(self):
        node = self.off()
        node.kernel.modules = {
            **node.kernel.modules,
            'kvmgt': type(node.kernel.modules['kvm'])({}, 'kvm'),
        }
        node.kernel.modprobe(['kvmgt'])
        self.carried_out(self.reload(node))
        self.assertEqual('1', node.parameter('nested'))
        self.assertNotIn('unload kvm', node.loads)

    def test_an_unknown_use_is_no_idleness(self):
        for text in ('-1\n', 'x\n'):
            node = self.off()
            node.write({'/sys/module/kvm_amd/refcnt': text})
            error = self.assertRaises(StepError, self.reload(node).precheck)
            self.assertNotIsInstance(error, BusyError)
            self.assertIn('not known', str(error))

    def refused(self, node, *words):
        error = self.assertRaises(StepError, self.reload(node).precheck)
        self.assertNotIsInstance(error, BusyError)
        for each in words:
            self.assertIn(each, str(error))
        self.assertEqual([], node.loads)

    def test_nothing_can_be_loaded_or_unloaded(self):
        node = self.off()
        node.write({'/proc/sys/kernel/modules_disabled': '1\n'})
        self.refused(node, 'modules_disabled')

    def test_another_hypervisor(self):
        node = self.off()
        node.write({'/sys/module/vboxdrv/initstate': 'live\n'})
        self.refused(node, 'vboxdrv')

    def test_built_in(self):
        node = self.off()
        for name in ('initstate', 'refcnt'):
            (node.root.base / f'sys/module/kvm_amd/{name}').unlink()
        self.refused(node, 'built in')

    def test_not_loaded(self):
        self.refused(self.node(loaded=False), 'not loaded')

    def test_a_remove_command_of_somebody(self):
        node = self.off()
        node.write({'/etc/modprobe.d/a.conf': '\nremove kvm_amd /bin/halt\n'})
        self.refused(node, '/etc/modprobe.d/a.conf:2', '/bin/halt')

    def test_the_next_load_is_proved_first(self):
        for line in (
            'options kvm_amd nested=0',
            'install kvm_amd /bin/true',
            'options kvm_amd nested=y',
        ):
            node = self.off()
            node.write({'/etc/modprobe.d/zzz.conf': f'{line}\n'})
            step = self.reload(node)
            step.precheck()
            error = self.assertRaises(StepError, step.record)
            self.assertIn('/etc/modprobe.d/zzz.conf:1', str(error))
            self.assertEqual([], node.loads)

    def test_the_kernel_command_line_is_proved_too(self):
        node = self.off(cmdline='kvm_amd.nested=0')
        step = self.reload(node)
        step.precheck()
        error = self.assertRaises(StepError, step.record)
        self.assertIn('/proc/cmdline', str(error))

    def test_a_blacklist_is_about_the_boot_alone(self):
        node = self.off()
        node.write({'/etc/modprobe.d/a.conf': 'blacklist kvm_amd\n'})
        self.carried_out(self.reload(node))
        self.assertEqual('1', node.parameter('nested'))

    def test_kvm_that_does_not_do_as_sysfs_says_is_no_success(self):
        node = self.off()
        step = self.reload(node)
        self.begun(step)
        step.apply()
        node._hardware.offered = False
        error = self.assertRaises(StepError, step.verify)
        self.assertIn('KVM offers svm: no', str(error))

    def test_the_watchdog_is_fed_while_it_waits(self):
        node = self.off()
        node.hold()
        self.assertRaises(BusyError, self.reload(node).precheck)
        self.assertGreater(node.beats, 2)


class DeviceTest(ModuleCase):
    def mode(self, node):
        return (node.root.base / 'dev/kvm').stat().st_mode & 0o7777

    def test_udev_gives_it_back(self):
        node = self.off()
        _, said = self.carried_out(self.reload(node))
        self.assertEqual(0o660, self.mode(node))
        self.assertNotIn('/dev/kvm', said)

    def test_what_somebody_gave_by_hand_is_given_again(self):
        node = self.off()
        (node.root.base / 'dev/kvm').chmod(0o666)
        _, said = self.carried_out(self.reload(node))
        self.assertEqual(0o666, self.mode(node))
        self.assertIn(f'mode 0666, owner {os.getuid()}:', said)

    def test_without_udev(self):
        node = self.off()
        node.udev = False
        (node.root.base / 'usr/bin/udevadm').unlink()
        before = node.now
        self.carried_out(self.reload(node))
        self.assertEqual(0o660, self.mode(node))
        self.assertGreaterEqual(node.now - before, 30)

    def test_udev_that_never_is_done_is_not_waited_for_without_end(self):
        node = self.off()
        node.hangs = {'settle'}
        self.carried_out(self.reload(node))
        self.assertEqual(0o660, self.mode(node))

    def test_an_access_list_is_given_again(self):
        # acl(5): user::rw- user:12345:rw- group::--- mask::rw- other::---, as logind does it.
        entries = ((1, 6, -1), (2, 6, 12345), (4, 0, -1), (0x10, 6, -1), (0x20, 0, -1))
        acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *each) for each in entries)
        node = self.off()
        device = node.root.base / 'dev/kvm'
        os.setxattr(device, 'system.posix_acl_access', acl)
        _, said = self.carried_out(self.reload(node))
        self.assertEqual(acl, os.getxattr(device, 'system.posix_acl_access'))
        self.assertIn('and an access list', said)

    def test_an_access_list_that_was_not_there_is_taken_away(self):
        node = self.off()
        device = node.root.base / 'dev/kvm'
        before = self.mode(node)
        entries = ((1, 6, -1), (2, 6, 12345), (4, 0, -1), (0x10, 7, -1), (0x20, 0, -1))
        acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *each) for each in entries)
        node.udev = False
        node.after = lambda shown: (
            os.setxattr(device, 'system.posix_acl_access', acl) if 'settle' in shown else None
        )
        self.carried_out(self.reload(node))
        self.assertRaises(OSError, os.getxattr, device, 'system.posix_acl_access')
        self.assertEqual(before, self.mode(node))

    def test_undo_gives_it_back_too(self):
        node = self.off()
        (node.root.base / 'dev/kvm').chmod(0o666)
        record, _ = self.carried_out(self.reload(node))
        self.undo(node, record)
        self.assertEqual(0o666, self.mode(node))


class RuntimeParametersTest(ModuleCase):
    def test_what_was_set_while_it_ran_is_set_again(self):
        node = self.off()
        node.write({'/sys/module/kvm/parameters/halt_poll_ns': '0\n'})  # as tuned does
        _, said = self.carried_out(self.reload(node))
        self.assertEqual('0', node.parameter('halt_poll_ns', 'kvm'))
        self.assertIn('kvm halt_poll_ns=0', said)

    def test_not_against_a_file(self):
        node = self.off()
        node.write({'/etc/modprobe.d/kvm.conf': 'options kvm halt_poll_ns=7\n'})
        self.carried_out(self.reload(node))
        self.assertEqual('7', node.parameter('halt_poll_ns', 'kvm'))

    def test_what_only_a_load_can_set_is_said(self):
        node = self.off(options='nested=0 npt=0')
        _, said = self.carried_out(self.reload(node))
        self.assertEqual('Y', node.parameter('npt'))
        self.assertIn('npt was N', said)


class ForgetTest(ModuleCase):
    def test_the_first_original_is_remembered(self):
        node = self.off()
        record, _ = self.carried_out(self.reload(node))
        ReloadModule.forget(node.site(), record)
        kept = node.site().changes.module()
        self.assertEqual(('kvm_amd', node.boot_id), (kept.module, kept.boot_id))
        self.assertEqual('0', kept.parameters['nested'])
        record, _ = self.carried_out(self.reload(node))
        ReloadModule.forget(node.site(), record)
        self.assertEqual(kept, node.site().changes.module())

    def test_a_revert_forgets(self):
        node = self.off()
        record, _ = self.carried_out(self.reload(node))
        ReloadModule.forget(node.site(), record)
        record, _ = self.carried_out(self.reload(node, None))
        ReloadModule.forget(node.site(), record)
        self.assertIsNone(node.site().changes.module())


class RevertTest(ModuleCase):
    def test_whatever_the_files_say(self):
        node = self.node()
        node.write({'/etc/modprobe.d/a.conf': 'options kvm_amd nested=0\n'})
        _, said = self.carried_out(self.reload(node, None))
        self.assertEqual('0', node.parameter('nested'))
        self.assertIn('nested=0', said)

    def test_a_module_that_is_not_loaded_needs_no_reload(self):
        node = self.node(loaded=False)
        _, said = self.carried_out(self.reload(node, None))
        self.assertIn('no reload', said)
        self.assertEqual([], node.loads)


class LoadTest(ModuleCase):
    def step(self, node):
        return LoadModule(node.site(), (), node.driver, True)

    def test_it_is_loaded(self):
        node = self.node(loaded=False)
        record, said = self.carried_out(self.step(node))
        self.assertIn('kvm_amd is loaded with nested=1', said)
        LoadModule.forget(node.site(), record)
        self.assertIsNone(node.site().changes.module().parameters)

    def test_undo_unloads_what_it_loaded_and_no_more(self):
        node = self.node(loaded=False)
        node.kernel.modprobe(['kvm', 'halt_poll_ns=4'])
        record, _ = self.carried_out(self.step(node))
        said = LoadModule.undo(node.site(), record, rebooted=False)
        self.assertEqual('kvm_amd is unloaded again', said)
        self.assertFalse(node.kernel.loaded('kvm_amd'))
        self.assertEqual('4', node.parameter('halt_poll_ns', 'kvm'))

    def test_undo_before_it_was_loaded(self):
        node = self.node(loaded=False)
        record = self.begun(self.step(node))
        self.assertEqual(
            'kvm_amd is as it was', LoadModule.undo(node.site(), record, rebooted=False)
        )

    def test_loaded_by_somebody_meanwhile(self):
        node = self.node(loaded=False)
        step = self.step(node)
        step.precheck()
        node.kernel.modprobe(['kvm_amd'])
        self.assertRaises(StepError, step.record)
        self.assertRaises(StepError, self.step(node).precheck)

    def test_hardware_that_refuses(self):
        node = self.node(loaded=False)
        step = self.step(node)
        self.begun(step)
        node.kernel.failing_loads = 1
        error = self.assertRaises(StepError, step.apply)
        self.assertIn('Input/output error', str(error))


class UnloadTest(ModuleCase):
    def step(self, node):
        return UnloadModule(node.site(), (), node.driver)

    def test_it_is_unloaded_and_forgotten(self):
        node = self.node()
        node.site().changes.keep_module('kvm_amd', node.boot_id, None)
        record, said = self.carried_out(self.step(node))
        self.assertEqual('kvm_amd is not loaded', said)
        self.assertEqual(REMOVED, sorted(node.loads, key=REMOVED.index))
        UnloadModule.forget(node.site(), record)
        self.assertIsNone(node.site().changes.module())

    def test_undo_loads_it_as_it_was(self):
        node = self.node(options='npt=0')
        record, _ = self.carried_out(self.step(node))
        UnloadModule.undo(node.site(), record, rebooted=False)
        self.assertEqual('N', node.parameter('npt'))

    def test_busy(self):
        node = self.node()
        node.hold()
        self.assertRaises(BusyError, self.step(node).precheck)

    def test_it_is_gone_already(self):
        node = self.node(loaded=False)
        self.carried_out(self.step(node))
        self.assertEqual([], node.loads)
