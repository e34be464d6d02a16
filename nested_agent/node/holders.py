"""Which processes keep KVM busy. Looked at only when the module's refcnt says that some do."""

import itertools
import os

from nested_agent.facts import Holder, Holders, Unread
from nested_agent.node.root import Root, unread

# virt/kvm/kvm_main.c: each of these pins the vendor module.
PREFIXES = ('/dev/kvm', 'anon_inode:kvm-')


def read(root: Root) -> Holders | Unread:
    """Return the processes with KVM files open, by pid."""
    if not root.live:
        return Unread('/proc/*/fd', 'NotAvailable', 'a captured tree has no processes')
    found = []
    unreadable = 0
    try:
        for pid in root.pids():
            try:
                files = _kvm_files(root, pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            except OSError:
                unreadable += 1
                continue
            if files:
                found.append(_holder(root, pid, files))
    except OSError as error:
        return unread('/proc', error)
    return Holders(tuple(found), unreadable)


def _kvm_files(root: Root, pid: int) -> int:
    directory = root.path(f'/proc/{pid}/fd')
    count = 0
    for name in os.listdir(directory):  # noqa: PTH208  # hot: 4x cheaper than Path.iterdir
        try:
            target = os.readlink(f'{directory}/{name}')  # noqa: PTH115  # hot, as above
        except FileNotFoundError:
            continue  # closed meanwhile
        count += target.startswith(PREFIXES)
    return count


def _holder(root: Root, pid: int, files: int) -> Holder:
    command = root.try_text(f'/proc/{pid}/comm')
    try:
        argv = root.read_bytes(f'/proc/{pid}/cmdline').decode(errors='replace').split('\0')
    except OSError:
        argv = []
    return Holder(pid, command if isinstance(command, str) else '?', guest_name(argv), files)


def guest_name(argv: list[str]) -> str | None:
    """Return the guest's name of a QEMU command line, or None.

    QEMU's ``-name`` takes ``NAME`` or ``guest=NAME,debug-threads=on``; a comma in a name is
    doubled (qemu util/keyval.c, qemu-options.hx).
    """
    for option, value in itertools.pairwise(argv):
        if option in ('-name', '--name'):
            parts = value.replace(',,', '\0').split(',')
            for part in parts:
                key, equals, name = part.partition('=')
                if key == 'guest' and equals:
                    return name.replace('\0', ',')
            if '=' not in parts[0]:
                return parts[0].replace('\0', ',') or None
    return None
