"""L1 as a hypervisor on AMD: EFER.SVME, VMRUN of an L2 that ends with VMMCALL.

L2 starts as every guest does, in real mode; with nested paging where L1 is offered it, as any
hypervisor would do. When it has ended L1 must be as it was: kvm_amd with npt=0, for one, gives
an L1 whose L2 had paging off the CR4 of that L2 (nested_svm_vmexit, seen in Linux 6.1).
"""

import struct

from nested_agent.proof import long_mode as l1
from nested_agent.proof.assembly import Line, Program, u32
from nested_agent.proof.guest import Guest, Halted, Ran, Trouble

VMCB = l1.FREE
HOST_SAVE_AREA = l1.FREE + 0x1000

MSR_EFER = 0xC0000080
EFER_SVME = 1 << 12  # [APM 3.1.7]
MSR_VM_HSAVE_PA = 0xC0010117  # [APM 15.30.4]
CPUID_SVM = 0x8000000A  # EDX bit 0: nested paging [APM 3, appendix E.4.9]

# VMCB, control area [APM appendix B, table B-1]: offsets.
INTERCEPTS_3 = 0x00C  # bit 24: HLT
INTERCEPTS_4 = 0x010  # bit 0: VMRUN, which must be set [APM 15.5.1]; bit 1: VMMCALL
GUEST_ASID = 0x058  # must not be 0 [APM 15.5.1]
EXITCODE = 0x070
NESTED_CTL = 0x090  # bit 0: nested paging
N_CR3 = 0x0B0

# VMCB, state save area [APM appendix B, table B-2]: it begins at 0x400.
SAVE = 0x400
ES, CS, SS, DS = SAVE + 0x000, SAVE + 0x010, SAVE + 0x020, SAVE + 0x030
GDTR, IDTR = SAVE + 0x060, SAVE + 0x080
SAVE_EFER = SAVE + 0x0D0
SAVE_CR0 = SAVE + 0x158
SAVE_DR7 = SAVE + 0x160
SAVE_DR6 = SAVE + 0x168
SAVE_RFLAGS = SAVE + 0x170
SAVE_RIP = SAVE + 0x178
SAVE_RSP = SAVE + 0x1D8
SAVE_G_PAT = SAVE + 0x268

# Segment attributes: descriptor bits 47:40, then 55:52 [APM 15.5.1].
CODE = 0x09B
DATA = 0x093

# As after a reset [APM 14.1.3, table 14-1]; but CR0 without CD and NW, which turn caches off.
CR0_ET = 1 << 4
DR6_RESET = 0xFFFF0FF0
PAT_RESET = 0x0007040600070406

# [APM appendix C]
VMEXIT_VMMCALL = 0x81
VMEXIT_INVALID = (1 << 64) - 1

L1 = Program(
    l1.L1_CODE,
    (
        Line(f'mov    ecx,{MSR_EFER:#x}', b'\xb9' + u32(MSR_EFER)),
        Line('rdmsr', b'\x0f\x32'),
        Line(f'or     eax,{EFER_SVME:#x}', b'\x0d' + u32(EFER_SVME)),
        # #GP where this processor has no SVM, or KVM does not let L1 see it.
        Line('wrmsr', b'\x0f\x30', label='enable'),
        # Where VMRUN keeps L1's own state.
        Line(f'mov    ecx,{MSR_VM_HSAVE_PA:#x}', b'\xb9' + u32(MSR_VM_HSAVE_PA)),
        Line(f'mov    eax,{HOST_SAVE_AREA:#x}', b'\xb8' + u32(HOST_SAVE_AREA)),
        Line('xor    edx,edx', b'\x31\xd2'),
        Line('wrmsr', b'\x0f\x30'),
        Line(f'mov    eax,{CPUID_SVM:#x}', b'\xb8' + u32(CPUID_SVM)),
        Line('cpuid', b'\x0f\xa2'),
        Line('and    edx,0x1', b'\x83\xe2\x01'),
        Line(
            f'mov    DWORD PTR ds:{VMCB + NESTED_CTL:#x},edx',
            b'\x89\x14\x25' + u32(VMCB + NESTED_CTL),
        ),
        Line(f'mov    eax,{VMCB:#x}', b'\xb8' + u32(VMCB)),
        Line('vmrun', b'\x0f\x01\xd8'),
        # L2 has ended.
        Line('mov    rbx,cr4', b'\x0f\x20\xe3'),
        Line('hlt', l1.HLT, label='end'),
    ),
)

L2 = Program(
    l1.L2_CODE,
    (
        Line(f'mov    di,{l1.GREETING:#x}', b'\xbf' + u32(l1.GREETING)[:2]),
        Line('vmmcall', b'\x0f\x01\xd9', label='call'),
        Line('hlt', l1.HLT),
    ),
)


def image() -> bytes:
    """Return L1's memory."""
    memory = l1.memory()
    l1.put(memory, L1.address, L1.code)
    l1.put(memory, L2.address, L2.code)
    l1.put(memory, VMCB, vmcb())
    return bytes(memory)


def vmcb() -> bytes:
    """Return the VMCB of an L2 in real mode, all segments at 0."""
    block = bytearray(0x1000)
    struct.pack_into('<I', block, INTERCEPTS_3, 1 << 24)
    struct.pack_into('<I', block, INTERCEPTS_4, 1 << 0 | 1 << 1)
    struct.pack_into('<I', block, GUEST_ASID, 1)
    for offset, attributes in (
        (ES, DATA),
        (CS, CODE),
        (SS, DATA),
        (DS, DATA),
        (GDTR, 0),
        (IDTR, 0),
    ):
        # Selector, attributes, limit, base [APM appendix B, table B-2].
        struct.pack_into('<HHIQ', block, offset, 0, attributes, 0xFFFF, 0)
    for offset, value in (
        (SAVE_EFER, EFER_SVME),  # without it VMRUN refuses [APM 15.5.1]
        (N_CR3, l1.CR3),
        (SAVE_CR0, CR0_ET),
        (SAVE_DR6, DR6_RESET),
        (SAVE_DR7, l1.DR7),
        (SAVE_RFLAGS, l1.RFLAGS),
        (SAVE_RIP, L2.address),
        (SAVE_RSP, l1.STACK),
        (SAVE_G_PAT, PAT_RESET),
    ):
        struct.pack_into('<Q', block, offset, value)
    return bytes(block)


def judge(halted: Halted) -> Ran | Trouble:
    """Return whether L2 ran: it ended at its VMMCALL, and has left its greeting."""
    code, rip = (
        int(struct.unpack_from('<Q', halted.memory, VMCB + offset)[0])
        for offset in (EXITCODE, SAVE_RIP)
    )
    if halted.rip != L1.after('end'):
        return Trouble(f'L1 halted at {halted.rip:#x}')
    if code == VMEXIT_INVALID:
        return Trouble('VMRUN refused a VMCB that is right (VMEXIT_INVALID)')
    if code != VMEXIT_VMMCALL:
        return Trouble(f'L2 ended with exit code {code:#x} at {rip:#x}, not with VMMCALL')
    if (rip, halted.rdi) != (L2['call'], l1.GREETING):
        return Trouble(f'L2 came to {rip:#x} and left {halted.rdi:#x}')
    if halted.rbx != l1.CR4:
        return Trouble(f'L2 ran, but L1 came back with CR4 {halted.rbx:#x} instead of {l1.CR4:#x}')
    return Ran('VMRUN entered it, VMMCALL ended it')


GUEST = Guest(image, L1, 'WRMSR of EFER.SVME', judge)
