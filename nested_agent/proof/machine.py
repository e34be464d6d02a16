"""A virtual machine of a few pages and one processor, by ``/dev/kvm`` itself.

It has no device, no interrupt and no clock: all it can do is compute, and halt.
Structures and requests: [KVM] include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h.
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import signal
import struct
from collections.abc import Iterator

from nested_agent.proof import long_mode
from nested_agent.proof.guest import Halted, Trouble

# struct kvm_regs: RAX RBX RCX RDX RSI RDI RSP RBP R8-R15 RIP RFLAGS
_REGS = struct.Struct('=18Q')
RBX, RCX, RSI, RDI, RSP, RIP, RFLAGS = 1, 2, 4, 5, 6, 16, 17
# struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable
_SEGMENT = struct.Struct('=QIH9Bx')
_TABLE = struct.Struct('=QH6x')  # struct kvm_dtable: base, limit
# struct kvm_sregs: CS DS ES FS GS SS TR LDTR, GDTR, IDTR, CR0 CR2 CR3 CR4 CR8 EFER APIC_BASE
# and the interrupts that wait
_TABLES_AT = 8 * _SEGMENT.size
_CONTROL_AT = _TABLES_AT + 2 * _TABLE.size
_SREGS_SIZE = _CONTROL_AT + 7 * 8 + 32
# struct kvm_userspace_memory_region: slot, flags, guest address, size, address
_REGION = struct.Struct('=IIQQQ')
_CPUID = struct.Struct('=II')  # struct kvm_cpuid2: nent, padding
_CPUID_ENTRY_SIZE = 40
_CPUID_ENTRIES = 256  # KVM_MAX_CPUID_ENTRIES

_NONE, _WRITE, _READ = 0, 1, 2


def _request(direction: int, number: int, size: int = 0) -> int:
    """Return an ioctl number of KVM's, type 0xAE [include/uapi/asm-generic/ioctl.h]."""
    return direction << 30 | size << 16 | 0xAE << 8 | number


KVM_CREATE_VM = _request(_NONE, 0x01)
KVM_GET_VCPU_MMAP_SIZE = _request(_NONE, 0x04)
KVM_GET_SUPPORTED_CPUID = _request(_READ | _WRITE, 0x05, _CPUID.size)
KVM_CREATE_VCPU = _request(_NONE, 0x41)
KVM_SET_USER_MEMORY_REGION = _request(_WRITE, 0x46, _REGION.size)
KVM_SET_TSS_ADDR = _request(_NONE, 0x47)
KVM_RUN = _request(_NONE, 0x80)
KVM_GET_REGS = _request(_READ, 0x81, _REGS.size)
KVM_SET_REGS = _request(_WRITE, 0x82, _REGS.size)
KVM_GET_SREGS = _request(_READ, 0x83, _SREGS_SIZE)
KVM_SET_SREGS = _request(_WRITE, 0x84, _SREGS_SIZE)
KVM_SET_CPUID2 = _request(_WRITE, 0x90, _CPUID.size)

_NAMES = {value: name for name, value in globals().items() if name.startswith('KVM_')}

# struct kvm_run: exit_reason, and from the union failed entry and suberror.
_EXIT_REASON_AT = 8
_UNION_AT = 32
_EXITS = {
    0: 'KVM_EXIT_UNKNOWN',
    2: 'KVM_EXIT_IO',
    6: 'KVM_EXIT_MMIO',
    9: 'KVM_EXIT_FAIL_ENTRY',
    17: 'KVM_EXIT_INTERNAL_ERROR',
}
EXIT_HLT = 5
EXIT_SHUTDOWN = 8

#: Three pages away from memory, which KVM wants on Intel [KVM, KVM_SET_TSS_ADDR]. Below 4 GiB says
#: KVM, below 2 GiB says fcntl.ioctl.
_REAL_MODE_TSS = 0x7000_0000


class RequestError(Exception):
    """KVM refused a request; the message names it and the error."""


class GuestTimeoutError(Exception):
    """L1 has used up its processor time."""


def run(device: str, image: bytes, entry: int, cpu_seconds: float) -> Halted | Trouble:
    """Start L1 in 64-bit mode, run it until it halts, and leave nothing behind.

    :param device: path of ``/dev/kvm``
    :param image: its memory: see :func:`nested_agent.proof.long_mode.memory`
    :param entry: address of its first instruction
    :param cpu_seconds: processor time, not time, after which it is given up: a busy host is no
        reason
    :raises OSError: the device cannot be opened
    :raises RequestError: KVM does not give a machine
    """
    with contextlib.ExitStack() as stack:
        kvm = _owned(stack, os.open(device, os.O_RDWR | os.O_CLOEXEC))
        vm = _owned(stack, _ask(kvm, KVM_CREATE_VM))
        memory = mmap.mmap(-1, len(image), mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        memory[:] = image
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        _ask(vm, KVM_SET_TSS_ADDR, _REAL_MODE_TSS)
        region = bytearray(_REGION.pack(0, 0, 0, len(image), address))
        _ask(vm, KVM_SET_USER_MEMORY_REGION, region)
        vcpu = _owned(stack, _ask(vm, KVM_CREATE_VCPU))
        state = stack.enter_context(mmap.mmap(vcpu, _ask(kvm, KVM_GET_VCPU_MMAP_SIZE)))
        _ask(vcpu, KVM_SET_CPUID2, _supported_cpuid(kvm))
        _set_registers(vcpu, entry)
        try:
            with _limited(cpu_seconds):
                _run(vcpu)
        except GuestTimeoutError:
            return Trouble(f'it did not come to an end in {cpu_seconds:g} s of processor time')
        return _end(vcpu, state, memory)


def _owned(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _run(vcpu: int) -> None:
    while True:
        try:
            _ask(vcpu, KVM_RUN)
            return
        except RequestError as error:
            # Stopped and continued, frozen and thawed: the guest has nothing to do with that.
            if not isinstance(error.__cause__, InterruptedError):
                raise


def _ask(descriptor: int, request: int, argument: int | bytearray = 0) -> int:
    try:
        return int(fcntl.ioctl(descriptor, request, argument))
    except OSError as error:
        raise RequestError(f'{_NAMES[request]}: {error.strerror}') from error


def _supported_cpuid(kvm: int) -> bytearray:
    """Return all that KVM offers guests: what nova-compute's host-passthrough gives them."""
    buffer = bytearray(_CPUID.size + _CPUID_ENTRIES * _CPUID_ENTRY_SIZE)
    _CPUID.pack_into(buffer, 0, _CPUID_ENTRIES, 0)
    _ask(kvm, KVM_GET_SUPPORTED_CPUID, buffer)
    return buffer


def _set_registers(vcpu: int, entry: int) -> None:
    sregs = bytearray(_SREGS_SIZE)
    _ask(vcpu, KVM_GET_SREGS, sregs)
    flat = 0xFFFFFFFF
    code = _SEGMENT.pack(0, flat, long_mode.CODE, 11, 1, 0, 0, 1, 1, 1, 0, 0)
    data = _SEGMENT.pack(0, flat, long_mode.DATA, 3, 1, 0, 1, 1, 0, 1, 0, 0)
    task = _SEGMENT.pack(
        long_mode.TSS, long_mode.TSS_LIMIT, long_mode.TASK, 11, 1, 0, 0, 0, 0, 0, 0, 0
    )
    none = _SEGMENT.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    sregs[:_TABLES_AT] = code + 5 * data + task + none
    sregs[_TABLES_AT:_CONTROL_AT] = _TABLE.pack(long_mode.GDT, long_mode.GDT_LIMIT) + _TABLE.pack(
        long_mode.IDT, long_mode.IDT_LIMIT
    )
    control = (long_mode.CR0, 0, long_mode.CR3, long_mode.CR4, 0, long_mode.EFER)
    struct.pack_into('=6Q', sregs, _CONTROL_AT, *control)  # APIC_BASE as it was
    _ask(vcpu, KVM_SET_SREGS, sregs)
    registers = [0] * 18
    registers[RIP] = entry
    registers[RSP] = long_mode.STACK
    registers[RFLAGS] = long_mode.RFLAGS
    _ask(vcpu, KVM_SET_REGS, bytearray(_REGS.pack(*registers)))


@contextlib.contextmanager
def _limited(cpu_seconds: float) -> Iterator[None]:
    """Interrupt KVM_RUN, by EINTR, when so much processor time is used up."""

    def give_up(number: int, frame: object) -> None:
        raise GuestTimeoutError

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _end(vcpu: int, state: mmap.mmap, memory: mmap.mmap) -> Halted | Trouble:
    (reason,) = struct.unpack_from('=I', state, _EXIT_REASON_AT)
    if reason == EXIT_SHUTDOWN:
        return Trouble('L1 took a triple fault')
    if reason != EXIT_HLT:
        (detail,) = struct.unpack_from('=Q', state, _UNION_AT)
        return Trouble(f'L1 ended with {_EXITS.get(reason, f"KVM exit {reason}")} ({detail:#x})')
    buffer = bytearray(_REGS.size)
    _ask(vcpu, KVM_GET_REGS, buffer)
    registers = _REGS.unpack(buffer)
    rip, rsp, rbx, rcx, rsi, rdi = (registers[each] for each in (RIP, RSP, RBX, RCX, RSI, RDI))
    return Halted(rip, rsp, rbx, rcx, rsi, rdi, bytes(memory))
