"""The running nova-compute, found in /proc by its command line."""

import dataclasses
import os
import re
import time

from nested_agent.facts import NovaProcess, Unread
from nested_agent.node import cgroup, nova_argv, nova_files
from nested_agent.node.root import Root, unread

ENVIRONMENT_PREFIX = b'OS_LIBVIRT__'
# argv[0] to argv[2] fit; the one that is chosen is read in full.
SCAN_BYTES = 4096
# What kolla_set_configs writes in a container when it has copied the configuration
# (kolla/docker/base/set_configs.py: copy_config).
RUN_COMMAND = '/run_command'


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A nova-compute and what is needed to follow it to its files.

    :ivar arguments: what follows the program in its argv; None when it overwrote its command line
        (setproctitle) and they cannot be told
    :ivar root: ``/proc/PID/root``, where its files are with the mounts it sees; ``/`` where that
        cannot be followed
    :ivar directory: its working directory as it sees it; None when that cannot be read
    :ivar uid: its real user id; None when that cannot be read
    :ivar others: pids of further nova-computes, in ascending order
    """

    process: NovaProcess
    arguments: tuple[str, ...] | None
    root: str | Unread
    directory: str | None
    uid: int | None
    others: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Candidate:
    pid: int
    argv: tuple[str, ...]
    arguments: tuple[str, ...] | None
    fields: list[str] | Unread
    place: cgroup.Place

    @property
    def parent(self) -> int:
        return 0 if isinstance(self.fields, Unread) else int(self.fields[1])

    @property
    def ticks(self) -> int | None:
        return None if isinstance(self.fields, Unread) else int(self.fields[19])


def find(root: Root) -> Found | Unread | None:
    """Return the running nova-compute, or None; Unread when there may be one that is hidden.

    Of a wrapper and the nova-compute it started it is the latter; of a process and its forked
    copies the former. Of several that remain, one outside any container, then the lowest pid.
    A process that ends while it is being read is not there.

    :raises OSError: when /proc cannot be listed
    """
    candidates = {}
    named, hidden = _named(root)
    for pid in named:
        candidate = _candidate(root, pid)
        if candidate is not None:
            candidates[pid] = candidate
    chosen = sorted(
        (each for each in candidates.values() if not _subordinate(each, candidates)),
        key=lambda each: (each.place.container is not None, each.pid),
    )
    for candidate in chosen:
        others = sorted(each.pid for each in chosen if each is not candidate)
        found = _found(root, candidate, tuple(others))
        if found is not None:
            return found
    if hidden:
        return Unread('/proc', 'EACCES', "other users' processes cannot be seen (hidepid)")
    return None


def alive(root: Root, process: NovaProcess) -> bool:
    """Whether the process still is what it was found as."""
    return _argv(root, process.pid) == process.argv


def _named(root: Root) -> tuple[list[int], bool]:
    """Return pids whose command line mentions the name, and whether processes are hidden.

    Hot: every process of the node. With ``hidepid`` in /proc's mount options the processes of
    other users, such as pid 1, either are not listed or refuse to be read; see proc(5).
    """
    name = nova_argv.NAME.encode()
    proc = str(root.path('/proc'))
    found = []
    first = None
    refused = False
    for pid in root.pids():
        first = first or pid
        try:
            fd = os.open(f'{proc}/{pid}/cmdline', os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except PermissionError:
            refused = True
            continue
        except OSError:
            continue
        try:
            if name in os.read(fd, SCAN_BYTES):
                found.append(pid)
        except OSError:
            continue
        finally:
            os.close(fd)
    return found, root.live and (refused or first != 1)


def _candidate(root: Root, pid: int) -> _Candidate | None:
    argv = _argv(root, pid)
    is_nova, given = nova_argv.arguments(argv)
    if not is_nova:
        return None
    return _Candidate(pid, argv, given, _stat(root, pid), _place(root, pid))


def _subordinate(each: _Candidate, candidates: dict[int, _Candidate]) -> bool:
    """Whether another candidate is the real one: the parent it was forked from, or its child."""
    parent = candidates.get(each.parent)
    if parent is not None and parent.argv == each.argv:
        return True
    return any(
        child.parent == each.pid and child.argv != each.argv for child in candidates.values()
    )


def _found(root: Root, candidate: _Candidate, others: tuple[int, ...]) -> Found | None:
    pid = candidate.pid
    its_root = _root(root, pid, candidate.place)
    process = NovaProcess(
        pid=pid,
        argv=candidate.argv,
        started=_started(root, candidate.fields),
        unit=candidate.place.unit,
        container=candidate.place.container,
        environment=_environment(root, pid, candidate.argv),
        ticks=candidate.ticks,
        copied=_copied(root, its_root),
    )
    found = Found(
        process=process,
        arguments=candidate.arguments,
        root=its_root,
        directory=_directory(root, pid),
        uid=_uid(root, pid),
        others=others,
    )
    return found if alive(root, process) else None


def _argv(root: Root, pid: int) -> tuple[str, ...]:
    try:
        data = root.read_bytes(f'/proc/{pid}/cmdline')
    except OSError:
        return ()
    # Trailing NULs are also what a rewritten title is padded with.
    return tuple(data.rstrip(b'\0').decode(errors='replace').split('\0')) if data else ()


def _stat(root: Root, pid: int) -> list[str] | Unread:
    """Return the fields of /proc/PID/stat from ``state`` (field 3 of proc(5)) on."""
    name = f'/proc/{pid}/stat'
    text = root.try_text(name)
    if isinstance(text, Unread):
        return text
    fields = text.rpartition(')')[2].split()  # the command before it may hold blanks and ')'
    if len(fields) < 20 or not all(re.fullmatch(r'[0-9]{1,20}', fields[each]) for each in (1, 19)):
        return Unread(name, 'Malformed', 'not the fields of proc(5)')
    return fields


def _started(root: Root, fields: list[str] | Unread) -> float | Unread:
    """Return when a process started, to 0.01 s.

    Now minus /proc/uptime plus field 22 of /proc/PID/stat: both count from boot, suspend
    included. ``btime`` of /proc/stat is whole seconds: a file written right before a restart
    would look newer than the process.
    """
    if isinstance(fields, Unread):
        return fields
    uptime = root.try_text('/proc/uptime')
    if isinstance(uptime, Unread):
        return uptime
    try:
        ticks = int(fields[19]) / os.sysconf('SC_CLK_TCK')
        return round(time.time() - float(uptime.split()[0]) + ticks, 2)
    except (ValueError, IndexError, OverflowError):
        return Unread('/proc/uptime', 'Malformed', 'it is no number')


def _place(root: Root, pid: int) -> cgroup.Place:
    text = root.try_text(f'/proc/{pid}/cgroup')
    if isinstance(text, Unread):
        return cgroup.Place(None, None)
    place = cgroup.place(text)
    if place.container is None:
        return place
    own = root.try_text('/proc/self/cgroup')
    return place if isinstance(own, Unread) else cgroup.place(text, own)


def _environment(root: Root, pid: int, argv: tuple[str, ...]) -> dict[str, str] | Unread:
    """Return the OS_LIBVIRT__* variables; no other is even decoded.

    Unread where a process title was written over them: setproctitle takes the memory of argv and
    of the environment behind it. Variables that are still there do not tell which others were.
    """
    name = f'/proc/{pid}/environ'
    try:
        data = root.read_bytes(name)
    except OSError as error:
        return unread(name, error)
    # A title of one word shows only in what it left there: no variable.
    if nova_argv.is_title(argv) or (data and b'=' not in data):
        return Unread(name, 'NotAvailable', 'overwritten by the process title')
    found: dict[str, str] = {}
    for entry in data.split(b'\0'):
        if entry.startswith(ENVIRONMENT_PREFIX):
            key, equals, value = entry.decode(errors='replace').partition('=')
            if equals:
                found.setdefault(key, value)  # of two, Python's os.environ has the first
    return found


def _root(root: Root, pid: int, place: cgroup.Place) -> str | Unread:
    name = f'/proc/{pid}/root'
    try:
        root.stat(name)
    except OSError as error:
        # Not privileged to follow the link. A process of the host has the host's files.
        if place.container is None:
            return '/'
        problem = unread(name, error)
        # Not ENOENT: that would be a file which nova-compute itself does not find.
        return problem if isinstance(error, PermissionError) else _not_available(problem)
    return name


def _copied(root: Root, its_root: str | Unread) -> float | None:
    if isinstance(its_root, Unread):
        return None
    inner = root.below(its_root)
    if nova_files.same(root, inner, ('/',)):
        return None  # the host's, where nobody runs such a script
    changed = nova_files.changed(inner, RUN_COMMAND)
    return None if isinstance(changed, Unread) else changed


def _not_available(problem: Unread) -> Unread:
    return dataclasses.replace(problem, error='NotAvailable')


def _directory(root: Root, pid: int) -> str | None:
    try:
        # The link's text, which is the path as the process itself sees it.
        return os.readlink(root.path(f'/proc/{pid}') / 'cwd')  # noqa: PTH115  # text, no path
    except OSError:
        return None


def _uid(root: Root, pid: int) -> int | None:
    text = root.try_text(f'/proc/{pid}/status')
    if isinstance(text, Unread):
        return None
    match = re.search(r'^Uid:\s*(\d{1,10})\b', text, re.MULTILINE | re.ASCII)
    return int(match[1]) if match else None
