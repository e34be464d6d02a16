"""What the next load of a module will apply, and the lines that decide it."""

import dataclasses
import enum
from collections.abc import Mapping

from nested_agent.unread import Location, Unread


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
