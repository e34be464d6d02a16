"""Tells when something verified has changed on the node (inotify).

Directories are watched, never files: an editor's save replaces the file. A path that is not
there yet is watched for from the nearest directory above it that is.
"""

import errno
import logging
import os
from collections.abc import Collection
from pathlib import Path

from inotify_simple import INotify, flags

LOG = logging.getLogger(__name__)

_MASK = (
    flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.CLOSE_WRITE
    | flags.ATTRIB
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
)
_ANY = ''


class Watcher:
    """Watches a set of paths, which may change from time to time.

    :raises OSError: the kernel gives no inotify instance
    """

    def __init__(self) -> None:
        self._inotify = INotify(nonblocking=True)
        self._names: dict[str, set[str]] = {}  # directory: names in it that matter
        self._directories: dict[int, str] = {}  # watch descriptor: directory
        self._failed: set[str] = set()

    def fileno(self) -> int:
        """Readable when something happened in a watched directory, relevant or not."""
        return int(self._inotify.fileno())

    def close(self) -> None:
        """Watch nothing any more."""
        self._inotify.close()

    def follow(self, paths: Collection[str]) -> bool:
        """Watch exactly these paths; a directory stands for everything in it.

        A directory that cannot be watched is logged once; the interval is what is left then.

        :returns: whether anything is watched that was not before
        """
        wanted: dict[str, set[str]] = {}
        for path in paths:
            for each in {path, os.path.realpath(path)}:
                for directory, name in _watches(each):
                    wanted.setdefault(directory, set()).add(name)
        new = {
            (directory, name)
            for directory, names in wanted.items()
            for name in names - self._names.get(directory, set())
        }
        for descriptor, directory in list(self._directories.items()):
            if directory not in wanted:
                del self._directories[descriptor]
                self._remove(descriptor)
        for directory in wanted:
            self._add(directory)
        self._names = wanted
        return bool(new)

    def drain(self) -> set[str]:
        """Return the paths that changed since the last time; those that matter only."""
        changed = set()
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                changed.add('(more than the kernel kept)')
                continue
            directory = self._directories.get(event.wd)
            if directory is None:
                continue
            if event.mask & flags.IGNORED:
                # The directory is gone; the next follow() starts from what is above it.
                del self._directories[event.wd]
                changed.add(directory)
                continue
            names = self._names.get(directory, set())
            if _ANY in names or event.name in names or not event.name:
                changed.add(str(Path(directory, event.name)))
        return changed

    def _add(self, directory: str) -> None:
        try:
            # Adding again gives the same descriptor, or a new one if it is a new directory.
            descriptor = self._inotify.add_watch(directory, _MASK)
        except OSError as error:
            if directory not in self._failed and error.errno != errno.ENOENT:
                self._failed.add(directory)
                LOG.warning(
                    '%s cannot be watched (%s): a change is seen at the next interval',
                    directory,
                    error.strerror,
                )
            return
        self._failed.discard(directory)
        self._directories[descriptor] = directory

    def _remove(self, descriptor: int) -> None:
        try:
            self._inotify.rm_watch(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: it went with its directory
                raise


def _watches(path: str) -> list[tuple[str, str]]:
    """Return directory and name to watch for a path, and all of it if it is a directory."""
    found = [(path, _ANY)] if _is_directory(path) else []
    child = Path(path)
    for parent in child.parents:
        if _is_directory(parent):
            return [*found, (str(parent), child.name)]
        child = parent
    return found


def _is_directory(path: str | Path) -> bool:
    """Whether it is one; False also where that may not be known, which Path.is_dir() raises."""
    return os.path.isdir(path)  # noqa: PTH112
