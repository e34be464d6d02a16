"""Who keeps KVM busy, in trees of /proc/PID/fd as QEMU and others leave them."""

from pathlib import Path

from oslotest import base

from nested_agent.facts import Holder
from nested_agent.node import holders
from nested_agent.node.root import Root
from tests.unit.fakes import FakeRoot, make_tree

QEMU = {
    '/proc/400/comm': 'qemu-system-x86\n',
    '/proc/400/cmdline': 'qemu-system-x86_64\0-name\0guest=instance-0000002a,debug-threads=on\0',
    '/proc/400/fd/3': '-> /dev/kvm',
    '/proc/400/fd/9': '-> anon_inode:kvm-vm',
    '/proc/400/fd/10': '-> anon_inode:kvm-vcpu:0',
    '/proc/400/fd/11': '-> anon_inode:[eventfd]',
}


class HoldersTest(base.BaseTestCase):
    def root(self, files):
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        return FakeRoot(Path(directory.name))

    def test_a_guest_is_named(self):
        root = self.root({**QEMU, '/proc/1/fd/0': '-> /dev/null', '/proc/1/comm': 'systemd\n'})
        found = holders.read(root)
        self.assertEqual((Holder(400, 'qemu-system-x86', 'instance-0000002a', 3),), found.processes)
        self.assertEqual(0, found.unreadable)

    def test_what_cannot_be_read_is_counted(self):
        root = self.root({**QEMU, '/proc/500/comm': 'other\n', '/proc/500/fd': 'not a directory'})
        found = holders.read(root)
        self.assertEqual(1, found.unreadable)
        self.assertEqual(1, len(found.processes))

    def test_a_process_that_ended_is_passed_over(self):
        found = holders.read(self.root({'/proc/600/comm': 'gone\n'}))
        self.assertEqual(((), 0), (found.processes, found.unreadable))

    def test_a_captured_tree_has_none(self):
        self.assertEqual('NotAvailable', holders.read(Root('/tmp')).error)

    def test_guest_names(self):
        for value, name in (
            ('guest=vm1,debug-threads=on', 'vm1'),
            ('vm1', 'vm1'),
            ('vm1,process=x', 'vm1'),
            ('debug-threads=on,guest=a,,b', 'a,b'),
            ('debug-threads=on', None),
        ):
            self.assertEqual(name, holders.guest_name(['qemu', '-name', value]), value)
        self.assertIsNone(holders.guest_name(['qemu', '-m', '1']))
        self.assertIsNone(holders.guest_name(['qemu', '-name']))
