"""The ground truth: what ``/dev/kvm`` says KVM offers guests. No VM is created.

Constants: include/uapi/linux/kvm.h; layouts: struct kvm_cpuid2, struct kvm_cpuid_entry2.
"""

import errno
import os
import struct

from nested_agent.facts import CPUIDLeaf, KVMDevice, Unread
from nested_agent.node.root import Root, unread

DEVICE = '/dev/kvm'
MODULE = '/sys/module/kvm'

KVM_GET_API_VERSION = 0xAE00
KVM_CHECK_EXTENSION = 0xAE03
KVM_GET_SUPPORTED_CPUID = 0xC008AE05
KVM_CAP_NESTED_STATE = 157

API_VERSION = 12

# The leaves with the flags VMX and SVM.
LEAVES = (0x1, 0x80000001)

_HEADER = struct.Struct('=II')  # nent, padding
_ENTRY = struct.Struct('=7I12x')  # function, index, flags, eax, ebx, ecx, edx, padding

# Linux clamps what it reads at KVM_MAX_CPUID_ENTRIES (256) and needs about 75.
_FIRST_TRY = 128
_MOST = 4096


def read(root: Root) -> KVMDevice | Unread:
    """Return what KVM answers; the device is open only for that long (it pins the module)."""
    if not root.live:
        return Unread(DEVICE, 'NotAvailable', 'a captured tree has no devices to ask')
    try:
        if root.present(DEVICE) and not root.present(MODULE):
            # A static node (systemd-tmpfiles, modules.devname): opening it would load kvm.
            return Unread(DEVICE, 'ENODEV', 'kvm is not loaded')
        fd = root.open(DEVICE)
    except OSError as error:
        return unread(DEVICE, error)
    try:
        version = root.ioctl(fd, KVM_GET_API_VERSION)
        if version != API_VERSION:
            return Unread(DEVICE, 'APIVersion', f'KVM API {version}, {API_VERSION} is known')
        size = root.ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE)
        return KVMDevice(version, size, _supported_cpuid(root, fd))
    except OSError as error:
        return unread(DEVICE, error)
    finally:
        os.close(fd)


def _supported_cpuid(root: Root, fd: int) -> dict[str, CPUIDLeaf]:
    count = _FIRST_TRY
    while True:
        buffer = bytearray(_HEADER.size + count * _ENTRY.size)
        _HEADER.pack_into(buffer, 0, count, 0)
        try:
            root.ioctl(fd, KVM_GET_SUPPORTED_CPUID, buffer)
            break
        except OSError as error:
            if error.errno != errno.E2BIG or count >= _MOST:
                raise
        count *= 2
    used = min(_HEADER.unpack_from(buffer)[0], count)
    entries = _ENTRY.iter_unpack(memoryview(buffer)[_HEADER.size :][: used * _ENTRY.size])
    return {
        f'{function:#x}': CPUIDLeaf(eax, ebx, ecx, edx)
        for function, index, _flags, eax, ebx, ecx, edx in entries
        if function in LEAVES and index == 0
    }
