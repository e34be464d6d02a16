"""The machine judged: what could pass for right, or for off, and is not."""

import errno
import os

from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.intel import IntelDriver
from nested_agent.facts import Unread
from nested_agent.node.observe import Sources
from nested_agent.node.root import Completed
from nested_agent.policy import Nested, Policy
from nested_agent.report import make_report
from tests.unit.nodes import RELEASE, amd, intel
from tests.unit.test_initramfs import archive
from tests.unit.test_verify import NodeTestCase as VerifyTestCase

DRIVERS = loader.Loaded((AMDDriver(), IntelDriver()), ())
DISABLED = Policy(Nested.DISABLED)
DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'
GONE = OSError(errno.ENOENT, 'No such file or directory')
ARM = 'CPU implementer : 0x41\nFeatures : fp\n\n'
SWITCH = '/proc/sys/kernel/modules_disabled'


class MachineTestCase(VerifyTestCase):
    def messages(self, report):
        return {type_: each.message for type_, each in self.conditions(report).items()}


class BootEntriesTest(MachineTestCase):
    def node(self, grub, **changes):
        files = {'/boot/grub/grub.cfg': grub, **changes.pop('files', {})}
        return intel(**{'builtin': True, 'nested': 'N', 'files': files, **changes})

    def test_an_entry_without_the_argument_has_the_kernel_s_default(self):
        node = self.node('linux /a kvm_intel.nested=0\nlinux /b quiet\n')
        report = self.check(
            node, 'blocked', DISABLED, NestedPersistent='Unknown/BootEntriesDisagree'
        )
        message = self.messages(report)['NestedPersistent']
        self.assertIn('off with /boot/grub/grub.cfg:1', message)
        self.assertIn('on with /boot/grub/grub.cfg:2', message)

    def test_files_of_the_boot_loader_specification_count_likewise(self):
        entries = '/boot/loader/entries'
        files = {
            '/boot/grub/grub.cfg': None,
            f'{entries}/a.conf': 'linux /a\noptions ro kvm_intel.nested=0\n',
            f'{entries}/b.conf': 'linux /b\noptions ro\n',
        }
        node = self.node('', files=files)
        self.check(node, 'blocked', DISABLED, NestedPersistent='Unknown/BootEntriesDisagree')

    def test_old_intel_is_off_without_it(self):
        grub = 'linux /a kvm_intel.nested=1\nlinux /a single\n'
        node = self.node(grub, release='4.19.0', nested='Y')
        self.check(node, 'blocked', NestedPersistent='Unknown/BootEntriesDisagree')

    def test_entries_that_come_to_the_same_agree(self):
        grub = 'linux /a kvm_intel.nested=1\nlinux /a single\nlinux16 /b kvm-intel.nested=y\n'
        node = self.node(grub, nested='Y')
        self.check(node, 'compliant', NestedPersistent='True/KernelArgument')

    def test_what_is_not_read_by_the_boot_loader_is_no_boot_entry(self):
        files = {'/boot/grub/grub.cfg': None, '/etc/kernel/cmdline': 'kvm_intel.nested=0\n'}
        node = self.node('', nested='Y', files=files, cmdline='kvm_intel.nested=1')
        self.check(node, 'compliant', NestedPersistent='True/KernelArgument')

    def test_an_unreadable_boot_loader_is_unknown(self):
        node = self.node('x', files={'/boot/grub/grub.cfg': None, '/boot/grub2/grub.cfg/x': ''})
        report = self.report(node)
        found = self.conditions(report)['NestedPersistent']
        self.assertEqual('Unknown/Unreadable', f'{found.status}/{found.reason}')

    def test_an_undecidable_value_is_named(self):
        for value in ('maybe', '2'):
            node = self.node(f'linux /a kvm_intel.nested={value}\n')
            report = self.check(node, 'blocked', NestedPersistent='Unknown/DependsOnKernel')
            message = self.messages(report)['NestedPersistent']
            self.assertIn(
                f'/boot/grub/grub.cfg:1: what this kernel makes of "nested={value}"', message
            )

    def test_a_kernel_whose_default_is_not_known(self):
        for release in ('4.18.0-553.el8_10.x86_64', 'strange'):
            node = self.node('linux /a quiet\n', release=release)
            report = self.check(node, 'blocked', NestedPersistent='Unknown/KernelDefault')
            self.assertNotIn('None', self.messages(report)['NestedPersistent'])

    def test_other_parameters_do_not_stop_a_built_in_module(self):
        node = self.node('linux /a kvm_intel.nested=1 kvm_intel.ept=maybe\n', nested='Y')
        self.check(node, 'compliant', NestedPersistent='True/KernelArgument')


class RefusedLoadTest(MachineTestCase):
    def fatal(self, node, *texts):
        report = self.check(node, 'blocked', NestedPersistent='False/FatalValue')
        for text in texts:
            self.assertIn(text, self.messages(report)['NestedPersistent'])
        return report

    def test_another_parameter_of_the_module(self):
        files = {'/etc/modprobe.d/kvm.conf': 'options kvm_intel nested=1 ept=maybe\n'}
        node = intel(options='nested=1 ept=maybe', files=files)
        self.fatal(node, '/etc/modprobe.d/kvm.conf:1: "ept=maybe" keeps kvm_intel from loading')
        files = {'/etc/modprobe.d/kvm.conf': 'options kvm_amd nested=1 npt=maybe\n'}
        self.fatal(amd(options='nested=1 npt=maybe', files=files), '"npt=maybe"')

    def test_a_parameter_of_a_dependency(self):
        files = {'/etc/modprobe.d/kvm.conf': '#\noptions kvm halt_poll_ns=abc\n'}
        directory = f'/lib/modules/{RELEASE}/kernel'
        rows = ('kvm.ko halt_poll_ns=abc', 'kvm-amd.ko nested=1')
        shown = ''.join(f'insmod {directory}/{row} \n' for row in rows)
        self.fatal(
            amd(modprobe=Completed(0, shown, ''), files=files),
            '/etc/modprobe.d/kvm.conf:2: "halt_poll_ns=abc" keeps kvm from loading, which kvm_amd',
        )
        report = self.report(amd(live=False, files=files))
        self.assertEqual('FatalValue', self.conditions(report)['NestedPersistent'].reason)

    def test_good_values_and_unknown_parameters_are_no_hindrance(self):
        self.check(amd(options='npt=1 vgif=0 bogus=maybe nested=1'), 'compliant')

    def test_a_dependency_the_kernel_refuses(self):
        node = amd(cmdline='module_blacklist=nouveau,kvm')
        report = self.check(node, 'blocked', NestedPersistent='False/RefusedByKernel')
        self.assertIn('refuse kvm, which kvm_amd needs', self.messages(report)['NestedPersistent'])


class BlacklistTest(MachineTestCase):
    FILES = {'/etc/modprobe.d/bl.conf': 'blacklist kvm_amd\n'}  # noqa: RUF012

    def test_nothing_loads_it_after_a_reboot(self):
        report = self.check(
            amd(files=self.FILES), 'blocked', plan=['by-hand'], NestedPersistent='False/Blacklisted'
        )
        found = self.conditions(report)['NestedPersistent']
        self.assertIn('/etc/modprobe.d/bl.conf:1 blacklists it', found.message)
        self.assertEqual('on', found.observed)

    def test_modules_load_d_honours_it(self):
        files = {**self.FILES, '/etc/modules-load.d/kvm.conf': 'kvm_amd\n'}
        self.check(amd(files=files), 'blocked', NestedPersistent='False/Blacklisted')

    def test_on_the_kernel_command_line(self):
        report = self.check(
            amd(cmdline='modprobe.blacklist=kvm_amd'),
            'blocked',
            NestedPersistent='False/Blacklisted',
        )
        self.assertIn('/proc/cmdline:1', self.messages(report)['NestedPersistent'])

    def test_off_is_off(self):
        node = amd(nested='0', options='nested=0', files=self.FILES)
        report = self.check(node, 'compliant', DISABLED, NestedPersistent='True/OptionDisabled')
        self.assertIn('blacklists it', self.messages(report)['NestedPersistent'])


class BootImageTest(MachineTestCase):
    def stale(self, content, options='nested=1', policy=None):
        files = {
            f'/boot/initrd.img-{RELEASE}': content,
            '/etc/modprobe.d/kvm.conf': f'options kvm_amd {options}\n',
        }
        root = amd(options=options, files=files).root(self)
        os.utime(root.path(f'/boot/initrd.img-{RELEASE}'), (1, 1))
        report = make_report(root, DRIVERS, Sources(), policy or Policy())
        return self.conditions(report)['NestedPersistent']

    def test_one_that_cannot_be_read_could_hold_anything(self):
        found = self.stale(b'no archive')
        self.assertEqual('Unknown/InitramfsUnreadable', f'{found.status}/{found.reason}')
        self.assertIn(f'/boot/initrd.img-{RELEASE}', found.message)
        found = self.stale(b'no archive', 'nested=0', DISABLED)
        self.assertEqual('InitramfsUnreadable', found.reason)

    def test_what_is_wrong_anyway_stays_wrong(self):
        found = self.stale(b'no archive', 'nested=0')
        self.assertEqual('False/OptionDisabled', f'{found.status}/{found.reason}')

    def test_one_without_the_module_is_fine(self):
        found = self.stale(archive({'etc/modprobe.d/kvm.conf': 'options kvm_amd nested=0\n'}))
        self.assertEqual('True/OptionEnabled', f'{found.status}/{found.reason}')


class AttributionTest(MachineTestCase):
    """The line that is named is the line that decides."""

    def named(self, files, options, state='blocked'):
        report = self.check(amd(options=options, files=files), state)
        return self.messages(report)['NestedPersistent'], report

    def test_quotes(self):
        files = {
            DROPIN: 'options kvm_amd nested=1\n',
            '/etc/modprobe.d/zzz.conf': 'options kvm_amd "nested=0"\n',
        }
        message, _ = self.named(files, 'nested=1 "nested=0"')
        self.assertIn('/etc/modprobe.d/zzz.conf:1: nested is off', message)
        self.assertIn('changed where it stands', message)

    def test_two_dashes(self):
        files = {
            '/etc/modprobe.d/a.conf': 'options kvm_amd nested=0 --\n',
            '/etc/modprobe.d/b.conf': 'options kvm_amd nested=1\n',
        }
        message, _ = self.named(files, 'nested=0 -- nested=1', 'drifted')
        self.assertIn('/etc/modprobe.d/a.conf:1: nested is off', message)

    def test_a_bare_word(self):
        files = {
            '/etc/modprobe.d/a.conf': 'options kvm_amd nested=1\n',
            '/etc/modprobe.d/b.conf': 'options kvm_amd nested\n',
        }
        message, report = self.named(files, 'nested=1 nested')
        self.assertIn('/etc/modprobe.d/b.conf:1: "nested" keeps', message)
        self.assertEqual(['by-hand'], [each.kind for each in report.plan])

    def test_the_agent_s_own_file_is_not_blamed_for_another(self):
        files = {
            DROPIN: 'options kvm_amd nested=1\n',
            '/etc/modprobe.d/zzz.conf': 'options kvm_amd nested\n',
        }
        message, report = self.named(files, 'nested=1 nested')
        self.assertIn('/etc/modprobe.d/zzz.conf:1: "nested" keeps', message)
        self.assertEqual(['by-hand'], [each.kind for each in report.plan])

    def test_a_name_that_is_no_text(self):
        node = amd(options='nested=0', files={'/etc/modprobe.d/x': ''})
        root = node.root(self)
        file = root.path('/etc/modprobe.d') / os.fsdecode(b'zz\xff.conf')
        file.write_text('options kvm_amd nested=0\n')
        report = make_report(root, DRIVERS, Sources(), Policy())
        message = self.messages(report)['NestedPersistent']
        self.assertIn('/etc/modprobe.d/zz\ufffd.conf:1: nested is off', message)
        self.assertIn('changed where it stands', message)


class FirmwareTest(MachineTestCase):
    LOG = "[9.1] kvm: support for 'kvm_amd' disabled by bios\n"

    def test_a_log_does_not_make_the_flag_moot(self):
        node = amd(nested=None, live=False, files={'/var/log/dmesg': self.LOG})
        report = self.check(node, 'drifted', DISABLED, CPUSupported='True/FirmwareDisabled')
        self.assertEqual('KernelDefault', self.conditions(report)['NestedPersistent'].reason)

    def test_without_the_flag_it_cannot(self):
        log = '[0.1] x86/cpu: VMX (outside TXT) disabled by BIOS\n'
        node = intel(flags='fpu', nested=None, live=False, files={'/var/log/dmesg': log})
        report = self.check(
            node,
            'compliant',
            DISABLED,
            plan=[],
            CPUSupported='True/FlagAbsent',
            NestedPersistent='True/CannotNest',
        )
        self.assertIn('switched off in firmware', self.messages(report)['CPUSupported'])

    def test_the_boot_before_does_not_count(self):
        log = (
            f'kernel: [0.0] Linux version 6.1.0\nkernel: {self.LOG}'
            'kernel: [0.0] Linux version 6.1.0\nkernel: [3.0] kvm_amd: Nested Paging enabled\n'
        )
        node = amd(nested=None, live=False, files={'/var/log/kern.log': log})
        report = self.report(node)
        self.assertEqual('FlagPresent', self.conditions(report)['CPUSupported'].reason)


class ProcessorTest(MachineTestCase):
    def test_a_file_that_says_nothing_is_unknown(self):
        whole = amd().tree()['/proc/cpuinfo']
        for text in ('', whole[: whole.index('svm')], 'processor\t: 0\n'):
            node = amd(files={'/proc/cpuinfo': text})
            self.check(node, 'unknown', CPUSupported='Unknown/Unreadable')

    def test_another_architecture_is_unsupported(self):
        report = self.check(
            amd(files={'/proc/cpuinfo': ARM}), 'unsupported', CPUSupported='False/NoDriver'
        )
        self.assertIn('CPU implementer', self.messages(report)['CPUSupported'])

    def test_no_package_is_advised_where_it_would_not_help(self):
        text = 'modprobe: FATAL: Module kvm_intel not found in directory /lib/modules/6.1.0\n'
        missing = {'modprobe': Completed(1, '', text), 'nested': None, 'kvm': GONE}
        report = self.check(intel(**missing), 'blocked', NestedPersistent='False/ModuleMissing')
        self.assertIn('install', self.messages(report)['NestedPersistent'])
        report = self.check(
            intel(flags='fpu', **missing), 'unsupported', NestedPersistent='False/ModuleMissing'
        )
        self.assertNotIn('install', self.messages(report)['NestedPersistent'])


class ReloadTest(MachineTestCase):
    def off(self, files=None, **changes):
        return amd(nested='0', options='nested=1', files=files or {}, **changes)

    def test_a_count_that_cannot_be_read_says_nothing_of_use(self):
        refcnt = '/sys/module/kvm_amd/refcnt'
        for files in ({refcnt: 'many\n'}, {refcnt: '-1\n'}, {refcnt: None, f'{refcnt}/x': ''}):
            report = self.check(self.off(files), 'unknown', plan=[], NestedRuntime='False/Disabled')
            message = self.messages(report)['NestedRuntime']
            self.assertIn('whether kvm_amd is in use is not known', message)
            self.assertNotIn('is in use:', message)

    def test_modules_disabled(self):
        report = self.check(self.off({SWITCH: '1\n'}), 'pending', NestedRuntime='False/Disabled')
        self.assertIn('only a reboot changes it', self.messages(report)['NestedRuntime'])
        plan = ['reload-module', 'restart-nova-compute']
        self.check(self.off({SWITCH: '0\n'}), 'drifted', plan=plan)
        absent = amd(nested=None, kvm=GONE, files={SWITCH: '1\n'})
        report = self.check(
            absent,
            'pending',
            NestedRuntime='False/ModuleNotLoaded',
            KVMUsable='False/ModuleNotLoaded',
        )
        for type_ in ('NestedRuntime', 'KVMUsable'):
            self.assertIn('only a reboot changes it', self.messages(report)[type_])

    def test_whether_modules_are_disabled_cannot_be_told(self):
        for content in ({SWITCH: 'x\n'}, {f'{SWITCH}/x': ''}):
            report = self.check(self.off(content), 'unknown', plan=[])
            self.assertIn('whether modules can be loaded', self.messages(report)['NestedRuntime'])

    def test_another_hypervisor(self):
        box = {'/sys/module/vboxdrv/initstate': 'live\n'}
        report = self.check(self.off(box), 'blocked', plan=['by-hand'])
        self.assertIn('vboxdrv', self.messages(report)['NestedRuntime'])
        absent = amd(nested=None, kvm=GONE, files=box)
        report = self.check(absent, 'blocked', KVMUsable='False/ModuleNotLoaded')
        self.assertIn('vboxdrv', self.messages(report)['KVMUsable'])
        self.check(amd(files=box), 'compliant')


class WitnessTest(MachineTestCase):
    NESTED = '/sys/module/kvm_amd/parameters/nested'

    def test_a_parameter_that_cannot_be_read_is_not_gone(self):
        files = {self.NESTED: None, f'{self.NESTED}/x': ''}
        report = self.check(amd(offered=True, files=files), 'compliant')
        self.assertIn('nested cannot be read (EISDIR)', self.messages(report)['NestedRuntime'])
        node = amd(files=files, kvm=PermissionError(errno.EACCES, 'Permission denied'))
        report = self.check(node, 'unknown', NestedRuntime='Unknown/Unreadable')
        self.assertIn('EISDIR', self.messages(report)['NestedRuntime'])
        self.assertEqual(
            {'source': self.NESTED, 'error': 'EISDIR', 'detail': 'Is a directory'},
            report.observation['modules']['kvm_amd']['parameters']['nested']['unread'],
        )

    def test_degraded_asks_only_for_what_was_read(self):
        self.check(intel(files={'/sys/module/kvm_intel/parameters/ept/x': ''}), 'compliant')

    def test_a_tree_without_states_proves_nothing(self):
        module = '/sys/module/kvm_intel'
        files = dict.fromkeys((f'{module}/initstate', f'{module}/refcnt'))
        node = intel(live=False, files=files)
        report = self.check(
            node,
            'unknown',
            NestedRuntime='Unknown/Unreadable',
            NestedPersistent='Unknown/Unreadable',
        )
        self.assertIn('built in', self.messages(report)['NestedPersistent'])


class DamagedTest(MachineTestCase):
    def test_nul_bytes_and_long_numbers(self):
        for files in (
            {'/proc/sys/kernel/osrelease': '6.1\0\n'},
            {'/etc/machine-id': 'a\0b'},
            {'/proc/sys/kernel/osrelease': f'{"9" * 5000}.1\n'},
        ):
            for live in (True, False):
                self.report(amd(live=live, files=files))
        files = {'/etc/modprobe.d/a.conf': f'options kvm_amd nested={"9" * 5000}\n'}
        options = f'nested={"9" * 5000}'
        self.check(
            amd(options=options, files=files), 'blocked', NestedPersistent='False/FatalValue'
        )

    def test_a_device_without_sysfs_is_not_called_unusable(self):
        root = amd().root(self)
        plain = root.stat

        def denied(name):
            if name.startswith('/sys/module'):
                raise PermissionError(errno.EACCES, 'Permission denied')
            return plain(name)

        root.stat = denied
        report = make_report(root, DRIVERS, Sources(), Policy())
        self.assertIsInstance(report.observation, dict)
        self.assertNotIsInstance(report.observation['kvm'], Unread)
        self.assertEqual('EACCES', report.observation['kvm']['unread']['error'])
        self.assertEqual('Unreadable', self.conditions(report)['KVMUsable'].reason)
