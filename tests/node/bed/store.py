"""The cache of what is slow to build, shared by every test process of this machine."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_SECONDS = 600.0


def default_root() -> Path:
    """Return where the cache is, by the environment as it is now."""
    if override := os.environ.get('NESTED_AGENT_TESTBED_CACHE'):
        return Path(override).absolute()
    cache = os.environ.get('XDG_CACHE_HOME') or Path('~/.cache').expanduser()
    return Path(cache, 'nested-agent', 'testbed').absolute()


class Store:
    """Directories that are complete or absent, each built once under its key.

    A process keeps a shared lock on every entry that it uses until it ends, so that no
    other process prunes what a running node stands on.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._held: dict[str, int] = {}
        self._failed: dict[str, Exception] = {}

    def entry(self, kind: str, key: str, build: Callable[[Path], None], *, keep: int = 2) -> Path:
        """Return the directory of ``kind`` and ``key``, which ``build`` fills if it is new.

        Of its kind, the ``keep`` most recently used ones survive. Raises what ``build``
        raises, again and at once if it is asked for again.
        """
        name = f'{kind}-{key}'
        path = self.root / name
        if name in self._held:
            return path
        if name in self._failed:
            raise self._failed[name]
        lock = self._lock(name)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            while not path.is_dir():
                # Not with the lock of its users: they keep it.
                self._build(path, build)
            os.utime(path)
        except Exception as error:
            self._failed[name] = error
            os.close(lock)
            raise
        self._held[name] = lock
        self._prune(kind, keep)
        return path

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a private directory that is gone afterwards, at the latest in a later run."""
        parent = self.root / 'scratch'
        parent.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=parent))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)

    def _lock(self, name: str) -> int:
        locks = self.root / 'locks'
        locks.mkdir(parents=True, exist_ok=True)
        return os.open(locks / name, os.O_RDWR | os.O_CREAT, 0o644)

    def _build(self, path: Path, build: Callable[[Path], None]) -> None:
        lock = self._lock(f'{path.name}.build')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.is_dir():
                return
            with self.scratch() as scratch:
                new = scratch / 'new'
                new.mkdir()
                build(new)
                new.rename(path)
        finally:
            os.close(lock)

    def _prune(self, kind: str, keep: int) -> None:
        entries = sorted(self.root.glob(f'{kind}-*'), key=_last_used)
        for path in entries[:-keep]:
            if path.name not in self._held:
                self._discard(path.name)
        for path in self.root.glob('scratch/*'):
            self._sweep(path)

    def _discard(self, name: str) -> None:
        lock = self._lock(name)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self.scratch() as scratch:
                # At once, so that an entry is never seen half removed.
                (self.root / name).rename(scratch / name)
        except (BlockingIOError, FileNotFoundError):
            return
        finally:
            os.close(lock)

    def _sweep(self, path: Path) -> None:
        """Remove what a killed process left, but not what one has just begun."""
        if time.time() - _last_used(path) < STALE_SECONDS:
            return
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            return
        finally:
            os.close(lock)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # Another process was faster.
        return 0.0
