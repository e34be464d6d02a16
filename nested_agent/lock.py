"""Locks between processes: files in the state directory.

Not in the run directory, which systemd removes with its locks when the daemon is stopped; and for
root alone, since anybody who can open a file can lock it.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nested_agent.exceptions import LockTimeoutError

#: Whoever changes the node holds it exclusively, whoever needs the module to stay as it is, shared.
REMEDIATION = 'remediation.lock'

# Seconds between two looks: flock(2) waits for ever or not at all.
_PAUSE = 0.05


@contextlib.contextmanager
def held(path: Path, *, exclusive: bool, timeout: float) -> Iterator[None]:
    """Hold a lock, made if it is missing, as long as the context lasts.

    The kernel lets go of it if the process dies.

    :param timeout: seconds to wait for it
    :raises LockTimeoutError: others hold it for longer
    :raises OSError: the file cannot be opened or made
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, path, timeout)
        yield
    finally:
        os.close(descriptor)


def held_exclusively(path: Path) -> bool:
    """Whether somebody holds a lock exclusively; False also where that cannot be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, mode: int, path: Path, timeout: float) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise LockTimeoutError(f'{path} is held for more than {timeout:g} s') from None
        time.sleep(_PAUSE)
