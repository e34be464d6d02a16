"""What the kernel, the processor and KVM say of this machine."""

import dataclasses
import enum
from collections.abc import Mapping

from nested_agent.unread import Unread


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
    """The running kernel.

    :ivar release: as ``uname -r``
    :ivar cmdline: its command line; can hold secrets, so it never leaves the node
    :ivar modules_disabled: whether it loads and unloads no modules until the next boot (sysctl
        ``kernel.modules_disabled``); None where there is no such switch
    """

    release: str | Unread
    cmdline: str | Unread = dataclasses.field(metadata={'private': True})
    modules_disabled: bool | Unread | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class CPU:
    """The first processor of ``/proc/cpuinfo``.

    Unread is ``OtherArchitecture`` where it is no x86 processor.

    :ivar vendor: ``vendor_id``, such as ``GenuineIntel``
    :ivar flags: the ``flags`` line; the kernel drops what firmware turned off (domain: 5.6+ vmx)
    """

    vendor: str
    model: str
    flags: tuple[str, ...]

    @property
    def hypervisor(self) -> bool:
        """Whether this kernel itself runs in a virtual machine (CPUID.1:ECX[31])."""
        return 'hypervisor' in self.flags


class ModuleState(enum.StrEnum):
    """How a module is present: ``initstate`` of sysfs, or ``builtin`` where there is none."""

    LIVE = 'live'
    COMING = 'coming'
    GOING = 'going'
    BUILTIN = 'builtin'


@dataclasses.dataclass(frozen=True, slots=True)
class Module:
    """A directory ``/sys/module/kvm*``; a built-in module may be listed without being active.

    :ivar state: ``NotAvailable`` where a captured tree does not tell a built-in module from one
        whose state was not captured
    :ivar refcnt: users of the module (open /dev/kvm, VM and vCPU files); None when built in
    :ivar parameters: every parameter, as the kernel prints it
    :ivar load: tells this load of the module from every other of this boot; ``NotAvailable`` in a
        captured tree
    """

    name: str
    state: ModuleState | Unread
    refcnt: int | Unread | None
    parameters: Mapping[str, str | Unread]
    load: str | Unread


@dataclasses.dataclass(frozen=True, slots=True)
class CPUIDLeaf:
    """One entry of KVM_GET_SUPPORTED_CPUID (index 0)."""

    eax: int
    ebx: int
    ecx: int
    edx: int


@dataclasses.dataclass(frozen=True, slots=True)
class KVMDevice:
    """What ``/dev/kvm`` itself answered.

    :ivar api_version: KVM_GET_API_VERSION, 12 on every kernel since 2.6.22
    :ivar nested_state_size: KVM_CAP_NESTED_STATE in bytes; 0: nested guests cannot be migrated.
        Says nothing about whether nesting is on.
    :ivar cpuid: what KVM offers guests, by leaf (``0x80000001``), only the leaves that matter here
    """

    api_version: int
    nested_state_size: int
    cpuid: Mapping[str, CPUIDLeaf]


@dataclasses.dataclass(frozen=True, slots=True)
class Firmware:
    """What is known about virtualization being switched off in firmware.

    :ivar kernel_log: lines of this boot's kernel log that say so, oldest first
    :ivar raw_cpuid: leaves as the processor itself answers them (``/dev/cpu/0/cpuid``)
    """

    kernel_log: tuple[str, ...] | Unread
    raw_cpuid: Mapping[str, CPUIDLeaf] | Unread


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """A process that keeps KVM busy.

    :ivar command: its command name (``comm``)
    :ivar guest: QEMU's own ``-name guest=``, if it is one
    :ivar files: how many KVM files it has open
    """

    pid: int
    command: str
    guest: str | None
    files: int


@dataclasses.dataclass(frozen=True, slots=True)
class Holders:
    """Who holds KVM, as far as the file tables of other processes could be read.

    :ivar unreadable: processes whose open files could not be read (another user's, without root)
    """

    processes: tuple[Holder, ...]
    unreadable: int
