"""L1 as a hypervisor on Intel: CR4.VMXE, VMXON, VMLAUNCH of an L2 that ends with VMCALL."""

import struct
from collections.abc import Iterator

from nested_agent.proof import long_mode as l1
from nested_agent.proof.assembly import Line, Program, u32
from nested_agent.proof.guest import Guest, Halted, Ran, Trouble

VMXON_REGION = l1.FREE
VMCS = l1.FREE + 0x1000
#: Fields of the VMCS as L1 writes them, 16 bytes each: see :func:`fields`.
TABLE = l1.FREE + 0x2000
ENTRY = struct.Struct('<IIQ')
#: VMXON, VMCLEAR and VMPTRLD take the address of an address.
VMXON_POINTER = TABLE + 0xF00
VMCS_POINTER = TABLE + 0xF08

CR4_VMXE = 1 << 13  # [SDM 3, 2.5]

# [SDM 4, 2.1; SDM 3, 23.7 "Enabling and entering VMX operation"]: bit 0 locks, bit 2 allows VMX
# outside SMX.
MSR_FEATURE_CONTROL = 0x3A

# [SDM 3, appendix A.1-A.5]
MSR_BASIC = 0x480
MSR_PINBASED = 0x481
MSR_PROCBASED = 0x482
MSR_EXIT = 0x483
MSR_ENTRY = 0x484
#: From each of these four to the one that counts where bit 55 of MSR_BASIC is set.
TO_TRUE = 0xC
TRUE_BIT = 55 - 32  # in EDX

# [SDM 3, 24.6.2, 24.7.1, 24.8.1]
PROCBASED_HLT_EXITING = 1 << 7
EXIT_HOST_64_BIT = 1 << 9
ENTRY_GUEST_64_BIT = 1 << 9

# [SDM 3, appendix C]
EXIT_REASON_VMCALL = 18
ENTRY_FAILED = 1 << 31  # [SDM 3, 24.9.1]

# VMCS field encodings [SDM 3, appendix B].
VM_INSTRUCTION_ERROR = 0x4400
EXIT_REASON = 0x4402
GUEST_RIP = 0x681E

# Access rights [SDM 3, 24.4.1]: as in the descriptor; bit 16: unusable.
CODE_64 = 0xA09B
DATA = 0xC093
TASK = 0x008B
UNUSABLE = 1 << 16

#: The segments' order in every group of fields.
ES, CS, SS, DS, FS, GS, LDTR, TR = range(0, 16, 2)

L1 = Program(
    l1.L1_CODE,
    (
        Line('mov    rax,cr4', b'\x0f\x20\xe0'),
        Line(f'or     eax,{CR4_VMXE:#x}', b'\x0d' + u32(CR4_VMXE)),
        # #GP where this processor has no VMX, or KVM does not let L1 see it.
        Line('mov    cr4,rax', b'\x0f\x22\xe0', label='enable'),
        # What firmware does: lock, with VMX allowed.
        Line(f'mov    ecx,{MSR_FEATURE_CONTROL:#x}', b'\xb9' + u32(MSR_FEATURE_CONTROL)),
        Line('rdmsr', b'\x0f\x32'),
        Line('test   al,0x1', b'\xa8\x01'),
        Line('jne', b'\x75', to='locked'),
        Line('or     eax,0x5', b'\x83\xc8\x05'),
        Line('wrmsr', b'\x0f\x30'),
        # Both regions begin with the revision, bits 30:0; bit 31 reads 0 [SDM 3, A.1].
        Line(f'mov    ecx,{MSR_BASIC:#x}', b'\xb9' + u32(MSR_BASIC), label='locked'),
        Line('rdmsr', b'\x0f\x32'),
        Line(f'mov    DWORD PTR ds:{VMXON_REGION:#x},eax', b'\x89\x04\x25' + u32(VMXON_REGION)),
        Line(f'mov    DWORD PTR ds:{VMCS:#x},eax', b'\x89\x04\x25' + u32(VMCS)),
        # EBP: 12 where the TRUE capability registers count, else 0.
        Line(f'shr    edx,{TRUE_BIT:#x}', b'\xc1\xea' + bytes([TRUE_BIT])),
        Line('and    edx,0x1', b'\x83\xe2\x01'),
        Line(f'imul   ebp,edx,{TO_TRUE:#x}', b'\x6b\xea' + bytes([TO_TRUE])),
        # VMX instructions fail with CF or ZF set [SDM 3, 30.2 "Conventions"]. Without VMXON there
        # is no VMREAD to ask why.
        Line(
            f'vmxon  QWORD PTR ds:{VMXON_POINTER:#x}', b'\xf3\x0f\xc7\x34\x25' + u32(VMXON_POINTER)
        ),
        Line('jbe', b'\x76', to='given-up'),
        Line(
            f'vmclear QWORD PTR ds:{VMCS_POINTER:#x}', b'\x66\x0f\xc7\x34\x25' + u32(VMCS_POINTER)
        ),
        Line('jbe', b'\x76', to='failed'),
        Line(f'vmptrld QWORD PTR ds:{VMCS_POINTER:#x}', b'\x0f\xc7\x34\x25' + u32(VMCS_POINTER)),
        Line('jbe', b'\x76', to='failed'),
        Line(f'mov    esi,{TABLE:#x}', b'\xbe' + u32(TABLE)),
        # An entry: field, capability register or 0, value.
        Line('mov    ecx,DWORD PTR [rsi+0x4]', b'\x8b\x4e\x04', label='next'),
        Line('mov    rbx,QWORD PTR [rsi+0x8]', b'\x48\x8b\x5e\x08'),
        Line('jrcxz', b'\xe3', to='write'),
        # A control: with what must be 1 (EAX), without what must be 0 (EDX) [SDM 3, A.2-A.5].
        Line('add    ecx,ebp', b'\x01\xe9'),
        Line('rdmsr', b'\x0f\x32'),
        Line('or     ebx,eax', b'\x09\xc3'),
        Line('and    ebx,edx', b'\x21\xd3'),
        Line('mov    eax,DWORD PTR [rsi]', b'\x8b\x06', label='write'),
        Line('vmwrite rax,rbx', b'\x0f\x79\xc3'),
        Line('jbe', b'\x76', to='failed'),
        Line(f'add    rsi,{ENTRY.size:#x}', b'\x48\x83\xc6' + bytes([ENTRY.size])),
        Line('cmp    DWORD PTR [rsi],0x0', b'\x83\x3e\x00'),
        Line('jne', b'\x75', to='next'),
        Line('vmlaunch', b'\x0f\x01\xc2'),
        Line(
            f'mov    eax,{VM_INSTRUCTION_ERROR:#x}',
            b'\xb8' + u32(VM_INSTRUCTION_ERROR),
            label='failed',
        ),
        Line('vmread rbx,rax', b'\x0f\x78\xc3'),
        Line('hlt', l1.HLT, label='given-up'),
        # Here the processor comes when L2 ends; all registers but RSP are L2's.
        Line(f'mov    eax,{EXIT_REASON:#x}', b'\xb8' + u32(EXIT_REASON), label='exit'),
        Line('vmread rbx,rax', b'\x0f\x78\xc3'),
        Line(f'mov    eax,{GUEST_RIP:#x}', b'\xb8' + u32(GUEST_RIP)),
        Line('vmread rcx,rax', b'\x0f\x78\xc1'),
        Line('hlt', l1.HLT, label='end'),
    ),
)

L2 = Program(
    l1.L2_CODE,
    (
        Line(f'mov    edi,{l1.GREETING:#x}', b'\xbf' + u32(l1.GREETING)),
        Line('vmcall', b'\x0f\x01\xc1', label='call'),
        Line('hlt', l1.HLT),
    ),
)


def image() -> bytes:
    """Return L1's memory."""
    memory = l1.memory()
    l1.put(memory, L1.address, L1.code)
    l1.put(memory, L2.address, L2.code)
    table = b''.join(ENTRY.pack(*each) for each in fields())
    l1.put(memory, TABLE, table + bytes(ENTRY.size))
    l1.put(memory, VMXON_POINTER, struct.pack('<QQ', VMXON_REGION, VMCS))
    return bytes(memory)


def fields() -> list[tuple[int, int, int]]:
    """Return all of the VMCS: field, capability MSR (0: none), value.

    Of a control the value is what is wanted; L1 adds and takes away what the MSR tells.
    """
    return [*_controls(), *_host_state(), *_guest_state()]


def _controls() -> Iterator[tuple[int, int, int]]:
    # [SDM 3, 24.6-24.8]
    yield 0x4000, MSR_PINBASED, 0
    yield 0x4002, MSR_PROCBASED, PROCBASED_HLT_EXITING
    yield 0x400C, MSR_EXIT, EXIT_HOST_64_BIT
    yield 0x4012, MSR_ENTRY, ENTRY_GUEST_64_BIT
    for field in (
        0x4004,  # exception bitmap
        0x4006,  # page-fault error-code mask
        0x4008,  # page-fault error-code match
        0x400A,  # CR3-target count
        0x400E,  # VM-exit MSR-store count
        0x4010,  # VM-exit MSR-load count
        0x4014,  # VM-entry MSR-load count
        0x4016,  # VM-entry interruption-information
        0x2010,  # TSC offset
        0x6000,  # CR0 guest/host mask
        0x6002,  # CR4 guest/host mask
    ):
        yield field, 0, 0


def _host_state() -> Iterator[tuple[int, int, int]]:
    # What L1 goes on with when L2 ends [SDM 3, 24.5; checked by 26.2.2-26.2.4].
    for segment in (ES, CS, SS, DS, FS, GS):
        yield 0x0C00 + segment, 0, l1.CODE if segment == CS else l1.DATA
    yield 0x0C0C, 0, l1.TASK
    yield 0x4C00, 0, 0  # IA32_SYSENTER_CS
    yield 0x6C00, 0, l1.CR0
    yield 0x6C02, 0, l1.CR3
    yield 0x6C04, 0, l1.CR4 | CR4_VMXE
    yield 0x6C06, 0, 0  # FS base
    yield 0x6C08, 0, 0  # GS base
    yield 0x6C0A, 0, l1.TSS
    yield 0x6C0C, 0, l1.GDT
    yield 0x6C0E, 0, l1.IDT
    yield 0x6C10, 0, 0  # IA32_SYSENTER_ESP
    yield 0x6C12, 0, 0  # IA32_SYSENTER_EIP
    yield 0x6C14, 0, l1.STACK  # RSP
    yield 0x6C16, 0, L1['exit']  # RIP


def _guest_state() -> Iterator[tuple[int, int, int]]:
    # L2 begins as L1 did [SDM 3, 24.4; checked by 26.3.1].
    flat = 0xFFFFFFFF
    segments = {
        CS: (l1.CODE, flat, CODE_64, 0),
        LDTR: (0, 0, UNUSABLE, 0),
        TR: (l1.TASK, l1.TSS_LIMIT, TASK, l1.TSS),
    }
    for segment in (ES, CS, SS, DS, FS, GS, LDTR, TR):
        selector, limit, rights, base = segments.get(segment, (l1.DATA, flat, DATA, 0))
        yield 0x0800 + segment, 0, selector
        yield 0x4800 + segment, 0, limit
        yield 0x4814 + segment, 0, rights
        yield 0x6806 + segment, 0, base
    yield 0x2800, 0, (1 << 64) - 1  # VMCS link pointer: there is none
    yield 0x2802, 0, 0  # IA32_DEBUGCTL
    yield 0x4810, 0, l1.GDT_LIMIT
    yield 0x4812, 0, l1.IDT_LIMIT
    yield 0x4824, 0, 0  # interruptibility
    yield 0x4826, 0, 0  # activity: active
    yield 0x482A, 0, 0  # IA32_SYSENTER_CS
    yield 0x6800, 0, l1.CR0
    yield 0x6802, 0, l1.CR3
    yield 0x6804, 0, l1.CR4 | CR4_VMXE
    yield 0x6816, 0, l1.GDT
    yield 0x6818, 0, l1.IDT
    yield 0x681A, 0, l1.DR7
    yield 0x681C, 0, l1.STACK  # RSP
    yield GUEST_RIP, 0, L2.address
    yield 0x6820, 0, l1.RFLAGS
    yield 0x6822, 0, 0  # pending debug exceptions
    yield 0x6824, 0, 0  # IA32_SYSENTER_ESP
    yield 0x6826, 0, 0  # IA32_SYSENTER_EIP


def judge(halted: Halted) -> Ran | Trouble:
    """Return whether L2 ran: it ended at its VMCALL, and has left its greeting."""
    if halted.rip == L1.after('given-up'):
        return Trouble(f'{_refused(halted)} failed (VM-instruction error {halted.rbx})')
    if halted.rip != L1.after('end'):
        return Trouble(f'L1 halted at {halted.rip:#x}')
    if halted.rbx & ENTRY_FAILED:
        return Trouble(f'VMLAUNCH refused a VMCS that is right (exit reason {halted.rbx:#x})')
    if halted.rbx != EXIT_REASON_VMCALL:
        where = f'at {halted.rcx:#x}'
        return Trouble(f'L2 ended with exit reason {halted.rbx:#x} {where}, not with VMCALL')
    if (halted.rcx, halted.rdi) != (L2['call'], l1.GREETING):
        return Trouble(f'L2 came to {halted.rcx:#x} and left {halted.rdi:#x}')
    return Ran('VMLAUNCH entered it, VMCALL ended it')


def _refused(halted: Halted) -> str:
    """Return the VMX instruction that failed: RSI tells how far L1 was."""
    if not halted.rsi:
        return 'VMXON, VMCLEAR or VMPTRLD'
    field = ENTRY.unpack_from(halted.memory, halted.rsi)[0]
    return f'VMWRITE of field {field:#x}' if field else 'VMLAUNCH'


GUEST = Guest(image, L1, 'MOV to CR4 of CR4.VMXE', judge)
