"""The kvm modules in sysfs trees as loaded, built-in and odd kernels show them."""

import errno
from pathlib import Path

from oslotest import base

from nested_agent.drivers.base import parse_nested
from nested_agent.facts import ModuleState, Unread
from nested_agent.node import module
from tests.unit.fakes import FakeRoot, make_tree

LOADED_AMD = {
    '/sys/module/kvm/initstate': 'live\n',
    '/sys/module/kvm/refcnt': '1\n',
    '/sys/module/kvm_amd/initstate': 'live\n',
    '/sys/module/kvm_amd/refcnt': '2\n',
    '/sys/module/kvm_amd/parameters/nested': '1\n',
    '/sys/module/kvm_amd/parameters/npt': 'Y\n',
    '/sys/module/ext4/initstate': 'live\n',
}


class ModuleTest(base.BaseTestCase):
    def root(self, files, live=True):
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        return FakeRoot(Path(directory.name), live=live)

    def read(self, files, live=True):
        return module.read(self.root(files, live), '6.1.0-test')

    def test_loaded(self):
        found = self.read(LOADED_AMD)
        self.assertEqual(['kvm', 'kvm_amd'], sorted(found))
        amd = found['kvm_amd']
        self.assertEqual((ModuleState.LIVE, 2), (amd.state, amd.refcnt))
        self.assertEqual({'nested': '1', 'npt': 'Y'}, amd.parameters)

    def test_built_in_has_no_initstate_and_no_refcnt(self):
        found = self.read({'/sys/module/kvm_intel/parameters/nested': 'Y\n'})['kvm_intel']
        self.assertEqual((ModuleState.BUILTIN, None), (found.state, found.refcnt))

    def test_in_a_captured_tree_a_missing_initstate_proves_nothing(self):
        parameters = {'/sys/module/kvm_intel/parameters/nested': 'Y\n'}
        builtin = '/lib/modules/6.1.0-test/modules.builtin'
        for files, state in (
            ({}, 'NotAvailable'),
            ({builtin: 'kernel/fs/ext4.ko\n'}, 'NotAvailable'),
            ({builtin: 'kernel/arch/x86/kvm/kvm-intel.ko\n'}, ModuleState.BUILTIN),
        ):
            found = self.read({**parameters, **files}, live=False)['kvm_intel'].state
            self.assertEqual(state, getattr(found, 'error', found))
        counted = {**parameters, '/sys/module/kvm_intel/refcnt': '0\n'}
        for live in (True, False):
            self.assertEqual('NotAvailable', self.read(counted, live)['kvm_intel'].state.error)

    def test_a_load_is_told_by_its_directory(self):
        root = self.root(LOADED_AMD)
        path = root.path('/sys/module/kvm_amd')

        def load(release='6.1.0-test'):
            return module.read(root, release)['kvm_amd'].load

        before = load()
        self.assertEqual(str(path.stat().st_ino), before)
        (path / 'refcnt').write_text('3\n')
        path.chmod(0o700)
        self.assertEqual(before, load())
        path.rename(path.with_name('old'))
        path.mkdir()
        self.assertNotEqual(before, load())
        for release in ('4.13.16', '3.10.0-1160.el7.x86_64', 'strange', Unread('x', 'EIO', 'x')):
            self.assertEqual('NotAvailable', load(release).error)

    def test_a_captured_tree_knows_of_no_load(self):
        self.assertEqual('NotAvailable', self.read(LOADED_AMD, live=False)['kvm_amd'].load.error)

    def test_an_unreadable_parameter_is_kept(self):
        found = self.read({'/sys/module/kvm_amd/parameters/nested/x': ''})['kvm_amd']
        self.assertEqual('EISDIR', found.parameters['nested'].error)

    def test_unreadable_parameters_are_not_none(self):
        root = self.root(LOADED_AMD)
        plain = root.names

        def denied(name):
            if name.endswith('/parameters'):
                raise PermissionError(errno.EACCES, 'Permission denied')
            return plain(name)

        root.names = denied
        found = module.read(root, '6.1.0-test')['kvm_amd']
        self.assertEqual('EACCES', found.parameters['nested'].error)

    def test_other_hypervisors(self):
        files = {'/sys/module/vboxdrv/initstate': 'live\n', '/sys/module/vmmon/x': ''}
        self.assertEqual(('vboxdrv', 'vmmon'), module.hypervisors(self.root(files)))
        self.assertEqual((), module.hypervisors(self.root(LOADED_AMD)))
        self.assertIsInstance(module.hypervisors(self.root({'/etc/x': ''})), Unread)

    def test_another_vendor_module_is_listed(self):
        self.assertEqual(['kvm_pvm'], list(self.read({'/sys/module/kvm_pvm/parameters/x': '1'})))

    def test_no_kvm_at_all(self):
        self.assertEqual({}, self.read({'/sys/module/ext4/initstate': 'live'}))

    def test_no_sysfs_is_not_no_module(self):
        self.assertIsInstance(self.read({'/etc/x': ''}), Unread)

    def test_odd_states(self):
        found = self.read(
            {
                '/sys/module/kvm_amd/initstate': 'going\n',
                '/sys/module/kvm_amd/refcnt': '-1\n',
                '/sys/module/kvm_intel/initstate': 'strange\n',
                '/sys/module/kvm_intel/refcnt': 'many\n',
            }
        )
        self.assertEqual((ModuleState.GOING, -1), (found['kvm_amd'].state, found['kvm_amd'].refcnt))
        self.assertEqual('Malformed', found['kvm_intel'].state.error)
        self.assertEqual('Malformed', found['kvm_intel'].refcnt.error)

    def test_every_literal_of_nested(self):
        literals = {'Y': True, 'N': False, '1': True, '0': False, '2': True, '-1': True}
        for text, on in literals.items():
            self.assertIs(on, parse_nested(text), text)
        for text in ('', 'yes', '1 0', '?'):
            self.assertIsNone(parse_nested(text), text)
