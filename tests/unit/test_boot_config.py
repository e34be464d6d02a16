"""The entries of boot loaders, and their arguments for a module."""

import errno
import os
from pathlib import Path

from oslotest import base

from nested_agent.node import boot_config
from tests.unit.fakes import FakeRoot, make_tree


class BootConfigTest(base.BaseTestCase):
    def root(self, files):
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        return FakeRoot(Path(directory.name))

    def read(self, files):
        found = boot_config.read(self.root(files), 'kvm_intel')
        if not isinstance(found, tuple):
            return found
        return [(str(entry.where), *entry.options) for entry in found]

    def test_no_boot_loader(self):
        self.assertIsNone(self.read({'/etc/x': ''}))

    def test_what_only_generates_entries_is_none(self):
        files = {'/etc/kernel/cmdline': 'kvm_intel.nested=1', '/etc/default/grub': ''}
        self.assertIsNone(self.read(files))

    def test_grub(self):
        text = (
            '# linux /x kvm_intel.nested=0\n'
            '\tlinux /vmlinuz root=UUID=1 ro "kvm_intel.nested=1" kvm-intel.ept=0\n'
            '  linux16 /vmlinuz single xkvm_intel.nested=0 kvm_intel_nested=0\n'
            "linuxefi ($root)/vmlinuz 'kvm_intel.nested=0' -- kvm_intel.nested=1\n"
            'linux /vmlinuz \\\n kvm_intel.nested=1\n'
            'linux /boot/memtest86+x64.efi\nlinux16 /memtest86+.bin\ninitrd /initrd.img\n'
        )
        self.assertEqual(
            [
                ('/boot/grub/grub.cfg:2', 'nested=1', 'ept=0'),
                ('/boot/grub/grub.cfg:3',),
                ('/boot/grub/grub.cfg:4', 'nested=0'),
                ('/boot/grub/grub.cfg:5', 'nested=1'),
            ],
            self.read({'/boot/grub/grub.cfg': text}),
        )

    def test_entries_of_the_boot_loader_specification(self):
        files = {
            '/boot/loader/entries/a.conf': (
                'title A\nlinux /vmlinuz\noptions root=x\noptions kvm-intel.nested=1\n'
            ),
            '/boot/loader/entries/b.conf': 'linux\t/vmlinuz\noptions root=x\n',
            '/efi/loader/entries/c.conf': 'title C\nlinux /vmlinuz\n',
            '/boot/loader/entries/memtest.conf': 'linux /memtest86.efi\n',
            '/boot/loader/entries/other.conf': 'efi /shell.efi\n',
            '/boot/loader/entries/readme': 'linux /x\noptions kvm-intel.nested=0\n',
        }
        self.assertEqual(
            [
                ('/boot/loader/entries/a.conf:3', 'nested=1'),
                ('/boot/loader/entries/b.conf:2',),
                ('/efi/loader/entries/c.conf:1',),
            ],
            self.read(files),
        )

    def test_variables_of_grub(self):
        block = '# GRUB Environment Block\nkernelopts=root=x kvm_intel.nested=0 quiet\n####\n'
        files = {
            '/boot/grub2/grub.cfg': 'set tuned_params=""\nset kernelopts="kvm_intel.nested=1"\n',
            '/boot/grub2/grubenv': block,
            '/boot/loader/entries/a.conf': 'linux /v\noptions $kernelopts ${tuned_params}\n',
        }
        self.assertEqual([('/boot/loader/entries/a.conf:2', 'nested=0')], self.read(files))
        files['/boot/grub2/grubenv'] = '# GRUB Environment Block\n'
        self.assertEqual([('/boot/loader/entries/a.conf:2', 'nested=1')], self.read(files))
        files['/boot/grub2/grub.cfg'] = ''
        found = self.read(files)
        self.assertEqual(
            ('/boot/loader/entries/a.conf:2', 'Unresolved'), (found.source, found.error)
        )
        self.assertIn('$kernelopts', found.detail)

    def test_an_entry_without_options_has_grub_s_default(self):
        block = '# GRUB Environment Block\ndefault_kernelopts=kvm_intel.nested=0\n'
        files = {'/boot/grub2/grubenv': block, '/boot/loader/entries/a.conf': 'linux /v\n'}
        self.assertEqual([('/boot/loader/entries/a.conf:1', 'nested=0')], self.read(files))

    def test_syslinux(self):
        text = (
            'DEFAULT a\nAPPEND kvm_intel.nested=0\n'
            'LABEL menu\n KERNEL menu.c32\n'
            'LABEL a\n LINUX /vmlinuz\n APPEND ro kvm_intel.nested=1\n'
            'label b\n append ro\n kernel /vmlinuz\n'
            'label c\n linux /vmlinuz\n'
        )
        self.assertEqual(
            [
                ('/boot/extlinux/extlinux.conf:7', 'nested=1'),
                ('/boot/extlinux/extlinux.conf:9',),
                ('/boot/extlinux/extlinux.conf:12', 'nested=0'),
            ],
            self.read({'/boot/extlinux/extlinux.conf': text}),
        )

    def test_files_without_an_entry_prove_nothing(self):
        found = self.read({'/boot/grub/grub.cfg': 'configfile (hd1)/grub.cfg\n'})
        self.assertEqual(('/boot/grub/grub.cfg', 'Malformed'), (found.source, found.error))

    def test_one_unreadable_file_makes_all_unknown(self):
        good = {'/boot/grub/grub.cfg': 'linux /v kvm_intel.nested=1'}
        for name in ('/boot/grub2/grub.cfg', '/boot/grub2/grubenv', '/boot/loader/entries/a.conf'):
            found = self.read({**good, f'{name}/x': ''})
            self.assertEqual((name, 'EISDIR'), (found.source, found.error))

    def test_permission_denied_is_not_absence(self):
        root = self.root({'/boot/grub/grub.cfg': 'linux /v\n', '/boot/loader/entries/a.conf': ''})
        plain_open, plain_names = root.open, root.names

        def denied(name, *rest):
            if name == refused:
                raise PermissionError(errno.EACCES, 'Permission denied', name)
            return (plain_names if 'entries' in name else plain_open)(name, *rest)

        root.open = root.names = denied
        for refused in ('/boot/grub2/grub.cfg', '/boot/grub2/grubenv', '/boot/loader/entries'):
            found = boot_config.read(root, 'kvm_intel')
            self.assertEqual((refused, 'EACCES'), (found.source, found.error))

    def test_a_name_that_is_no_text_can_be_printed(self):
        root = self.root({'/boot/loader/entries/a.conf': ''})
        entry = root.path('/boot/loader/entries/a.conf')
        entry.write_text('linux /v\n')
        entry.rename(entry.with_name(os.fsdecode(b'\xff.conf')))
        found = boot_config.read(root, 'kvm_intel')
        self.assertEqual('/boot/loader/entries/\ufffd.conf:1', str(found[0].where))
