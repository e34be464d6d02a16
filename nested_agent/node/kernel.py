"""The running kernel: its release, its command line, its boot."""

from nested_agent.facts import Kernel, Unread
from nested_agent.node.root import Root


def read(root: Root) -> Kernel:
    """Return the release (``uname -r``), the command line, and whether modules can be loaded.

    A sosreport has no ``osrelease``: there ``sos_commands/kernel/uname_-a`` is asked.
    """
    release = root.try_text('/proc/sys/kernel/osrelease')
    if isinstance(release, Unread) and not root.live:
        uname = root.try_text('/sos_commands/kernel/uname_-a')
        if isinstance(uname, str) and len(uname.split()) > 2:
            release = uname.split()[2]
    return Kernel(
        release or _empty('/proc/sys/kernel/osrelease'),
        root.try_text('/proc/cmdline'),
        _modules_disabled(root),
    )


def _modules_disabled(root: Root) -> bool | Unread | None:
    """Return the switch that no root can turn back (kernel/module/main.c)."""
    name = '/proc/sys/kernel/modules_disabled'
    text = root.try_text(name)
    if isinstance(text, Unread):
        return None if text.error in ('ENOENT', 'ENOTDIR') else text
    if text not in ('0', '1'):
        return Unread(name, 'Malformed', f'{text[:40]!r} is neither 0 nor 1')
    return text == '1'


def boot_id(root: Root) -> str | Unread:
    """Return the random id of this boot (drivers/char/random.c)."""
    name = '/proc/sys/kernel/random/boot_id'
    return root.try_text(name) or _empty(name)


def _empty(name: str) -> Unread:
    return Unread(name, 'Malformed', 'the file is empty')
