"""The vendors' facts, and how drivers are found."""

from unittest import mock

from oslotest import base
from stevedore import extension

from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.base import CPUIDBit, Driver, GuestCPU, LoadValue
from nested_agent.drivers.intel import IntelDriver
from nested_agent.facts import CPU

EPYC = CPU('AuthenticAMD', 'EPYC', ('svm',))
XEON = CPU('GenuineIntel', 'Xeon', ('vmx',))


class LoadValueTest(base.BaseTestCase):
    def test_bool_of_kvm_intel(self):
        driver = IntelDriver()
        for text in (None, '1', 'y', 'Y', 'yes', '1\r', 'on', 'ON', 't', 'True'):
            self.assertIs(LoadValue.ON, driver.load_value(text, '6.1.0'), text)
        for text in ('0', 'n', 'N', 'no', 'off', '0x1', 'false', 'F'):
            self.assertIs(LoadValue.OFF, driver.load_value(text, '6.1.0'), text)
        for text in ('', '2', 'enable', '-1', 'o', ' 1'):
            self.assertIs(LoadValue.FATAL, driver.load_value(text, '6.1.0'), text)

    def test_true_and_false_depend_on_the_kernel(self):
        for text in ('true', 'f'):
            self.assertIs(LoadValue.UNKNOWN, IntelDriver().load_value(text, '5.14.0-1.el9'), text)

    def test_int_of_kvm_amd(self):
        driver = AMDDriver()
        for text in ('1', '2', '-1', '+1', '0x1', '01', '2147483647', '-2147483648'):
            self.assertIs(LoadValue.ON, driver.load_value(text, '6.1.0'), text)
        for text in ('0', '00', '0x0', '-0'):
            self.assertIs(LoadValue.OFF, driver.load_value(text, '6.1.0'), text)
        for text in (None, '', 'y', 'Y', 'on', '1\r', '1 ', '08', '0x', '2147483648', '1.0'):
            self.assertIs(LoadValue.FATAL, driver.load_value(text, '6.1.0'), text)

    def test_numbers_of_any_length(self):
        long = '9' * 5000
        self.assertIs(LoadValue.FATAL, AMDDriver().load_value(long, '6.1.0'))
        self.assertIs(LoadValue.OFF, AMDDriver().load_value('0' * 5000, '6.1.0'))
        self.assertIs(LoadValue.ON, AMDDriver().load_value(f'0x{"0" * 5000}1', '6.1.0'))
        for driver in (AMDDriver(), IntelDriver()):
            driver.kernel_default(f'{long}.1')
            driver.missing_below(f'6.{long}')

    def test_other_parameters_that_keep_a_module_from_loading(self):
        amd, intel = AMDDriver(), IntelDriver()
        for driver, module, name, text in (
            (intel, 'kvm_intel', 'ept', 'maybe'),
            (intel, 'kvm_intel', 'unrestricted-guest', '2'),
            (amd, 'kvm_amd', 'npt', 'maybe'),
            (amd, 'kvm_amd', 'npt', ''),
            (amd, 'kvm_amd', 'vgif', 'y'),
            (amd, 'kvm_amd', 'nrips', None),
            (amd, 'kvm', 'halt_poll_ns', 'abc'),
            (intel, 'kvm', 'halt_poll_ns', '-1'),
            (intel, 'kvm', 'halt_poll_ns', '4294967296'),
            (intel, 'kvm', 'ignore_msrs', '2'),
        ):
            self.assertTrue(driver.refuses(module, name, text, '6.1.0'), (module, name, text))
        for driver, module, name, text in (
            (intel, 'kvm_intel', 'ept', '0'),
            (intel, 'kvm_intel', 'ept', None),
            (intel, 'kvm_intel', 'vmentry_l1d_flush', 'cond'),
            (intel, 'kvm_intel', 'not_known_here', 'maybe'),
            (amd, 'kvm_amd', 'npt', 'y'),  # refused before 5.13 only
            (amd, 'kvm_amd', 'npt', None),
            (amd, 'kvm_amd', 'avic', 'auto'),
            (amd, 'kvm', 'halt_poll_ns', '0x1000'),
            (amd, 'kvm', 'halt_poll_ns', '4294967295'),
            (amd, 'kvm', 'npt', 'maybe'),
            (amd, 'ccp', 'npt', 'maybe'),
        ):
            self.assertFalse(driver.refuses(module, name, text, '6.1.0'), (module, name, text))
        # true and false are taken since 6.0.
        self.assertFalse(intel.refuses('kvm_intel', 'ept', 'false', '5.14.0-1.el9'))

    def test_what_we_write_is_right_for_both(self):
        for driver in (IntelDriver(), AMDDriver()):
            for on, value in ((True, LoadValue.ON), (False, LoadValue.OFF)):
                text = driver.option(on).partition('=')[2]
                self.assertIs(value, driver.load_value(text, '3.10.0'))
                self.assertEqual(f'options {driver.module} nested={text}', driver.option_line(on))

    def test_kernel_defaults(self):
        for release, on in (('4.19.0', False), ('4.20.1', True), ('6.1', True), ('x', None)):
            self.assertIs(on, IntelDriver().kernel_default(release), release)
        self.assertIsNone(IntelDriver().kernel_default('3.10.0-1160.el7.x86_64'))
        self.assertTrue(AMDDriver().kernel_default('3.10.0-1160.el7.x86_64'))
        self.assertIsNone(AMDDriver().kernel_default(''))


class ExposureTest(base.BaseTestCase):
    """Every vendor and cpu_mode (nova virt/libvirt/driver.py, libvirt and QEMU CPU models)."""

    def exposed(self, driver, mode, flags=(), models=(), virt_type='kvm'):
        return driver.exposes(GuestCPU(virt_type, mode, models, flags)).exposed

    def test_modes(self):
        for mode, on_intel, on_amd in (
            ('host-passthrough', True, True),
            ('host-model', True, False),
            (None, True, False),
            ('custom', False, False),
            ('none', False, False),
        ):
            self.assertIs(on_intel, self.exposed(IntelDriver(), mode, models=('X',)), mode)
            self.assertIs(on_amd, self.exposed(AMDDriver(), mode, models=('X',)), mode)

    def test_a_flag_works_in_every_mode_but_none(self):
        for driver in (IntelDriver(), AMDDriver()):
            for mode in ('host-passthrough', 'host-model', None, 'custom'):
                for flag in (driver.flag, f'+{driver.flag}', driver.flag.upper()):
                    self.assertTrue(self.exposed(driver, mode, (flag,)), (mode, flag))
                self.assertFalse(self.exposed(driver, mode, (f'-{driver.flag}',)), mode)
                both = (driver.flag, f'-{driver.flag}')
                self.assertIsNone(self.exposed(driver, mode, both), mode)
            self.assertFalse(self.exposed(driver, 'none', (driver.flag,)))

    def test_the_other_vendor_s_flag_is_nothing(self):
        self.assertFalse(self.exposed(AMDDriver(), 'host-model', ('vmx',)))

    def test_only_kvm_exposes(self):
        for virt_type in ('qemu', 'lxc', 'parallels'):
            self.assertFalse(self.exposed(IntelDriver(), 'host-passthrough', virt_type=virt_type))


class Third(Driver):
    name = 'third'
    fits = mock.Mock(return_value=20)
    load_value = kernel_default = missing_below = degraded = named_model_exposes = mock.Mock()


class LoaderTest(base.BaseTestCase):
    def test_the_built_in_drivers_are_installed(self):
        loaded = loader.load()
        self.assertLessEqual({'amd', 'intel'}, {driver.name for driver in loaded.drivers})
        self.assertEqual((), loaded.problems)

    def test_each_vendor_has_its_driver(self):
        self.assertEqual('amd', loader.choose(loader.load(), EPYC)[0].name)
        self.assertEqual('intel', loader.choose(loader.load(), XEON)[0].name)
        self.assertIsNone(loader.choose(loader.load(), CPU('Nobody', '', ()))[0])

    def test_the_better_fit_wins(self):
        drivers = loader.Loaded((AMDDriver(), Third()), ())
        self.assertEqual('third', loader.choose(drivers, EPYC)[0].name)

    def test_a_tie_is_told(self):
        tie = Third()
        tie.fits = mock.Mock(return_value=10)
        chosen, problems = loader.choose(loader.Loaded((AMDDriver(), tie), ()), EPYC)
        self.assertEqual('amd', chosen.name)
        self.assertIn('amd, third', problems[0])

    def test_a_driver_that_fails_while_probing_is_reported(self):
        bad = Third()
        bad.fits = mock.Mock(side_effect=RuntimeError('broken probe'))
        chosen, problems = loader.choose(loader.Loaded((bad, AMDDriver()), ()), EPYC)
        self.assertEqual('amd', chosen.name)
        self.assertIn('broken probe', problems[0])

    def test_a_driver_that_answers_nonsense_is_reported(self):
        for answer in (None, 'well', object()):
            bad = Third()
            bad.fits = mock.Mock(return_value=answer)
            chosen, problems = loader.choose(loader.Loaded((bad, AMDDriver()), ()), EPYC)
            self.assertEqual('amd', chosen.name)
            self.assertIn('driver third failed: TypeError', problems[0])

    def test_a_driver_with_wrong_attributes_is_reported(self):
        changes: tuple[dict[str, object], ...] = (
            {'name': None},
            {'module': ''},
            {'flag': 1},
            {'feature': '0x1'},
            {'feature': CPUIDBit('0x1', 'rcx', 1)},
            {'feature': CPUIDBit('0x1', 'ecx', 32)},
            {'suspects': 'kvm'},
            {'parameters': ('ept',)},
        )
        wrong = {
            f'wrong{number}': type('Wrong', (AMDDriver,), change)
            for number, change in enumerate(changes)
        }
        loaded = self.load_with(intel=IntelDriver, third=Third, **wrong)
        self.assertEqual(['intel'], [driver.name for driver in loaded.drivers])
        self.assertEqual(
            [
                'driver third is not used: module, flag, feature not as described',
                *(
                    f'driver wrong{number} is not used: {next(iter(change))} not as described'
                    for number, change in enumerate(changes)
                ),
            ],
            list(loaded.problems),
        )

    def load_with(self, **plugins):
        """Load what an installation with these entry points would have."""
        found = []
        for name, plugin in plugins.items():
            found.append(extension.Extension(name, mock.Mock(), plugin, None))
        manager = extension.ExtensionManager.make_test_instance(found)
        self.enterContext(mock.patch.object(extension, 'ExtensionManager', return_value=manager))
        loader.load.cache_clear()
        self.addCleanup(loader.load.cache_clear)
        return loader.load()

    def test_a_driver_that_cannot_be_made_is_reported(self):
        def broken():
            raise ImportError('no module named x')

        loaded = self.load_with(good=AMDDriver, broken=broken)
        self.assertEqual(['amd'], [driver.name for driver in loaded.drivers])
        self.assertIn('no module named x', loaded.problems[0])

    def test_what_is_no_driver_is_reported(self):
        loaded = self.load_with(odd=dict)
        self.assertEqual((), loaded.drivers)
        self.assertIn('driver odd is no', loaded.problems[0])
