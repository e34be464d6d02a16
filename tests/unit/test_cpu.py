"""The processor of captured /proc/cpuinfo files."""

import os
from pathlib import Path

from oslotest import base

from nested_agent.facts import Unread
from nested_agent.node import cpu
from nested_agent.node.root import Root
from tests.unit.fakes import FakeRoot, make_tree

EPYC = """\
processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 23
model		: 1
model name	: AMD EPYC Processor
flags		: fpu vme svm hypervisor npt
bugs		: sysret_ss_attrs

processor	: 1
vendor_id	: GenuineIntel
flags		: vmx
"""


class CPUTest(base.BaseTestCase):
    def read(self, text):
        directory = make_tree({} if text is None else {'/proc/cpuinfo': text})
        self.addCleanup(directory.cleanup)
        return cpu.read(FakeRoot(Path(directory.name)))

    def test_the_first_processor_counts(self):
        found = self.read(EPYC)
        self.assertEqual('AuthenticAMD', found.vendor)
        self.assertEqual('AMD EPYC Processor', found.model)
        self.assertEqual(('fpu', 'vme', 'svm', 'hypervisor', 'npt'), found.flags)
        self.assertTrue(found.hypervisor)

    def test_vmx_flags_line_is_not_the_flags_line(self):
        found = self.read('vendor_id\t: GenuineIntel\nvmx flags\t: vnmi\nflags\t\t: fpu vmx\n\n')
        self.assertEqual(('fpu', 'vmx'), found.flags)
        self.assertFalse(found.hypervisor)

    def test_another_architecture_is_said(self):
        for text in (
            'processor\t: 0\nCPU implementer\t: 0x41\nFeatures\t: fp asimd\n\n',
            'processor\t: 0\ncpu\t\t: POWER9, altivec supported\n\n',
            'processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\n\n',
            'vendor_id       : IBM/S390\n# processors    : 2\nfeatures\t: esan3 zarch sie\n',
            'system type\t: generic-loongson-machine\nCPU Family\t: Loongson-64bit\n\n',
        ):
            found = self.read(text)
            self.assertEqual(Unread, type(found))
            self.assertEqual('OtherArchitecture', found.error, text)

    def test_what_is_cut_short_is_no_other_architecture(self):
        x86 = 'processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nflags\t\t: fpu vm'
        for text in ('', '\n', 'processor\t: 0\n', x86[:40], x86, x86.partition('flags')[0] + '\n'):
            self.assertEqual('Malformed', self.read(text).error, text)

    def test_a_pipe_is_not_waited_for(self):
        directory = make_tree({'/proc/x': ''})
        self.addCleanup(directory.cleanup)
        os.mkfifo(f'{directory.name}/proc/cpuinfo')
        self.assertEqual('EINVAL', cpu.read(Root(directory.name)).error)

    def test_no_file(self):
        self.assertEqual('ENOENT', self.read(None).error)

    def test_garbage(self):
        self.assertEqual('Malformed', self.read(b'\xff\x00\xfe:::\n' * 50).error)

    def test_this_host_has_one(self):
        self.assertNotEqual('', cpu.read(Root()).vendor)
