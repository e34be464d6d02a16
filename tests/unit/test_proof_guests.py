"""The guests of a proof: their machine code, their memory, what their end means."""

import re
import struct
import subprocess
import tempfile
from pathlib import Path

from oslotest import base

from nested_agent.proof import long_mode, svm, vmx
from nested_agent.proof.assembly import Line, Program
from nested_agent.proof.finding import Outcome
from nested_agent.proof.guest import Halted, Trouble

ORACLE = Path(__file__).parents[1] / 'node' / 'oracle' / 'kvmprobe.c'


def disassembled(program, machine):
    """Return address and text of every instruction, as binutils sees them."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(program.code)
        command = ['objdump', '-D', '-b', 'binary', '-m', machine, '-M', 'intel']
        done = subprocess.run(
            [*command, f'--adjust-vma={program.address:#x}', file.name],
            capture_output=True,
            text=True,
            check=True,
        )
    lines = re.findall(r'^ *([0-9a-f]+):\t[0-9a-f ]+\t(.+)$', done.stdout, re.MULTILINE)
    return [(int(address, 16), ' '.join(text.split())) for address, text in lines]


def oracle_constants():
    """Return the constants that the oracle's author read from the same manuals."""
    text = ORACLE.read_text()
    return {
        name: int(value, 16) for name, value in re.findall(r'^ +([A-Z]\w+) = (0x\w+),', text, re.M)
    }


def u64(memory, address):
    return struct.unpack_from('<Q', memory, address)[0]


class CodeTest(base.BaseTestCase):
    def test_the_bytes_are_what_the_listing_says(self):
        for program, machine in (
            (svm.L1, 'i386:x86-64'),
            (svm.L2, 'i8086'),
            (vmx.L1, 'i386:x86-64'),
            (vmx.L2, 'i386:x86-64'),
        ):
            listed = [(address, ' '.join(text.split())) for address, text in program.listing()]
            self.assertEqual(disassembled(program, machine), listed)

    def test_a_jump_too_far_is_no_program(self):
        far = Line('nop', b'\x90' * 200)
        jump = Line('jmp', b'\xeb', to='end')
        self.assertRaises(OverflowError, Program, 0, (jump, far, Line('hlt', b'\xf4', label='end')))

    def test_what_begins_nowhere_has_no_text(self):
        self.assertIsNone(svm.L1.text(svm.L1.address + 1))


class MemoryTest(base.BaseTestCase):
    def test_nothing_is_written_twice(self):
        """Each part is where it should be: none has overwritten another."""
        for guest, own in ((svm, {svm.VMCB: svm.vmcb()}), (vmx, {})):
            memory = guest.image()
            self.assertEqual(long_mode.SIZE, len(memory))
            parts = {guest.L1.address: guest.L1.code, guest.L2.address: guest.L2.code, **own}
            for address, data in parts.items():
                self.assertEqual(data, memory[address : address + len(data)])
                self.assertEqual(0, address % 0x1000)
                self.assertLessEqual(len(data), 0x1000)

    def test_page_tables_map_the_memory_to_itself(self):
        memory = svm.image()
        table = long_mode.CR3
        for _ in range(2):
            entry = u64(memory, table)
            self.assertEqual(0x7, entry & 0xFFF)
            table = entry & ~0xFFF
        self.assertEqual(0x87, u64(memory, table))

    def test_every_exception_has_its_handler(self):
        memory = svm.image()
        for vector in range(32):
            low, selector, ist, kind, middle, high, zero = struct.unpack_from(
                '<HHBBHII', memory, long_mode.IDT + 16 * vector
            )
            handler = low | middle << 16 | high << 32
            self.assertEqual(long_mode.HLT, memory[handler : handler + 1])
            self.assertEqual((long_mode.CODE, 0, 0x8E, 0), (selector, ist, kind, zero))
            self.assertEqual(vector, long_mode.exception(handler + 1))
        self.assertIsNone(long_mode.exception(long_mode.HANDLERS))
        self.assertIsNone(long_mode.exception(long_mode.HANDLERS + 33))

    def test_the_stack_has_room(self):
        memory = svm.image()
        self.assertEqual(
            bytes(0x1000 - 32), memory[long_mode.STACK - 0x1000 : long_mode.STACK - 32]
        )


class VMCBTest(base.BaseTestCase):
    def test_offsets_are_the_oracle_s(self):
        oracle = oracle_constants()
        save = oracle['VMCB_SAVE']
        for ours, theirs in (
            (svm.INTERCEPTS_3, oracle['VMCB_INTERCEPT_3']),
            (svm.INTERCEPTS_4, oracle['VMCB_INTERCEPT_4']),
            (svm.GUEST_ASID, oracle['VMCB_ASID']),
            (svm.ES, save + oracle['SAVE_ES']),
            (svm.CS, save + oracle['SAVE_CS']),
            (svm.SS, save + oracle['SAVE_SS']),
            (svm.DS, save + oracle['SAVE_DS']),
            (svm.GDTR, save + oracle['SAVE_GDTR']),
            (svm.IDTR, save + oracle['SAVE_IDTR']),
            (svm.SAVE_EFER, save + oracle['SAVE_EFER']),
            (svm.SAVE_CR0, save + oracle['SAVE_CR0']),
            (svm.SAVE_DR6, save + oracle['SAVE_DR6']),
            (svm.SAVE_DR7, save + oracle['SAVE_DR7']),
            (svm.SAVE_RFLAGS, save + oracle['SAVE_RFLAGS']),
            (svm.SAVE_RIP, save + oracle['SAVE_RIP']),
            (svm.SAVE_RSP, save + oracle['SAVE_RSP']),
            (svm.SAVE_G_PAT, save + oracle['SAVE_G_PAT']),
        ):
            self.assertEqual(theirs, ours)

    def test_what_vmrun_insists_on(self):
        block = svm.vmcb()
        self.assertEqual(0x1000, len(block))
        self.assertTrue(block[svm.INTERCEPTS_4] & 1)
        self.assertNotEqual(0, struct.unpack_from('<I', block, svm.GUEST_ASID)[0])
        self.assertEqual(svm.EFER_SVME, u64(block, svm.SAVE_EFER))

    def test_l2_is_in_real_mode(self):
        block = svm.vmcb()
        self.assertEqual(0, u64(block, svm.SAVE_CR0) & 0x80000001)
        self.assertEqual(svm.L2.address, u64(block, svm.SAVE_RIP))


class VMCSTest(base.BaseTestCase):
    def test_fields_are_the_oracle_s(self):
        """But for the upper halves, which 64-bit mode writes together with the lower."""
        oracle = oracle_constants()
        segments = ('GUEST_SELECTOR', 'GUEST_LIMIT', 'GUEST_ACCESS_RIGHTS', 'GUEST_BASE')
        names = oracle.keys() & set(re.findall(r'vmwrite\((\w+)', ORACLE.read_text()))
        theirs = {
            oracle[name] for name in names if not name.endswith('_HIGH') and name not in segments
        }
        theirs |= {oracle[name] + 2 * number for name in segments for number in range(8)}
        self.assertEqual(86, len(theirs))
        self.assertEqual(theirs, {field for field, _, _ in vmx.fields()})

    def test_no_field_is_written_twice(self):
        fields = [field for field, _, _ in vmx.fields()]
        self.assertEqual(len(fields), len(set(fields)))
        # It would end the table.
        self.assertNotIn(0, fields)

    def test_widths(self):
        """Bits 14:13 of an encoding are the field's width [SDM 3, 24.11.2]."""
        most = {0: 16, 1: 64, 2: 32, 3: 64}
        for field, _, value in vmx.fields():
            self.assertLess(value, 1 << most[field >> 13 & 3], hex(field))
            self.assertEqual(0, field & 1)

    def test_the_table_ends_before_the_pointers(self):
        memory = vmx.image()
        address = vmx.TABLE
        while vmx.ENTRY.unpack_from(memory, address)[0]:
            address += vmx.ENTRY.size
        self.assertEqual(len(vmx.fields()), (address - vmx.TABLE) // vmx.ENTRY.size)
        self.assertLess(address + vmx.ENTRY.size, vmx.VMXON_POINTER)
        self.assertEqual(vmx.VMXON_REGION, u64(memory, vmx.VMXON_POINTER))
        self.assertEqual(vmx.VMCS, u64(memory, vmx.VMCS_POINTER))

    def test_l1_and_l2_in_64_bit_mode(self):
        values = {field: value for field, _, value in vmx.fields()}
        self.assertEqual(vmx.EXIT_HOST_64_BIT, values[0x400C])
        self.assertEqual(vmx.ENTRY_GUEST_64_BIT, values[0x4012])
        for field in (0x6C04, 0x6804):
            self.assertEqual(long_mode.CR4 | vmx.CR4_VMXE, values[field])


class FindingTest(base.BaseTestCase):
    def halted(self, rip, memory=b'', **registers):
        parts = {'rsp': long_mode.STACK, 'rbx': 0, 'rcx': 0, 'rsi': 0, 'rdi': 0, **registers}
        return Halted(rip=rip, memory=bytes(memory) or bytes(long_mode.SIZE), **parts)

    def exception(self, guest, vector, at, error=True):
        """Return L1 halted in a handler, with the frame the processor pushed."""
        memory = bytearray(guest.image())
        rsp = long_mode.STACK - (48 if error else 40)
        struct.pack_into('<Q', memory, rsp + (8 if error else 0), at)
        return self.halted(long_mode.HANDLERS + vector + 1, memory, rsp=rsp)

    def check(self, guest, end, outcome, *says):
        found = guest.GUEST.finding(end)
        self.assertEqual(outcome, found.outcome, found)
        for text in says:
            self.assertIn(text, found.message)
        return found

    def test_an_exception_where_it_is_switched_on_is_a_refusal(self):
        for guest, name in ((svm, 'EFER.SVME'), (vmx, 'CR4.VMXE')):
            end = self.exception(guest, 13, guest.L1['enable'])
            found = self.check(guest, end, Outcome.REFUSED, '#GP (vector 13)', name)
            self.assertEqual(13, found.exception)

    def test_an_exception_elsewhere_is_not(self):
        at = next(address for address, text in svm.L1.listing() if text == 'vmrun')
        end = self.exception(svm, 6, at, error=False)
        found = self.check(svm, end, Outcome.FAILED, '#UD (vector 6)', '"vmrun"')
        self.assertEqual(6, found.exception)
        end = self.exception(svm, 14, 0x123456)
        self.check(svm, end, Outcome.FAILED, '#PF (vector 14)', '0x123456')
        end = self.exception(svm, 31, 0x123456, error=False)
        self.check(svm, end, Outcome.FAILED, 'exception (vector 31)')

    def test_a_death_is_a_failure(self):
        self.check(svm, Trouble('L1 took a triple fault'), Outcome.FAILED, 'triple fault')

    def svm_end(self, code=svm.VMEXIT_VMMCALL, rip=svm.L2['call'], at='end', **registers):
        memory = bytearray(svm.image())
        struct.pack_into('<Q', memory, svm.VMCB + svm.EXITCODE, code)
        struct.pack_into('<Q', memory, svm.VMCB + svm.SAVE_RIP, rip)
        parts = {'rbx': long_mode.CR4, 'rdi': long_mode.GREETING, **registers}
        return self.halted(svm.L1.after(at), memory, **parts)

    def test_svm(self):
        self.check(svm, self.svm_end(), Outcome.PROVED, 'VMRUN', 'VMMCALL')
        for end, text in (
            (self.svm_end(at='enable'), 'L1 halted'),
            (self.svm_end(code=svm.VMEXIT_INVALID), 'VMEXIT_INVALID'),
            (self.svm_end(code=0x78), 'exit code 0x78'),
            (self.svm_end(rip=0), 'L2 came to 0x0'),
            (self.svm_end(rdi=0), 'left 0x0'),
            (self.svm_end(rbx=0x20), 'CR4 0x20 instead of 0x220'),
        ):
            self.check(svm, end, Outcome.FAILED, text)

    def vmx_end(self, at='end', **registers):
        parts = {
            'rbx': vmx.EXIT_REASON_VMCALL,
            'rcx': vmx.L2['call'],
            'rdi': long_mode.GREETING,
            **registers,
        }
        return self.halted(vmx.L1.after(at), vmx.image(), **parts)

    def test_vmx(self):
        self.check(vmx, self.vmx_end(), Outcome.PROVED, 'VMLAUNCH', 'VMCALL')
        table_end = vmx.TABLE + len(vmx.fields()) * vmx.ENTRY.size
        for end, text in (
            (self.vmx_end(at='enable'), 'L1 halted'),
            (self.vmx_end('given-up', rbx=0), 'VMXON, VMCLEAR or VMPTRLD failed'),
            (self.vmx_end('given-up', rbx=12, rsi=vmx.TABLE), 'VMWRITE of field 0x4000 failed'),
            (
                self.vmx_end('given-up', rbx=7, rsi=table_end),
                'VMLAUNCH failed (VM-instruction error 7',
            ),
            (self.vmx_end(rbx=0x80000021), 'exit reason 0x80000021'),
            (self.vmx_end(rbx=12), 'exit reason 0xc'),
            (self.vmx_end(rcx=0), 'L2 came to 0x0'),
            (self.vmx_end(rdi=0), 'left 0x0'),
        ):
            self.check(vmx, end, Outcome.FAILED, text)
