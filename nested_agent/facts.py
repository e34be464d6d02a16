"""What was observed on a node at one moment: the Observation and its parts.

Every fact is either its value or an :class:`Unread` that says why there is none;
``None`` always means "looked, and it is not there". Nothing here judges.
"""

import dataclasses
import enum
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Unread:
    """Why a fact could not be read.

    :ivar source: the file, device or command that was asked
    :ivar error: one word: an errno name (``EACCES``), ``Timeout``, ``Malformed``,
        ``NotAvailable`` (cannot be known from here, such as an ioctl of a captured tree)
    :ivar detail: one sentence for people
    """

    source: str
    error: str
    detail: str

    def __str__(self) -> str:
        return f'{self.source}: {self.error} ({self.detail})'


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """A line of a file, as an operator sees its path (host path; inside a container: its own)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f'{self.file}:{self.line}'


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


class LineKind(enum.StrEnum):
    """What a line of module configuration does to the next load."""

    OPTIONS = 'options'
    INSTALL = 'install'
    REMOVE = 'remove'
    BLACKLIST = 'blacklist'
    SOFTDEP = 'softdep'
    ALIAS = 'alias'
    UNKNOWN = 'unknown'
    KERNEL_ARGUMENT = 'kernel-argument'


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleLine:
    """One configuration line that touches the module, or looks as if it were meant to.

    :ivar where: file and line; ``/proc/cmdline:1`` for a kernel argument
    :ivar module: the module name as written there; a module ours depends on, where an ``install``
        line stands in for that one; for an alias the name that leads elsewhere
    :ivar text: the options, command or arguments after the module name, exactly as kmod has them;
        for a blacklist on the kernel command line the whole argument
    :ivar ignored: None when it is used; else why not: ``masked by FILE``,
        ``no module of that name``, ``not a .conf file``, ``the module is built in``, ...
    :ivar options: those of :attr:`NextLoad.options` that stand here (where ignored: would stand);
        none where the line cannot be matched with them
    """

    kind: LineKind
    where: Location
    module: str
    text: str
    ignored: str | None
    options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class BootEntry:
    """What a boot loader would start: a Linux kernel with its command line.

    :ivar where: the line that holds the command line, or begins an entry without one
    :ivar options: the arguments for the module without its name, as the kernel cuts them; none
        means the kernel's defaults
    """

    where: Location
    options: tuple[str, ...]


class LoadKind(enum.StrEnum):
    """How the next ``modprobe MODULE`` will come about."""

    MODULE = 'module'
    BUILTIN = 'builtin'
    INSTALL = 'install'
    MISSING = 'missing'


@dataclasses.dataclass(frozen=True, slots=True)
class Initramfs:
    """The module options inside the boot image, read only where they could be stale.

    :ivar image: path of the image
    :ivar has_module: whether the image holds the module (then udev loads it from there at boot)
    :ivar lines: option lines for the module inside the image
    :ivar options: the options in force there, in order
    """

    image: str
    has_module: bool
    lines: tuple[ModuleLine, ...]
    options: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Dependency:
    """A module that is loaded before ours; what keeps it from loading keeps ours too.

    :ivar options: as :attr:`NextLoad.options`
    :ivar lines: the lines in force that set them, in order
    """

    options: tuple[str, ...]
    lines: tuple[ModuleLine, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class NextLoad:
    """What the next load of the module will apply.

    :ivar source: ``modprobe -D`` or ``modprobe.d reader`` (a captured tree)
    :ivar options: every option in order as the kernel will parse them (no quotes, no carriage
        return); the last one wins. For INSTALL they reach the module only if the command sees to it
    :ivar dependencies: the modules it depends on, by name
    :ivar command: the install command that replaces the load, if any
    :ivar lines: every line that touches the module, in the order kmod applies them,
        then the ignored ones
    :ivar initramfs: None when there is no image or it is newer than every line
    """

    module: str
    source: str
    kind: LoadKind
    options: tuple[str, ...]
    dependencies: Mapping[str, Dependency]
    command: str | None
    lines: tuple[ModuleLine, ...]
    initramfs: Initramfs | Unread | None


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


class Manager(enum.StrEnum):
    """Who writes nova-compute's configuration, so who overwrites a change made by hand."""

    PACKAGE = 'package'
    DEVSTACK = 'devstack'
    KOLLA = 'kolla'
    EDPM = 'edpm'
    TRIPLEO = 'tripleo'
    SNAP = 'snap'
    OPENSTACK_ANSIBLE = 'openstack-ansible'
    CONTAINER = 'container'
    UNKNOWN = 'unknown'


@dataclasses.dataclass(frozen=True, slots=True)
class Occurrence:
    """One line that sets an option.

    :ivar name: ``group.option`` as spelled there, deprecated or not (``libvirt.cpu_model``)
    """

    name: str
    where: Location


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One option as nova-compute's oslo.config sees it.

    :ivar value: the effective value (text, list of text, or None when unset). Unread when this
        option alone has none: ``InvalidValue`` (nova refuses it), ``Implausible`` (oslo.config
        takes it, but it is no name of what the option is for) or ``Unresolved`` (it refers to
        an option that is not evaluated here; nova may well resolve it). The text of such a value
        is not kept: by an indented line it can hold another option, such as a password
    :ivar where: file and line of the value in force; the variable's name for the environment;
        None for nova's own default
    :ivar occurrences: every line that sets it, in reading order, in force or not
    """

    value: str | tuple[str, ...] | Unread | None
    where: Location | str | None
    occurrences: tuple[Occurrence, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file nova-compute reads, in the order oslo.config reads them (the last wins).

    :ivar changed: seconds since the epoch of the last change (the later of mtime and ctime) of
        the file and of every symbolic link that leads to it
    """

    path: str
    changed: float | Unread


@dataclasses.dataclass(frozen=True, slots=True)
class NovaProcess:
    """A running nova-compute.

    :ivar started: seconds since the epoch
    :ivar unit: the innermost systemd service of this host it runs in, from the cgroup; None in a
        scope, a user's session, or when only the container has such a unit
    :ivar container: the container's id or name, from the cgroup; None on the host itself
    :ivar environment: its ``OS_LIBVIRT__*`` variables, and no others; what matters of them is in
        the settings, so it never leaves the node
    """

    pid: int
    argv: tuple[str, ...]
    started: float | Unread
    unit: str | None
    container: str | None
    environment: Mapping[str, str] | Unread = dataclasses.field(metadata={'private': True})


#: Errors of ``NovaCompute.settings`` that nova-compute meets as well; all others only say that
#: the configuration cannot be told from here.
KEEPS_NOVA_FROM_STARTING = frozenset(
    {'ParseError', 'EncodingError', 'InvalidValue', 'ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP'}
)


@dataclasses.dataclass(frozen=True, slots=True)
class NovaCompute:
    """nova-compute on this node and what its configuration comes to.

    :ivar process: None when it does not run; Unread when that cannot be told (``hidepid``)
    :ivar found_by: how the file list was found: ``process``, ``option`` ([nova] config_file),
        or the name of a layout on disk (``devstack``, ``kolla``, ``edpm``, ``snap``, ``rdo``,
        ``debian``, ``default``)
    :ivar root: directory its paths are below: ``/`` or ``/proc/PID/root`` of a container
    :ivar settings: effective options by ``group.option``; Unread when nova's configuration
        cannot be loaded: by nova-compute neither (:data:`KEEPS_NOVA_FROM_STARTING`), or not from
        here (EACCES, EIO, ``ConfigSource``, ``Unresolved``, ``NotAvailable``, ``Malformed``, ...)
    :ivar others: pids of further nova-computes on this node, in ascending order
    :ivar directories: where a file that is gone may have been, with their own times
    """

    process: NovaProcess | Unread | None
    found_by: str
    manager: Manager
    root: str
    files: tuple[ConfigFile, ...]
    settings: Mapping[str, Setting] | Unread
    others: tuple[int, ...] = ()
    directories: tuple[ConfigFile, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """All facts of one moment.

    :ivar root: ``/`` or the captured tree that was read
    :ivar live: whether this is the running node (else ioctls and processes are Unread)
    :ivar time: seconds since the epoch
    :ivar modules: the kvm modules present, by name
    :ivar hypervisors: modules of other hypervisors that are loaded (``vboxdrv``, ``vmmon``)
    :ivar next_load: None when no driver knows a module for this CPU
    :ivar boot_entries: for a built-in module, every entry of the boot loader's configuration;
        None for a loadable one, or where no such configuration is found
    :ivar holders: None when nothing holds the module (refcnt 0) or it is not loaded
    :ivar firmware: None when nothing suggested looking
    :ivar nova: None when no nova-compute and no configuration of one was found
    """

    host: str
    root: str
    live: bool
    time: float
    boot_id: str | Unread
    kernel: Kernel
    cpu: CPU | Unread
    driver: str | None
    driver_problems: tuple[str, ...]
    modules: Mapping[str, Module] | Unread
    hypervisors: tuple[str, ...] | Unread
    kvm: KVMDevice | Unread
    next_load: NextLoad | Unread | None
    boot_entries: tuple[BootEntry, ...] | Unread | None
    holders: Holders | Unread | None
    firmware: Firmware | None
    nova: NovaCompute | Unread | None
