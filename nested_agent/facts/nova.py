"""nova-compute, and what its configuration comes to."""

import dataclasses
import enum
from collections.abc import Mapping

from nested_agent.unread import Location, Unread


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
        the settings, so it never leaves the node. Unread also where a process title overwrote it
    :ivar ticks: its start in clock ticks since boot, which no clock moves; None if unreadable
    :ivar copied: seconds since the epoch when the configuration was last copied into its container
        (kolla_set_configs); None where nothing tells of that
    """

    pid: int
    argv: tuple[str, ...]
    started: float | Unread
    unit: str | None
    container: str | None
    environment: Mapping[str, str] | Unread = dataclasses.field(metadata={'private': True})
    ticks: int | None = None
    copied: float | None = None


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
    :ivar root: directory its paths are below: ``/``, or ``/proc/PID/root`` where it sees others
        (a container's files, or by mounts of its unit)
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
