"""What /dev/kvm answers, byte for byte as a real kernel does."""

import errno
import os
import struct
from pathlib import Path

from oslotest import base

from nested_agent.facts import CPUIDLeaf, Unread
from nested_agent.node import kvm
from nested_agent.node.root import Root
from tests.unit.fakes import FakeRoot, make_tree

# As an EPYC with nested=1 answers: the leaves that matter, and leaf 4 with two indexes, which is
# passed over.
EPYC_NESTED = (
    (0x0, 0, 0, 0xD, 0x68747541, 0x444D4163, 0x69746E65),
    (0x1, 0, 0, 0x800F12, 0x800, 0x9ED8220B, 0x178BFBFF),
    (0x4, 0, 1, 0x121, 0x1C0003F, 0x3F, 0x1),
    (0x4, 1, 1, 0x122, 0x1C0003F, 0x3F, 0x1),
    (0x80000001, 0, 0, 0x800F12, 0, 0x3F7, 0x2FD3FBFF),
    (0x8000000A, 0, 0, 1, 8, 0, 0x9),
)


class FakeKVM:
    """Answers as arch/x86/kvm/x86.c does: E2BIG while there are more entries than asked for."""

    def __init__(self, entries=EPYC_NESTED, *, version=12, fail=None, at_least=0):
        self.entries = entries
        self.version = version
        self.fail = fail
        self.at_least = at_least
        self.asked = []

    def __call__(self, request, argument):
        if request == 0xAE00:
            return self.version
        if request == 0xAE03:
            assert argument == 157
            return 4224
        assert request == 0xC008AE05
        if self.fail:
            raise OSError(self.fail, os.strerror(self.fail))
        room = struct.unpack_from('=I', argument)[0]
        self.asked.append(room)
        if room < max(len(self.entries), self.at_least):
            raise OSError(errno.E2BIG, 'Argument list too long')
        struct.pack_into('=I', argument, 0, len(self.entries))
        for number, entry in enumerate(self.entries):
            struct.pack_into('=7I', argument, 8 + 40 * number, *entry)
        return 0


class KVMTest(base.BaseTestCase):
    def read(self, answers, files=None):
        directory = make_tree(
            {'/dev/kvm': '', '/sys/module/kvm/refcnt': '1'} if files is None else files
        )
        self.addCleanup(directory.cleanup)
        return kvm.read(FakeRoot(Path(directory.name), ioctls=answers))

    def test_an_answer(self):
        found = self.read(FakeKVM())
        self.assertEqual((12, 4224), (found.api_version, found.nested_state_size))
        self.assertEqual({'0x1', '0x80000001'}, set(found.cpuid))
        expected = CPUIDLeaf(0x800F12, 0, 0x3F7, 0x2FD3FBFF)
        self.assertEqual(expected, found.cpuid['0x80000001'])

    def test_the_buffer_grows_until_it_fits(self):
        answers = FakeKVM(at_least=300)
        self.assertEqual(12, self.read(answers).api_version)
        self.assertEqual([128, 256, 512], answers.asked)

    def test_the_buffer_does_not_grow_for_ever(self):
        self.assertEqual('E2BIG', self.read(FakeKVM(at_least=1 << 30)).error)

    def test_every_refusal_keeps_its_name(self):
        for name in ('ENOMEM', 'EPERM', 'EINVAL', 'EIO'):
            found = self.read(FakeKVM(fail=getattr(errno, name)))
            self.assertEqual((kvm.DEVICE, name), (found.source, found.error))

    def test_an_unknown_api_is_not_trusted(self):
        self.assertEqual('APIVersion', self.read(FakeKVM(version=13)).error)

    def test_a_file_that_is_no_device(self):
        self.assertEqual('ENOTTY', self.read(None).error)

    def test_no_device(self):
        self.assertEqual('ENOENT', self.read(FakeKVM(), {'/sys/module/kvm/refcnt': '1'}).error)

    def test_a_static_node_without_the_module_is_not_opened(self):
        answers = FakeKVM()
        self.assertEqual('ENODEV', self.read(answers, {'/dev/kvm': ''}).error)
        self.assertEqual([], answers.asked)

    def test_permission_denied(self):
        directory = make_tree({'/dev/kvm': '', '/sys/module/kvm/refcnt': '1'})
        self.addCleanup(directory.cleanup)
        root = FakeRoot(Path(directory.name), ioctls=FakeKVM())

        def denied(name, flags=0):
            raise PermissionError(errno.EACCES, 'Permission denied')

        root.open = denied
        self.assertEqual('EACCES', kvm.read(root).error)

    def test_a_captured_tree_is_not_asked(self):
        directory = make_tree({'/dev/kvm': ''})
        self.addCleanup(directory.cleanup)
        found = kvm.read(Root(directory.name))
        self.assertEqual(Unread, type(found))
        self.assertEqual('NotAvailable', found.error)
