"""Small JSON files that survive a power cut: whole, or as they were before."""

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from nested_agent.exceptions import RecordError

#: Bytes; far above what is written here.
LIMIT = 16 << 20
#: Of a file that is to take another's place.
SUFFIX = '.new'
#: Nobody takes so long to write one.
ABANDONED_SECONDS = 3600.0


def write_json(path: Path, data: object) -> None:
    """Replace a file, in one step, and have it on the disk when this returns.

    Every local user may read it. The directory is made if it is missing.

    :raises RecordError: it could not be written; the old one is as it was
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace(path, json.dumps(data).encode())
        sync_directory(path.parent)
    except OSError as error:
        raise RecordError(f'{path} cannot be written: {error.strerror}') from error


def replace(path: Path, data: bytes, *, synced: bool = True) -> None:
    """Replace a file, in one step; every local user may read it.

    :param synced: whether the new content is on the disk before it takes the old one's place
    :raises OSError: it could not be written; the old one is as it was
    """
    fd, name = tempfile.mkstemp(prefix=f'.{path.name}.', suffix=SUFFIX, dir=path.parent)
    try:
        with os.fdopen(fd, 'wb') as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, 0o644)
            if synced:
                os.fsync(fd)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def sweep(directory: Path, before: float, name: str = '*') -> None:
    """Remove what processes left in a directory that were killed while they replaced a file.

    :param before: seconds since the epoch; what is younger may be in use
    :param name: of the file, where a directory is not ours alone
    """
    for path in directory.glob(f'.{name}.*{SUFFIX}'):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def remove(path: Path) -> None:
    """Have no such file when this returns, also after a power cut.

    :raises RecordError: it cannot be removed
    """
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise RecordError(f'{path} cannot be removed: {error.strerror}') from error


def sync_directory(path: Path) -> None:
    """Have renames and removals in a directory on the disk when this returns.

    :raises OSError: as fsync(2)
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_json(path: Path) -> Any:
    """Return what a file holds, or None if there is none.

    :raises RecordError: it is there but cannot be read or understood; names it
    """
    try:
        return json.loads(content(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f'{path}: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f'{path} cannot be understood: {error}') from error


def stamp(path: Path) -> tuple[int, ...]:
    """Return what tells a file from the one that replaces it; nothing where it cannot be told."""
    try:
        got = path.stat()
    except OSError:
        return ()
    return got.st_dev, got.st_ino, got.st_size, got.st_mtime_ns, got.st_ctime_ns


def content(path: Path, limit: int = LIMIT) -> bytes:
    """Return the bytes of a regular file.

    :raises OSError: as open(2) and read(2)
    :raises ValueError: it is no regular file, or larger than ``limit`` bytes
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, 'rb') as opened:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError('not a regular file')
        data = opened.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f'larger than {limit} bytes')
    return data
