"""Module options inside the boot image: udev loads a module from there before / is mounted."""

import dataclasses
import os
import re
import stat

from nested_agent.facts import Initramfs, Kernel, LineKind, Unread
from nested_agent.node import arguments, cpio, modprobe_d
from nested_agent.node.attribution import attributed
from nested_agent.node.root import Root, unread

# Debian and Ubuntu, dracut, SUSE, kernel-install (with and without the machine id), Gentoo.
IMAGES = (
    '/boot/initrd.img-{release}',
    '/boot/initramfs-{release}.img',
    '/boot/initrd-{release}',
    '/boot/{machine}/{release}/initrd',
    '/boot/{release}/initrd',
    '/boot/initramfs-{release}',
)


_MACHINE = re.compile(r'[0-9a-f]{32}')  # machine-id(5)


@dataclasses.dataclass(frozen=True, slots=True)
class _Content:
    """What an image holds of one module, whatever the kernel command line says."""

    has_module: bool
    files: tuple[modprobe_d.ConfigFile, ...]


# An image takes a second to read and does not change while a daemon runs.
_read_before: dict[tuple[str | int, ...], _Content | Unread] = {}


def read(
    root: Root, module: str, kernel: Kernel, changed_since: float
) -> Initramfs | Unread | None:
    """Return the module's options in the image the running kernel was booted with.

    :param changed_since: seconds since the epoch of the last change to modprobe.d
    :returns: None when there is no image or it is newer, so that it cannot be stale
    """
    if isinstance(kernel.release, Unread):
        return kernel.release
    machine = root.try_text('/etc/machine-id')
    known = isinstance(machine, str) and _MACHINE.fullmatch(machine)
    for pattern in IMAGES:
        if '{machine}' in pattern and not known:
            continue
        path = pattern.format(release=kernel.release, machine=machine)
        try:
            status = root.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return unread(path, error)
        if status.st_mtime > changed_since:
            return None
        times = status.st_mtime_ns, status.st_ctime_ns
        key = (path, status.st_dev, status.st_ino, status.st_size, *times, module)
        if key not in _read_before:
            content = _examine(root, path, module)
            if isinstance(content, Unread) and content.error != 'Malformed':
                return content  # may go better next time
            _read_before.clear()
            _read_before[key] = content
        return _evaluate(path, _read_before[key], module, kernel)
    return None


def _evaluate(
    path: str, content: _Content | Unread, module: str, kernel: Kernel
) -> Initramfs | Unread:
    if isinstance(content, Unread):
        return content
    if isinstance(kernel.cmdline, Unread):
        return kernel.cmdline
    lines = modprobe_d.lines(content.files, module, kernel.cmdline)
    options = arguments.split(modprobe_d.options(lines))
    return Initramfs(
        path,
        content.has_module,
        tuple(
            line
            for line in attributed(lines, options)
            if line.kind is LineKind.OPTIONS and not line.ignored
        ),
        options,
    )


def _examine(root: Root, path: str, module: str) -> _Content | Unread:
    spelled = re.escape(module).replace('_', '[-_]')
    is_module = re.compile(rf'.*/{spelled}\.ko(?:\.\w+)?')
    has_module = False
    texts: dict[str, str | None] = {}
    try:
        fd = root.open_regular(path)
        try:
            for entry in cpio.entries(root, fd, _wanted):
                if entry.data is None:
                    has_module = has_module or is_module.fullmatch(entry.path) is not None
                elif not stat.S_ISDIR(entry.mode):
                    texts[entry.path] = _text(entry.path, entry.mode, entry.data)
        finally:
            os.close(fd)
    except cpio.DamagedError as error:
        return Unread(path, 'Malformed', str(error))
    except OSError as error:
        found = unread(path, error)
        # It may be zstd that is not there, and not the image.
        return dataclasses.replace(found, detail=f'{found.detail}: {error.filename or path}')
    ordered = sorted(texts, key=lambda name: modprobe_d.DIRECTORIES.index(name.rpartition('/')[0]))
    return _Content(has_module, modprobe_d.arrange({name: texts[name] for name in ordered}))


def _wanted(path: str) -> bool:
    directory, _, name = path.rpartition('/')
    # The directories too: one that is a link would leave its files unseen.
    return path in modprobe_d.DIRECTORIES or (
        directory in modprobe_d.DIRECTORIES and name.endswith('.conf') and name[0] != '.'
    )


def _text(path: str, mode: int, data: bytes) -> str | None:
    """Return a configuration file's text; None for a link to /dev/null."""
    text = data.decode(errors='replace')
    if not stat.S_ISLNK(mode):
        return text
    if text == '/dev/null':
        return None
    raise cpio.DamagedError(f'{path} is a link to {text}, which is not followed in an image')
