"""Nodes of every kind, observed and judged: state, conditions and plan."""

import errno
import os
import struct

from oslotest import base

from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.intel import IntelDriver
from nested_agent.node.observe import Sources
from nested_agent.node.root import Completed
from nested_agent.policy import FixCPUMode, Nested, Policy
from nested_agent.report import make_report
from tests.unit.nodes import RELEASE, amd, intel, nova_process
from tests.unit.test_initramfs import archive

DRIVERS = loader.Loaded((AMDDriver(), IntelDriver()), ())
DISABLED = Policy(Nested.DISABLED)
# A second after now, and so after every file was written, on a node that is up 5000 s: a
# file's ctime cannot be set back.
LATER = 500100
RUNNING = nova_process(ticks=LATER)
OFF = {'/etc/modprobe.d/kvm.conf': 'options kvm_amd nested=0\n'}


def nova_conf(text, **more):
    return {**RUNNING, '/etc/nova/nova.conf': text, **more}


class NodeTestCase(base.BaseTestCase):
    def report(self, node, policy=None, previous=None):
        node.files = {**RUNNING, **node.files}
        return make_report(node.root(self), DRIVERS, Sources(), policy or Policy(), previous)

    def conditions(self, report):
        return {each.type.value: each for each in report.conditions}

    def check(self, node, state, policy=None, plan=None, **conditions):
        """Assert the state, ``Status/Reason`` by condition, and the kinds of the plan."""
        report = self.report(node, policy)
        found = self.conditions(report)
        for type_, expected in conditions.items():
            each = found[type_]
            self.assertEqual(expected, f'{each.status}/{each.reason}', each.message)
        self.assertEqual(state, report.state, [str(each) for each in report.conditions])
        if plan is not None:
            self.assertEqual(plan, [each.kind.value for each in report.plan])
        return report


class MachineTest(NodeTestCase):
    def test_a_good_amd_node(self):
        self.check(
            amd(),
            'compliant',
            plan=[],
            CPUSupported='True/FlagPresent',
            KernelSupported='True/Recent',
            KVMUsable='True/Usable',
            NestedRuntime='True/Enabled',
            NestedPersistent='True/KernelDefault',
            GuestCPU='True/HostPassthrough',
            VirtType='True/KVM',
            NovaConfigCurrent='True/StartedAfterChange',
        )

    def test_a_good_intel_node(self):
        files = nova_conf('[libvirt]\ncpu_mode = host-model\n')
        self.check(intel(files=files), 'compliant', plan=[], GuestCPU='True/HostModel')

    def test_hygon_and_zhaoxin_are_driven_by_their_likes(self):
        self.check(amd(vendor='HygonGenuine'), 'compliant')
        self.check(intel(vendor='  Shanghai  '), 'compliant')
        self.check(intel(vendor='CentaurHauls'), 'compliant')

    def test_another_vendor(self):
        report = self.check(amd(vendor='VIA VIA VIA'), 'unsupported', plan=[])
        self.assertIn('VIA VIA VIA', report.conditions[0].message)

    def test_another_architecture(self):
        node = amd(files={'/proc/cpuinfo': 'CPU implementer : 0x41\nFeatures : fp\n\n'})
        self.check(node, 'unsupported', CPUSupported='False/NoDriver')

    def test_cpuinfo_unreadable_is_unknown(self):
        node = amd(files={'/proc/cpuinfo': None})
        self.check(node, 'unknown', CPUSupported='Unknown/Unreadable')

    def test_the_hypervisor_below_hides_the_flag(self):
        node = intel(flags='fpu hypervisor', nested=None, kvm=OSError(errno.ENOENT, 'gone'))
        report = self.check(node, 'unsupported', plan=[], CPUSupported='False/HiddenByHypervisor')
        self.assertIn('vmx', report.conditions[0].message)

    def test_no_flag(self):
        node = intel(flags='fpu', nested=None, kvm=OSError(errno.ENOENT, 'gone'))
        self.check(
            node, 'unsupported', CPUSupported='False/FlagAbsent', KVMUsable='False/ModuleNotLoaded'
        )

    def test_firmware_off_on_a_new_kernel_clears_the_flag(self):
        log = '[0.1] x86/cpu: VMX (outside TXT) disabled by BIOS\n'
        node = intel(flags='fpu', nested=None, live=False, files={'/var/log/dmesg': log})
        report = self.check(node, 'blocked', CPUSupported='False/FirmwareDisabled')
        self.assertIn('VMX (outside TXT) disabled by BIOS', report.conditions[0].message)
        self.assertEqual('by-hand', report.plan[0].kind)

    def test_firmware_off_on_an_old_kernel_keeps_the_flag(self):
        log = "[9.1] kvm: support for 'kvm_amd' disabled by bios\n"
        node = amd(nested=None, live=False, files={'/var/log/dmesg': log})
        self.check(node, 'blocked', CPUSupported='False/FirmwareDisabled')

    def test_firmware_off_shown_by_the_processor_itself(self):
        node = intel(flags='fpu', nested=None, kvm=OSError(errno.ENOENT, 'gone'))
        node.files['/dev/cpu/0/cpuid'] = ''
        root = node.root(self)
        with root.path('/dev/cpu/0/cpuid').open('wb') as file:
            os.pwrite(file.fileno(), struct.pack('=4I', 0, 0, 1 << 5, 0), 0x1)
            os.pwrite(file.fileno(), bytes(16), 0x80000001)
        report = make_report(root, DRIVERS, Sources(), Policy())
        self.assertEqual('blocked', report.state)
        self.assertEqual('FirmwareDisabled', report.conditions[0].reason)

    def test_another_accelerator(self):
        files = {
            '/sys/module/kvm_pvm/parameters/force': 'N\n',
            '/sys/module/kvm/parameters/x': '1\n',
        }
        node = amd(flags='fpu hypervisor', nested=None, offered=False, files=files)
        report = self.check(
            node,
            'unsupported',
            plan=[],
            CPUSupported='False/OtherAccelerator',
            KVMUsable='True/OtherAccelerator',
            NestedRuntime='False/OtherAccelerator',
        )
        self.assertIn('kvm_pvm', report.conditions[0].message)

    def test_minimum_kernel(self):
        policy = Policy(minimum_kernel=(6, 2))
        self.check(amd(), 'blocked', policy, KernelSupported='False/TooOld')

    def test_what_an_accepted_old_kernel_lacks(self):
        report = self.check(amd(release='5.4.0-99'), 'compliant', KernelSupported='True/Limited')
        self.assertIn('5.8', self.conditions(report)['KernelSupported'].message)
        node = intel(release='4.19.0-1', options='nested=1')
        report = self.check(node, 'compliant', KernelSupported='True/Limited')
        self.assertIn('4.20', self.conditions(report)['KernelSupported'].message)


class KVMTest(NodeTestCase):
    def test_permission_denied_is_unknown(self):
        report = self.check(
            amd(kvm=PermissionError(errno.EACCES, 'Permission denied')),
            'unknown',
            KVMUsable='Unknown/Unreadable',
            NestedRuntime='True/Enabled',
        )
        found = self.conditions(report)
        self.assertIn('run as root', found['KVMUsable'].message)
        self.assertIn('by sysfs alone', found['NestedRuntime'].message)

    def test_no_module(self):
        self.check(
            amd(nested=None, kvm=OSError(errno.ENOENT, 'No such file or directory')),
            'drifted',
            plan=['load-module'],
            KVMUsable='False/ModuleNotLoaded',
            NestedRuntime='False/ModuleNotLoaded',
        )

    def test_module_there_but_no_device(self):
        self.check(
            amd(kvm=OSError(errno.ENOENT, 'No such file or directory')),
            'blocked',
            KVMUsable='False/NotUsable',
        )

    def test_module_going(self):
        node = amd(
            kvm=OSError(errno.ENOENT, 'x'), files={'/sys/module/kvm_amd/initstate': 'going\n'}
        )
        self.check(node, 'unknown', KVMUsable='Unknown/ModuleChanging')

    def test_sysfs_unreadable_is_not_no_module(self):
        node = amd(files={'/sys/module': 'a file\n'}, nested=None)
        node.kvm = OSError(errno.ENOENT, 'x')
        node.files['/sys/module/kernel/parameters/panic'] = None
        self.check(node, 'unknown', NestedRuntime='Unknown/Unreadable')


class RuntimeTest(NodeTestCase):
    def test_off_and_idle(self):
        report = self.check(
            amd(nested='0', options='nested=0', files=OFF),
            'drifted',
            plan=['write-modprobe-dropin', 'reload-module', 'restart-nova-compute'],
            NestedRuntime='False/Disabled',
            NestedPersistent='False/OptionDisabled',
        )
        found = self.conditions(report)
        self.assertIn('/etc/modprobe.d/kvm.conf:1', found['NestedPersistent'].message)
        self.assertEqual('off', found['NestedRuntime'].observed)
        self.assertEqual('options kvm_amd nested=1', report.plan[0].after)
        self.assertEqual(('nested=0', 'nested=1'), (report.plan[1].before, report.plan[1].after))

    def test_off_but_right_at_the_next_load(self):
        plan = ['reload-module', 'restart-nova-compute']
        self.check(amd(nested='0', options='nested=1'), 'drifted', plan=plan)

    def test_busy_waits(self):
        files = {
            '/proc/400/comm': 'qemu-system-x86\n',
            '/proc/400/cmdline': 'qemu\0-name\0guest=vm7\0',
            '/proc/400/fd/9': '-> anon_inode:kvm-vm',
        }
        report = self.check(
            amd(nested='0', options='nested=1', refcnt=1, files=files),
            'pending',
            plan=['reload-module'],
        )
        self.assertIn('vm7 (pid 400)', self.conditions(report)['NestedRuntime'].message)

    def test_busy_and_wrong_on_disk_is_drifted(self):
        node = amd(nested='0', options='nested=0', refcnt=1, files=OFF)
        self.check(node, 'drifted', plan=['write-modprobe-dropin', 'reload-module'])

    def test_witnesses_disagree(self):
        for nested, offered in (('1', False), ('0', True)):
            report = self.check(
                amd(nested=nested, offered=offered),
                'unknown',
                NestedRuntime='Unknown/WitnessesDisagree',
            )
            message = self.conditions(report)['NestedRuntime'].message
            self.assertIn(f'nested={nested}', message)

    def test_intel_literals(self):
        self.check(intel(nested='Y'), 'compliant')
        self.check(intel(nested='N'), 'drifted', NestedRuntime='False/Disabled')

    def test_degraded_is_not_off(self):
        files = {'/sys/module/kvm_intel/parameters/ept': 'N\n'}
        report = self.check(intel(files=files), 'compliant', NestedRuntime='True/Degraded')
        self.assertIn('ept=N', self.conditions(report)['NestedRuntime'].message)
        files = {'/sys/module/kvm_amd/parameters/npt': '0\n'}
        self.check(amd(files=files), 'compliant', NestedRuntime='True/Degraded')

    def test_garbage_parameter_leaves_the_ioctl(self):
        self.check(amd(nested='?', offered=True), 'compliant', NestedRuntime='True/Enabled')


class PersistentTest(NodeTestCase):
    def test_kernel_default(self):
        self.check(intel(release='4.19.0'), 'drifted', NestedPersistent='False/KernelDefault')
        self.check(intel(release='4.20.0'), 'compliant', NestedPersistent='True/KernelDefault')
        backport = intel(release='4.18.0-553.el8_10.x86_64')
        self.check(backport, 'drifted', NestedPersistent='Unknown/KernelDefault')

    def test_the_last_option_wins(self):
        self.check(amd(options='nested=0 npt=1 nested=1'), 'compliant')
        self.check(amd(options='nested=1 nested=0'), 'drifted')

    def test_a_fatal_value(self):
        files = {'/etc/modprobe.d/howto.conf': '# a how-to\noptions kvm_amd nested=y\n'}
        report = self.check(
            amd(options='nested=y', files=files),
            'blocked',
            plan=['by-hand'],
            NestedPersistent='False/FatalValue',
        )
        self.assertIn('/etc/modprobe.d/howto.conf:2', report.plan[0].why)
        self.assertIn('nested=1', report.plan[0].why)

    def test_a_fatal_value_is_fatal_even_if_a_later_one_is_good(self):
        self.check(amd(options='nested=y nested=1'), 'blocked')
        self.check(intel(options='nested=maybe nested=1'), 'blocked')

    def test_y_is_fine_on_intel(self):
        self.check(intel(options='nested=y'), 'compliant', NestedPersistent='True/OptionEnabled')

    def test_a_wrong_module_name_is_told(self):
        files = {'/etc/modprobe.d/kvm.conf': 'options amd nested=1\n'}
        report = self.check(amd(files=files), 'compliant')
        message = self.conditions(report)['NestedPersistent'].message
        self.assertIn('/etc/modprobe.d/kvm.conf:1 has no effect', message)

    def test_a_file_after_ours(self):
        files = {'/etc/modprobe.d/zzz.conf': 'options kvm_amd nested=0\n'}
        report = self.check(amd(options='nested=0', files=files), 'blocked', plan=['by-hand'])
        self.assertIn('/etc/modprobe.d/zzz.conf:1', report.plan[0].why)

    def test_a_kernel_argument(self):
        node = amd(options='nested=0', cmdline='quiet kvm-amd.nested=0')
        report = self.check(node, 'blocked', plan=['by-hand'])
        self.assertIn('/proc/cmdline', report.plan[0].why)

    def test_an_install_command(self):
        files = {'/etc/modprobe.d/no.conf': 'install kvm_amd /bin/false\n'}
        node = amd(modprobe=Completed(0, 'install /bin/false \n', ''), files=files)
        report = self.check(node, 'blocked', NestedPersistent='Unknown/InstallCommand')
        self.assertIn('/etc/modprobe.d/no.conf:1', report.plan[0].why)

    def test_an_install_command_of_kvm_itself(self):
        modules = f'/lib/modules/{RELEASE}/modules.dep'
        files = {
            '/etc/modprobe.d/no.conf': 'install kvm /bin/false\n',
            modules: 'kernel/kvm-amd.ko: kernel/kvm.ko\nkernel/kvm.ko:\n',
        }
        report = self.check(amd(files=files), 'blocked', NestedPersistent='Unknown/InstallCommand')
        self.assertIn('/etc/modprobe.d/no.conf:1', report.plan[0].why)

    def test_an_alias_that_hides_the_module(self):
        files = {'/etc/modprobe.d/no.conf': 'alias kvm_amd off\n'}
        node = amd(modprobe=Completed(0, '', ''), files=files)
        report = self.check(node, 'blocked', NestedPersistent='False/Aliased')
        self.assertIn('/etc/modprobe.d/no.conf:1', report.plan[0].why)

    def test_a_stale_initramfs(self):
        module = f'usr/lib/modules/{RELEASE}/kernel/arch/x86/kvm/kvm-amd.ko'
        old = {'etc/modprobe.d/kvm.conf': 'options kvm_amd nested=0\n', module: b'module'}
        image = archive(old)
        files = {
            f'/boot/initrd.img-{RELEASE}': image,
            '/etc/modprobe.d/kvm.conf': 'options kvm_amd nested=1\n',
        }
        node = amd(options='nested=1', files=files)
        root = node.root(self)
        os.utime(root.path(f'/boot/initrd.img-{RELEASE}'), (1, 1))
        report = make_report(root, DRIVERS, Sources(), Policy())
        self.assertEqual('StaleInitramfs', self.conditions(report)['NestedPersistent'].reason)
        self.assertIn('update-initramfs', report.plan[0].why)

    def test_no_such_module(self):
        text = 'modprobe: FATAL: Module kvm_amd not found in directory /lib/modules/6.1.0\n'
        node = amd(modprobe=Completed(1, '', text))
        self.check(node, 'blocked', NestedPersistent='False/ModuleMissing')

    def test_blacklisted_is_told(self):
        files = {'/etc/modprobe.d/bl.conf': 'blacklist kvm_amd\n'}
        report = self.check(
            amd(files=files), 'blocked', plan=['by-hand'], NestedPersistent='False/Blacklisted'
        )
        self.assertIn('/etc/modprobe.d/bl.conf:1 blacklists it', report.plan[0].why)

    def test_refused_by_the_kernel(self):
        node = amd(cmdline='module_blacklist=kvm_amd')
        self.check(node, 'blocked', NestedPersistent='False/RefusedByKernel')

    def test_modprobe_missing_is_unknown(self):
        node = amd(files={'/usr/sbin/modprobe': None})
        self.check(node, 'unknown', NestedPersistent='Unknown/Unreadable')


class BuiltInTest(NodeTestCase):
    def node(self, **changes):
        return intel(**{'builtin': True, 'nested': 'N', **changes})

    def test_off(self):
        report = self.check(
            self.node(cmdline='kvm_intel.nested=0'), 'blocked', NestedPersistent='False/BuiltIn'
        )
        self.assertIn('kvm_intel.nested=1', report.plan[0].why)

    def test_off_with_the_argument_for_the_next_boot(self):
        grub = 'menuentry x {\n linux /vmlinuz root=/dev/vda kvm-intel.nested=1\n}\n'
        report = self.check(
            self.node(files={'/boot/grub/grub.cfg': grub}),
            'pending',
            plan=['by-hand'],
            NestedPersistent='True/KernelArgument',
        )
        self.assertEqual('reboot', report.plan[0].target)
        message = self.conditions(report)['NestedPersistent'].message
        self.assertIn('/boot/grub/grub.cfg:2', message)

    def test_boot_entries_that_disagree(self):
        grub = 'linux /a kvm_intel.nested=1\nlinux /b kvm_intel.nested=0\n'
        node = self.node(files={'/boot/grub/grub.cfg': grub})
        self.check(node, 'blocked', NestedPersistent='Unknown/BootEntriesDisagree')

    def test_on_by_default(self):
        node = self.node(nested='Y', files={'/boot/grub/grub.cfg': 'linux /a quiet\n'})
        self.check(node, 'compliant', NestedPersistent='True/KernelDefault')

    def test_without_a_boot_loader_the_present_argument_counts(self):
        node = self.node(nested='Y', cmdline='kvm_intel.nested=1')
        self.check(node, 'compliant', NestedPersistent='True/KernelArgument')

    def test_parameters_of_an_idle_built_in_module_prove_nothing(self):
        node = self.node(nested='Y', kvm=PermissionError(errno.EACCES, 'Permission denied'))
        self.check(node, 'unknown', NestedRuntime='Unknown/Unreadable')


class NovaTest(NodeTestCase):
    def guest(self, node, expected, state='drifted', policy=None, plan=None):
        return self.check(node, state, policy, plan, GuestCPU=expected)

    def test_host_model_exposes_on_intel_alone(self):
        files = nova_conf('[libvirt]\nvirt_type = kvm\n')
        self.guest(intel(files=files), 'True/HostModel', 'compliant')
        report = self.guest(
            amd(files=files),
            'False/HostModelWithoutFlag',
            plan=['set-nova-option', 'restart-nova-compute'],
        )
        self.assertEqual('host-passthrough', report.plan[0].after)
        self.assertEqual('nova-compute.service', report.plan[1].target)

    def test_keep_adds_the_flag(self):
        files = nova_conf('[libvirt]\ncpu_mode=host-model\ncpu_model_extra_flags = pcid\n')
        report = self.guest(
            amd(files=files),
            'False/HostModelWithoutFlag',
            policy=Policy(fix_cpu_mode=FixCPUMode.KEEP),
            plan=['set-nova-option', 'restart-nova-compute'],
        )
        self.assertEqual('/etc/nova/nova.conf libvirt.cpu_model_extra_flags', report.plan[0].target)
        self.assertEqual(('pcid', 'pcid,svm'), (report.plan[0].before, report.plan[0].after))

    def test_flags_in_every_spelling(self):
        for flag in ('svm', '+svm', 'SVM', '+Svm'):
            files = nova_conf(f'[libvirt]\ncpu_model_extra_flags = pcid, {flag}\n')
            self.guest(amd(files=files), 'True/FlagRequired', 'compliant')

    def test_a_flag_taken_away_is_theirs(self):
        files = nova_conf('[libvirt]\ncpu_mode=host-passthrough\ncpu_model_extra_flags = -vmx\n')
        report = self.guest(intel(files=files), 'False/FlagDisabled', 'blocked', plan=['by-hand'])
        self.assertIn('/etc/nova/nova.conf:3', report.plan[0].why)

    def test_a_contradiction(self):
        files = nova_conf('[libvirt]\ncpu_model_extra_flags = vmx,-vmx\n')
        self.guest(intel(files=files), 'Unknown/FlagContradiction', 'blocked')

    def test_mode_none_ignores_flags(self):
        files = nova_conf('[libvirt]\ncpu_mode = none\ncpu_model_extra_flags = svm\n')
        self.guest(amd(files=files), 'False/ModeNone')

    def test_custom_needs_the_flag_on_both(self):
        text = '[libvirt]\ncpu_mode = custom\ncpu_models = X\n'
        plan = ['set-nova-option', 'remove-nova-option', 'restart-nova-compute']
        self.guest(intel(files=nova_conf(text)), 'False/ModelWithoutFlag', plan=plan)
        self.guest(amd(files=nova_conf(text)), 'False/ModelWithoutFlag', plan=plan)
        flag = f'{text}cpu_model_extra_flags = vmx\n'
        self.guest(intel(files=nova_conf(flag)), 'True/FlagRequired', 'compliant')

    def test_models_left_behind(self):
        files = nova_conf('[libvirt]\ncpu_mode = host-passthrough\ncpu_model = Nehalem\n')
        report = self.guest(
            intel(files=files),
            'False/ModelsLeftBehind',
            plan=['remove-nova-option', 'restart-nova-compute'],
        )
        self.assertEqual('/etc/nova/nova.conf libvirt.cpu_model', report.plan[0].target)

    def test_custom_without_models(self):
        files = nova_conf('[libvirt]\ncpu_mode = custom\n')
        self.guest(intel(files=files), 'False/ModelsMissing')
        keep = Policy(fix_cpu_mode=FixCPUMode.KEEP)
        self.guest(intel(files=files), 'False/ModelsMissing', 'blocked', keep)

    def test_a_named_mode(self):
        files = nova_conf('[libvirt]\ncpu_mode = host-passthrough\n')
        policy = Policy(cpu_mode='host-model')
        report = self.guest(intel(files=files), 'False/OtherMode', policy=policy)
        self.assertEqual('host-model', report.plan[0].after)
        report = self.guest(amd(files=files), 'False/OtherMode', policy=policy)
        self.assertEqual(['host-model', 'svm', None], [each.after for each in report.plan])

    def test_an_invalid_value(self):
        files = nova_conf('[libvirt]\ncpu_mode = Host-Passthrough\n')
        report = self.guest(amd(files=files), 'Unknown/ConfigInvalid', 'blocked')
        self.assertIn('/etc/nova/nova.conf:2', report.plan[0].why)

    def test_a_file_oslo_refuses(self):
        report = self.check(
            amd(files=nova_conf('no section = 1\n')),
            'blocked',
            plan=['by-hand'],
            GuestCPU='Unknown/ConfigInvalid',
            VirtType='Unknown/ConfigInvalid',
            NovaConfigCurrent='Unknown/ConfigInvalid',
        )
        self.assertEqual(1, report.plan[0].why.count('/etc/nova/nova.conf'))
        self.assertIn('/etc/nova/nova.conf:1: ', report.plan[0].why)

    def test_what_keeps_nova_from_working_is_told_once(self):
        for text in ('[libvirt]\ncpu_mode = x\n', '[DEFAULT]\nhost = a b\n'):
            report = self.check(
                intel(files=nova_conf(text)),
                'blocked',
                plan=['by-hand'],
                GuestCPU='Unknown/ConfigInvalid',
                VirtType='Unknown/ConfigInvalid',
            )
            self.assertEqual(1, report.plan[0].why.count('/etc/nova/nova.conf:2: '))

    def test_a_file_that_is_gone(self):
        self.guest(amd(files=nova_conf(None)), 'Unknown/ConfigInvalid', 'blocked')

    def test_what_cannot_be_told_from_here_does_not_stop_nova(self):
        source = '[DEFAULT]\nconfig_source = remote\n'
        huge = '#' * (5 << 20)
        reference = '[DEFAULT]\nconfig_dir = $transport_url\n'
        for text in (source, huge, reference):
            report = self.guest(
                amd(files=nova_conf(text)), 'Unknown/Unreadable', 'unknown', plan=[]
            )
            self.assertNotIn('cannot work', self.conditions(report)['GuestCPU'].message)

    def test_a_container_that_cannot_be_entered(self):
        container = f'0::/system.slice/docker-{"ab" * 32}.scope\n'
        files = {'/proc/700/cgroup': container, '/proc/700/root': '-> /gone'}
        self.guest(amd(files=files), 'Unknown/Unreadable', 'unknown', plan=[])

    def test_a_driver_that_cannot_be_resolved(self):
        for value, reason, state in (
            ('$my_ip', 'Unresolved', 'unknown'),
            ('libvirt.LibvirtDriver # here', 'ConfigInvalid', 'blocked'),
        ):
            conf = f'[DEFAULT]\ncompute_driver = {value}\n'
            node = amd(files={**RUNNING, '/etc/nova/nova-compute.conf': conf})
            self.check(node, state, GuestCPU=f'Unknown/{reason}', VirtType=f'Unknown/{reason}')

    def test_text_of_other_options_is_not_shown(self):
        text = (
            '[libvirt]\ncpu_models = Nehalem\n  rbd_secret_uuid = TOPSECRET\n'
            '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n  transport_url=TOPSECRET\n'
        )
        environ = 'OS_LIBVIRT__CPU_MODE=custom password=TOPSECRET\0'
        files = {**nova_process(ticks=LATER, environ=environ), '/etc/nova/nova-compute.conf': text}
        for kept in (files, {**files, **RUNNING}):
            report = self.guest(amd(files=kept), 'Unknown/ConfigInvalid', 'blocked')
            self.assertNotIn('TOPSECRET', str(report.to_dict()))

    def test_virt_type_qemu(self):
        files = nova_conf('[libvirt]\nvirt_type = qemu\ncpu_mode = host-passthrough\n')
        self.check(
            amd(files=files),
            'drifted',
            plan=['set-nova-option', 'restart-nova-compute'],
            VirtType='False/NotKVM',
            GuestCPU='Unknown/NotKVM',
        )

    def test_virt_type_qemu_and_the_cpu_in_one_plan(self):
        text = '[libvirt]\nvirt_type = qemu\n'
        report = self.check(
            amd(files=nova_conf(text)),
            'drifted',
            plan=['set-nova-option', 'set-nova-option', 'restart-nova-compute'],
            VirtType='False/NotKVM',
            GuestCPU='False/HostModelWithoutFlag',
        )
        self.assertEqual(['kvm', 'host-passthrough', None], [each.after for each in report.plan])
        self.assertIn('once virt_type is kvm', self.conditions(report)['GuestCPU'].message)

    def test_the_cpu_is_not_touched_before_virt_type_can_be(self):
        for text, reason in (
            ('virt_type = qemu', 'Unknown/NotKVM'),
            ('virt_type = qemu\ncpu_models = X', 'False/ModelsLeftBehind'),
        ):
            node = amd(
                files=nova_conf(f'[libvirt]\n{text}\n'),
                kvm=PermissionError(errno.EACCES, 'Permission denied'),
            )
            self.check(node, 'unknown', plan=[], GuestCPU=reason, NestedRuntime='True/Enabled')

    def test_containers_are_not_lost(self):
        for value in ('lxc', 'parallels'):
            for mode in ('', 'cpu_mode = host-model\n'):
                text = f'[libvirt]\nvirt_type = {value}\n{mode}'
                report = self.check(
                    intel(files=nova_conf(text)),
                    'blocked',
                    plan=['by-hand'],
                    VirtType='False/NotKVM',
                )
                self.assertIn('would be lost', report.plan[0].why)

    def test_virt_type_is_not_touched_while_kvm_is_not_seen(self):
        files = nova_conf('[libvirt]\nvirt_type = qemu\n')
        node = amd(files=files, kvm=PermissionError(errno.EACCES, 'Permission denied'))
        self.check(node, 'unknown', plan=[], VirtType='False/NotKVM')

    def test_the_environment_is_theirs(self):
        files = nova_process(ticks=LATER, environ='OS_LIBVIRT__CPU_MODE=host-model\0')
        report = self.guest(
            amd(files=files), 'False/HostModelWithoutFlag', 'blocked', plan=['by-hand']
        )
        self.assertIn('OS_LIBVIRT__CPU_MODE', report.plan[0].why)

    def test_what_would_have_to_change_is_in_the_environment(self):
        for mode in ('custom', 'host-passthrough'):
            files = nova_conf(
                f'[libvirt]\ncpu_mode = {mode}\n',
                **nova_process(ticks=LATER, environ='OS_LIBVIRT__CPU_MODELS=EPYC\0'),
            )
            report = self.report(amd(files=files))
            self.assertEqual(['by-hand'], [each.kind for each in report.plan])
            self.assertIn('OS_LIBVIRT__CPU_MODELS', report.plan[0].why)

    def test_no_file_to_write_to(self):
        argv = '/usr/bin/nova-compute\0--config-file=/dev/null\0'
        files = {**RUNNING, '/proc/700/cmdline': argv, '/dev/null': ''}
        report = self.guest(amd(files=files), 'False/HostModelWithoutFlag', 'blocked')
        self.assertIn('no file', report.plan[0].why)

    def test_an_unreadable_environment_could_say_otherwise(self):
        for text in ('cpu_mode = host-passthrough', 'cpu_mode = host-model'):
            files = nova_conf(f'[libvirt]\n{text}\n', **{'/proc/700/environ/x': ''})
            del files['/proc/700/environ']
            node = amd(files=files)
            report = make_report(node.root(self), DRIVERS, Sources(), Policy())
            found = self.conditions(report)['GuestCPU']
            self.assertEqual('Unknown/Unreadable', f'{found.status}/{found.reason}')
            self.assertIn(text.replace(' =', ''), found.message)
            self.assertEqual('unknown', report.state)

    def test_a_second_nova_compute_was_not_looked_at(self):
        report = self.check(
            amd(files=nova_process(800, ticks=LATER)),
            'unknown',
            GuestCPU='True/HostPassthrough',
            NovaConfigCurrent='Unknown/SeveralRunning',
        )
        self.assertIn('pid 700, 800', self.conditions(report)['NovaConfigCurrent'].message)

    def test_hidden_processes(self):
        node = amd(files={**dict.fromkeys(RUNNING), '/proc/1/cmdline': None})
        node.files['/proc/2/cmdline'] = 'bash\0'
        found = self.check(
            node,
            'unknown',
            GuestCPU='Unknown/Unreadable',
            VirtType='Unknown/Unreadable',
            NovaConfigCurrent='Unknown/Unreadable',
        )
        self.assertIn('run as root', self.conditions(found)['NovaConfigCurrent'].message)

    def test_managed_by_kolla(self):
        container = f'0::/system.slice/docker-{"ab" * 32}.scope\n'
        files = nova_conf(
            '[libvirt]\ncpu_mode = host-model\n',
            **{'/etc/kolla/nova-compute/x': '', '/proc/700/cgroup': container},
        )
        report = self.guest(amd(files=files), 'False/HostModelWithoutFlag', 'blocked')
        self.assertIn('kolla-ansible reconfigure', report.plan[0].why)

    def test_not_libvirt(self):
        conf = '[DEFAULT]\ncompute_driver = ironic.IronicDriver\n'
        files = {**RUNNING, '/etc/nova/nova-compute.conf': conf}
        self.check(amd(files=files), 'unknown', GuestCPU='Unknown/NotLibvirt')

    def test_not_installed(self):
        gone = dict.fromkeys((*RUNNING, '/etc/nova/nova.conf', '/etc/nova/nova-compute.conf'))
        self.check(
            amd(files=gone),
            'unknown',
            GuestCPU='Unknown/NotInstalled',
            VirtType='Unknown/NotInstalled',
            NovaConfigCurrent='Unknown/NotInstalled',
        )

    def test_not_running(self):
        node = amd(files=dict.fromkeys(RUNNING))
        self.check(
            node, 'unknown', GuestCPU='True/HostPassthrough', NovaConfigCurrent='Unknown/NotRunning'
        )

    def test_changed_since_start(self):
        report = self.check(
            amd(files=nova_process(ticks=490000)),
            'unknown',
            NovaConfigCurrent='Unknown/ChangedSinceStart',
        )
        message = self.conditions(report)['NovaConfigCurrent'].message
        self.assertIn('/etc/nova/', message)
        self.assertIn('restarting it would make that certain', message)
        self.assertEqual((), report.plan)

    def test_nothing_of_nova_is_planned_while_the_module_waits_for_a_person(self):
        files = nova_conf(
            '[libvirt]\ncpu_mode = host-model\n',
            **{'/etc/modprobe.d/zzz.conf': 'options kvm_amd nested=0\n'},
        )
        self.check(amd(nested='0', options='nested=0', files=files), 'blocked', plan=['by-hand'])

    def test_the_module_comes_before_nova(self):
        files = nova_conf('[libvirt]\nvirt_type = kvm\n', **OFF)
        node = amd(nested='0', options='nested=0', files=files)
        plan = [
            'write-modprobe-dropin',
            'reload-module',
            'set-nova-option',
            'restart-nova-compute',
        ]
        self.check(node, 'drifted', plan=plan)


class DisabledTest(NodeTestCase):
    def test_on_everywhere(self):
        report = self.check(
            amd(),
            'drifted',
            DISABLED,
            plan=['write-modprobe-dropin', 'reload-module', 'restart-nova-compute'],
            NestedRuntime='False/Enabled',
            NestedPersistent='False/KernelDefault',
            GuestCPU='True/NotRequired',
            VirtType='True/NotRequired',
        )
        self.assertEqual('options kvm_amd nested=0', report.plan[0].after)

    def test_off_everywhere(self):
        self.check(
            amd(nested='0', options='nested=0'),
            'compliant',
            DISABLED,
            NestedRuntime='True/Disabled',
            NestedPersistent='True/OptionDisabled',
        )

    def test_only_the_flag_is_taken_from_nova_and_first(self):
        text = '[libvirt]\ncpu_mode=host-model\nvirt_type=qemu\ncpu_model_extra_flags = svm, pcid\n'
        report = self.check(
            amd(files=nova_conf(text)),
            'drifted',
            DISABLED,
            plan=[
                'set-nova-option',
                'write-modprobe-dropin',
                'reload-module',
                'restart-nova-compute',
            ],
            GuestCPU='False/FlagRequired',
        )
        self.assertEqual('pcid', report.plan[0].after)

    def test_a_node_that_cannot_nest(self):
        for node in (
            intel(flags='fpu', nested=None, kvm=OSError(errno.ENOENT, 'gone')),
            intel(flags='fpu hypervisor', nested=None, kvm=OSError(errno.ENOENT, 'gone')),
        ):
            node.files = dict.fromkeys(
                (*RUNNING, '/etc/nova/nova.conf', '/etc/nova/nova-compute.conf')
            )
            report = self.check(node, 'compliant', DISABLED, plan=[])
            self.assertNotIn('False', [each.status for each in report.conditions])

    def test_not_loaded_is_off_but_the_next_load_counts(self):
        node = amd(nested=None, kvm=OSError(errno.ENOENT, 'gone'))
        self.check(
            node,
            'drifted',
            DISABLED,
            plan=['write-modprobe-dropin'],
            NestedRuntime='True/ModuleNotLoaded',
        )

    def test_a_flag_kvm_offers_is_never_explained_away(self):
        files = {'/sys/module/kvm_pvm/parameters/x': '1', '/sys/module/kvm/parameters/x': '1'}
        node = amd(flags='fpu', nested=None, offered=True, files=files)
        self.check(node, 'unsupported', DISABLED, NestedRuntime='False/OtherAccelerator')

    def test_old_intel_is_off_by_default(self):
        self.check(intel(nested='N', release='4.19.0'), 'compliant', DISABLED)


class SinceTest(NodeTestCase):
    def test_nothing_is_known_without_a_last_report(self):
        report = self.report(amd())
        self.assertEqual({None}, {each.since for each in report.conditions})

    def test_it_is_carried_on_while_the_status_stays(self):
        first = self.report(amd(), previous=self.report(amd(nested='0', options='nested=0')))
        found = self.conditions(first)
        self.assertEqual(first.time, found['NestedRuntime'].since)
        self.assertIsNone(found['CPUSupported'].since)
        second = self.report(amd(), previous=first)
        self.assertEqual(first.time, self.conditions(second)['NestedRuntime'].since)


class CapturedTreeTest(NodeTestCase):
    def test_what_cannot_be_known_is_unknown(self):
        report = self.check(
            amd(live=False, files=OFF, nested='0'),
            'drifted',
            KVMUsable='Unknown/Unreadable',
            NestedRuntime='False/Disabled',
            NestedPersistent='False/OptionDisabled',
            NovaConfigCurrent='Unknown/Unreadable',
        )
        self.assertEqual('node1', report.host)
        self.assertIn('by sysfs alone', self.conditions(report)['NestedRuntime'].message)

    def test_a_good_tree_is_never_called_compliant(self):
        self.check(amd(live=False), 'unknown')

    def test_an_empty_tree(self):
        node = amd(live=False)
        node.files = dict.fromkeys(node.tree())
        node.files['/etc/os-release'] = 'x'
        self.check(node, 'unknown', plan=[])
