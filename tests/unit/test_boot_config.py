"""Kernel arguments in the configuration of boot loaders."""

from pathlib import Path

from oslotest import base

from nested_agent.node import boot_config
from tests.unit.fakes import FakeRoot, make_tree


class BootConfigTest(base.BaseTestCase):
    def read(self, files):
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        found = boot_config.read(FakeRoot(Path(directory.name)), 'kvm_intel')
        if not isinstance(found, tuple):
            return found
        return [(str(line.where), line.text) for line in found]

    def test_no_boot_loader(self):
        self.assertIsNone(self.read({'/etc/x': ''}))

    def test_grub(self):
        text = (
            '# linux /x kvm_intel.nested=0\n'
            'linux /vmlinuz root=UUID=1 ro "kvm_intel.nested=1" kvm-intel.ept=0\n'
            'linux /vmlinuz single xkvm_intel.nested=0 kvm_intel_nested=0\n'
        )
        self.assertEqual(
            [('/boot/grub/grub.cfg:2', 'nested=1'), ('/boot/grub/grub.cfg:2', 'ept=0')],
            self.read({'/boot/grub/grub.cfg': text}),
        )

    def test_entries_of_the_boot_loader_specification(self):
        files = {
            '/boot/loader/entries/a.conf': 'title A\noptions root=x kvm-intel.nested=1\n',
            '/boot/loader/entries/readme': 'kvm-intel.nested=0\n',
            '/boot/grub2/grubenv': 'kernelopts=kvm_intel.nested=0 quiet\n',
        }
        self.assertEqual(
            [('/boot/grub2/grubenv:1', 'nested=0'), ('/boot/loader/entries/a.conf:2', 'nested=1')],
            self.read(files),
        )

    def test_one_unreadable_file_makes_all_unknown(self):
        files = {'/boot/grub/grub.cfg/x': '', '/etc/kernel/cmdline': 'kvm_intel.nested=1'}
        self.assertEqual('EISDIR', self.read(files).error)
