"""Which lines of a kernel log blame firmware, and which only look like it."""

import os
import struct
from pathlib import Path

from oslotest import base

from nested_agent.facts import Unread
from nested_agent.node import firmware
from nested_agent.node.root import Completed, Root
from tests.unit.fakes import FakeRoot, make_tree

BLAME = (
    '[    0.016] x86/cpu: VMX (outside TXT) disabled by BIOS',
    '[   12.5] kvm: disabled by bios',
    "[   12.5] kvm: support for 'kvm_amd' disabled by bios",
    '[    4.1] kvm_amd: SVM disabled (by BIOS) in MSR_VM_CR on CPU 3',
    '[    0.1] SVM disabled (by BIOS) in MSR_VM_CR',
    '[    4.1] kvm_intel: VMX not enabled (by BIOS) in MSR_IA32_FEAT_CTL on CPU 0',
)
INNOCENT = (
    '[    0.016] x86/cpu: SGX disabled by BIOS.',
    '[    1.0] kvm_amd: Nested Virtualization enabled',
    '[    1.0] kvm: Nested Paging enabled',
    '[    1.0] ACPI: disabled by bios',
)


class FirmwareTest(base.BaseTestCase):
    def test_every_wording_of_the_kernel(self):
        for line in BLAME:
            self.assertEqual((line,), firmware.by_bios(line), line)
        for line in INNOCENT:
            self.assertEqual((), firmware.by_bios(line), line)

    def test_repeated_lines_count_once(self):
        self.assertEqual(1, len(firmware.by_bios(f'{BLAME[1]}\n{BLAME[1]}\n')))

    def test_a_captured_log(self):
        directory = make_tree({'/var/log/dmesg': '\n'.join((*INNOCENT, BLAME[0]))})
        self.addCleanup(directory.cleanup)
        found = firmware.read(Root(directory.name))
        self.assertEqual((BLAME[0],), found.kernel_log)
        self.assertEqual('NotAvailable', found.raw_cpuid.error)

    def test_a_log_of_several_boots_counts_from_the_last(self):
        boot = 'node1 kernel: [    0.000000] Linux version 6.1.0-18-amd64 (debian@x) #1 SMP'
        before = '\n'.join((boot, BLAME[0], boot, INNOCENT[1]))
        self.assertEqual((), firmware.by_bios(before))
        self.assertEqual((BLAME[2],), firmware.by_bios(f'{before}\n{BLAME[2]}'))

    def test_no_captured_log(self):
        directory = make_tree({'/etc/x': ''})
        self.addCleanup(directory.cleanup)
        self.assertEqual('ENOENT', firmware.read(Root(directory.name)).kernel_log.error)

    def with_journal(self, answer):
        directory = make_tree({'/usr/bin/journalctl': ''})
        self.addCleanup(directory.cleanup)
        command = '/usr/bin/journalctl --dmesg --boot --no-pager --quiet --output=cat'
        return firmware.read(FakeRoot(Path(directory.name), commands={command: answer})).kernel_log

    def test_the_journal_has_what_the_log_itself_refuses(self):
        boot = 'Linux version 6.1.0-18-amd64 (debian@x) #1 SMP'
        answer = Completed(0, f'{boot}\nkvm: disabled by bios\n', '')
        self.assertEqual(('kvm: disabled by bios',), self.with_journal(answer))
        self.assertEqual((), self.with_journal(Completed(0, f'{boot}\n', '')))

    def test_a_journal_without_the_begin_says_nothing(self):
        for answer in (
            Completed(0, '', 'Hint: You are currently not seeing messages from other users'),
            Completed(1, '', 'No journal files were opened due to insufficient permissions.'),
            Completed(0, 'kvm: Nested Paging enabled\n', ''),
            Unread('journalctl', 'Timeout', 'no answer'),
        ):
            self.assertEqual('/dev/kmsg', self.with_journal(answer).source)

    def test_the_processor_is_asked_at_the_leaf_s_position(self):
        directory = make_tree({'/dev/cpu/0/cpuid': ''})
        self.addCleanup(directory.cleanup)
        device = Path(directory.name, 'dev/cpu/0/cpuid')
        with device.open('wb') as file:
            for leaf, ecx in ((0x1, 0x20), (0x80000001, 0x4)):
                os.pwrite(file.fileno(), struct.pack('=4I', 1, 2, ecx, 4), leaf)
        found = firmware.read(FakeRoot(Path(directory.name))).raw_cpuid
        self.assertEqual((0x20, 0x4), (found['0x1'].ecx, found['0x80000001'].ecx))

    def test_a_short_answer_is_malformed(self):
        directory = make_tree({'/dev/cpu/0/cpuid': b'123'})
        self.addCleanup(directory.cleanup)
        found = firmware.read(FakeRoot(Path(directory.name))).raw_cpuid
        self.assertEqual('Malformed', found.error)
