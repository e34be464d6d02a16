"""One remediation at a time on a node, across the daemon and the commands."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nested_agent.exceptions import RemediationBusyError, RemediationError

#: Seconds to wait for the lock: others look whether it is held for a moment only.
PATIENCE = 2.0


class Lock:
    """A file lock: it ends with the process that holds it, however that ends."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / 'remediation.lock'
        self.held = False  # by this object

    @contextlib.contextmanager
    def held_here(self) -> Iterator[None]:
        """Hold it.

        :raises RemediationBusyError: somebody else does
        :raises RemediationError: it cannot be made
        """
        descriptor = self._open()
        try:
            if not _lock(descriptor, PATIENCE):
                raise RemediationBusyError('another remediation is under way on this node')
            self.held = True
            yield
        finally:
            self.held = False
            os.close(descriptor)

    def held_by_another(self) -> bool:
        """Whether another process holds it; False also where that cannot be told."""
        if self.held:
            return False
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _lock(descriptor, 0.0)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RemediationError(f'{self._path}: {error.strerror}') from error


def _lock(descriptor: int, patience: float) -> bool:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        else:
            return True
