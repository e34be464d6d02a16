"""Files of the node replaced whole or not at all, by what a rename gives."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from nested_agent.durable import sync_directory
from nested_agent.exceptions import StepError
from nested_agent.node import mounts
from nested_agent.node.root import READ_LIMIT, Root

#: Of a file that was not there before, and has no neighbour to be like.
MODE = 0o644
# They vouch for a content: the kernel makes those of a new one itself (man evmctl).
OF_THE_CONTENT = frozenset({'security.ima', 'security.evm'})
ACL = 'system.posix_acl_'
#: Bytes a file system has to have left beside the new content: names, attributes.
MARGIN = 64 << 10
SENTENCES = {
    errno.ENOSPC: 'no space is left on its file system; free some',
    errno.EDQUOT: 'the disk quota is used up; free some space, or raise it',
    errno.EROFS: 'it is mounted read-only, or not in ReadWritePaths= of the unit nested-agent',
    errno.EACCES: 'permission is denied; this takes root, and ReadWritePaths= of its unit',
    errno.EPERM: 'not permitted; the file or its directory may be immutable (see lsattr, chattr)',
    errno.EBUSY: 'the file is a mount point; change the file that is mounted over it',
    errno.EMLINK: (
        'the file has other names (hard links), which would keep the old content; make them '
        'symbolic links'
    ),
    errno.ENOENT: 'the directory is not there',
    errno.ENOTDIR: 'what should be its directory is none',
}


@contextlib.contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Turn an OSError into a StepError that says what to do about it."""
    try:
        yield
    except OSError as error:
        raise StepError(f'{path}: {sentence(error)}') from error


def sentence(error: OSError) -> str:
    """Return what an error means for who has to mend it."""
    name = errno.errorcode.get(error.errno or 0, 'unknown error')
    text = SENTENCES.get(error.errno or 0, error.strerror or str(error))
    return f'{text} ({name})'


def digest(content: bytes | None) -> str | None:
    """Return the SHA-256 of a content in hexadecimal, None for no file."""
    return None if content is None else hashlib.sha256(content).hexdigest()


def real(root: Root, name: str) -> Path:
    """Return the file itself, every symbolic link on the way followed; it need not be there.

    :raises OSError: the links lead in a circle
    """
    path = root.path(name)
    try:
        return path.resolve(strict=False)
    except RuntimeError as error:  # how Python until 3.12 says ELOOP
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from error


def name(root: Root, path: Path) -> str:
    """Return what the node calls a file that :func:`real` returned."""
    return f'/{path.relative_to(root.base.resolve())}'


def read(path: Path, limit: int = READ_LIMIT) -> bytes | None:
    """Return the content of a regular file, None where there is nothing.

    :raises OSError: it cannot be read, is none, or is larger than ``limit`` bytes
    """
    try:
        return Root().read_bytes(str(path), limit)
    except FileNotFoundError:
        return None


def check(root: Root, path: Path, size: int) -> None:
    """Find out what would keep a file from being replaced, without changing anything.

    :param path: as :func:`real` returned it
    :param size: bytes of the new content
    :raises OSError: what replacing it would end with
    """
    if not stat.S_ISDIR(path.parent.stat().st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if mounts.is_mount_point(root, str(path)) is True:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    system = os.statvfs(path.parent)
    if system.f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if path.exists() and path.stat().st_nlink > 1:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
    for each in (path.parent, path):
        # For root this is false only where the file is immutable.
        if each.exists() and not os.access(each, os.W_OK):
            code = errno.EACCES if os.geteuid() else errno.EPERM
            raise OSError(code, os.strerror(code))
    free = system.f_bavail if os.geteuid() else system.f_bfree
    if system.f_blocks and free * system.f_frsize < size + MARGIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def replace(
    path: Path, content: bytes, temporary: Path, like: Path | None = None, mode: int = MODE
) -> None:
    """Put a new content in the place of a file, durably; the old one if anything fails.

    :param temporary: a name on the same file system; what is there is overwritten
    :param like: whose owner, mode and extended attributes the new file has
    :param mode: without ``like``
    :raises OSError: it failed, and ``temporary`` is gone
    """
    try:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, content)
            _dress(fd, like, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
        for directory in {path.parent, temporary.parent}:
            sync_directory(directory)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def copy(path: Path, copied: Path) -> None:
    """Make a second file of the same content, owner, mode, attributes and time.

    :raises OSError: it failed, and ``copied`` is gone
    """
    content = Root().read_bytes(str(path))
    got = path.stat()
    try:
        fd = os.open(copied, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, content)
            _dress(fd, path)
            os.utime(fd, ns=(got.st_atime_ns, got.st_mtime_ns))
            os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            copied.unlink(missing_ok=True)
        raise


def _write(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]


def _dress(fd: int, like: Path | None, mode: int = MODE) -> None:
    if like is None:
        os.fchmod(fd, mode)
        return
    got = like.stat()
    os.fchown(fd, got.st_uid, got.st_gid)
    wanted, found = _attributes(like), _attributes(fd)
    for name in found.keys() - wanted.keys():
        if name.startswith(ACL):  # inherited from the directory
            os.removexattr(fd, name)
    for name, value in wanted.items():
        if found.get(name) != value:
            os.setxattr(fd, name, value)
    os.fchmod(fd, stat.S_IMODE(got.st_mode))


def _attributes(file: int | Path) -> dict[str, bytes]:
    try:
        names = set(os.listxattr(file)) - OF_THE_CONTENT
        return {name: os.getxattr(file, name) for name in names}
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
