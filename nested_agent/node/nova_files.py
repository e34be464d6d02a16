"""Which configuration files a nova-compute reads, in oslo.config's order: the last one wins.

After oslo_config/cfg.py: ``ConfigOpts._parse_config_files``, ``find_config_files`` and
``find_config_dirs`` for project ``nova`` and program ``nova-compute``.
"""

import errno
import fnmatch
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from nested_agent.facts import Unread
from nested_agent.node import nova_argv
from nested_agent.node.root import LINK_LIMIT, Root, unread

PROJECT = 'nova'
# RDO's oslo.config is patched to read the distribution's defaults before all others.
DISTRIBUTION_FILE = '/usr/share/nova/nova-dist.conf'


class Place(NamedTuple):
    """What the paths of an argv are relative to.

    :ivar directory: the working directory; None when it is not known
    :ivar home: the home directory; None when it is not known, then it is not searched
    """

    directory: str | None
    home: str | None


class Order(NamedTuple):
    """What a nova-compute reads.

    :ivar files: in the order they are read
    :ivar directories: what was searched for them; the time of a directory tells of a file that
        was taken out of it
    """

    files: list[str]
    directories: list[str]


def in_order(root: Root, arguments: Sequence[str], place: Place) -> Order | Unread:
    """Return the files that nova-compute reads when started with ``arguments``.

    Default files only without ``--config-file``, default directories only without
    ``--config-dir``, and both before what the arguments name. Files named by the arguments are
    returned whether they exist or not. Unread: a default place of which cannot be told whether
    anything is there, a ``--config-dir`` that does not exist (nova-compute does not start then) or
    cannot be listed, or arguments that make no sense.

    Of the directories searched for files that are not there only those that hold nothing but
    nova's configuration are returned: ``/etc`` and a home change all the time. So a ``nova.conf``
    taken out of one of those goes unnoticed, and so does a directory that was itself exchanged
    (renamed, mounted over).
    """
    given = nova_argv.named_files(tuple(arguments))
    if isinstance(given, Unread):
        return given
    order = Order([], [])
    if not nova_argv.gives(arguments, '--config-file'):
        found = _search(root, '.conf', place.home, order.directories)
        if isinstance(found, Unread):
            return found
        order.files.extend(found)
    if not nova_argv.gives(arguments, '--config-dir'):
        found = _search(root, '.conf.d', place.home, order.directories)
        if isinstance(found, Unread):
            return found
        for directory in found:
            problem = _list(root, directory, order)
            if problem is not None:
                return problem
    for option, value in given:
        path = _absolute(value, place)
        if isinstance(path, Unread):
            return path
        if option == 'file':
            # As oslo.config: made absolute as text, before any link is followed.
            order.files.append(posixpath.normpath(path))
            continue
        try:
            root.stat(path)
        except OSError as error:
            return unread(path, error)
        problem = _list(root, path, order)
        if problem is not None:
            return problem
    return Order(order.files, list(dict.fromkeys(order.directories)))


def same(root: Root, other: Root, paths: Iterable[str]) -> bool:
    """Whether all the paths lead to the same below both roots, if only to the same error.

    That two roots are one directory does not tell: in another mount namespace other files can be
    mounted below it.
    """
    # Twice: a file may be replaced between the two looks at it.
    return all(
        any(_identity(root, path) == _identity(other, path) for _ in range(2)) for path in paths
    )


def _identity(root: Root, path: str) -> tuple[int, int] | int | None:
    try:
        got = root.stat(path)
    except OSError as error:
        return error.errno
    if stat.S_ISCHR(got.st_mode):
        return 0, got.st_rdev  # /dev/null, which PrivateDevices= makes anew
    return got.st_dev, got.st_ino


def changed(root: Root, path: str) -> float | Unread:
    """Return when a file or directory was last changed, or a link that leads to it re-pointed.

    The later of mtime and ctime, in seconds since the epoch.
    """
    try:
        newest = max(_times(root.stat(path)))
        for link in _links(root, path):
            newest = max(newest, *_times(link))
    except OSError as error:
        return unread(path, error)
    return newest / 1e9


def _times(got: os.stat_result) -> tuple[int, int]:
    return got.st_mtime_ns, got.st_ctime_ns


def _links(root: Root, path: str) -> Iterator[os.stat_result]:
    """Yield lstat(2) of every symbolic link that is followed on the way to ``path``."""
    todo = path.split('/')[::-1]
    here = '/'  # never with a link in it
    links = 0
    while todo:
        part = todo.pop()
        real = root.path(here) / part
        got = real.lstat()
        if part in ('', '.') or not stat.S_ISLNK(got.st_mode):
            here = posixpath.normpath(posixpath.join(here, part))
            continue
        yield got
        links += 1
        if links > LINK_LIMIT:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(real)  # noqa: PTH115  # text: it may point out of the root
        here = '/' if target.startswith('/') else here
        todo.extend(target.split('/')[::-1])


def home(root: Root, uid: int | None) -> str | None:
    """Return a user's home directory by the root's own passwd, as ``~`` without $HOME."""
    if uid is None:
        return None
    passwd = root.try_text('/etc/passwd')
    if isinstance(passwd, Unread):
        return None
    for line in passwd.splitlines():
        fields = line.split(':')
        if len(fields) > 5 and fields[2] == str(uid):
            usable = fields[5].startswith('/') and '\0' not in fields[5]
            return fields[5] if usable else None
    return None


def _search(
    root: Root, extension: str, user_home: str | None, searched: list[str]
) -> list[str] | Unread:
    """Return the first match for each of project and program. $SNAP is not known here.

    :param searched: gains the directories where a better match would have been
    """
    directories = ['/etc/nova', '/etc']
    own = ['/etc/nova']
    if user_home is not None:
        own.append(posixpath.join(user_home, f'.{PROJECT}'))
        directories = [own[1], user_home, *directories]
    found = []
    path = DISTRIBUTION_FILE
    try:
        if extension == '.conf' and root.present(path):
            found.append(path)
        for name in (PROJECT, nova_argv.NAME):
            for directory in directories:
                path = posixpath.join(directory, name + extension)
                if root.present(path):
                    found.append(path)
                    break
                if directory in own and root.present(directory):
                    searched.append(directory)
    except OSError as error:
        return unread(path, error)
    return found


def _list(root: Root, directory: str, order: Order) -> Unread | None:
    """Add ``*.conf`` of a directory as glob(3) finds them: sorted, without hidden files."""
    order.directories.append(directory)
    try:
        names = root.names(directory)
    except OSError as error:
        return None if error.errno == errno.ENOTDIR else unread(directory, error)
    chosen = [name for name in fnmatch.filter(names, '*.conf') if not name.startswith('.')]
    order.files.extend(posixpath.normpath(posixpath.join(directory, name)) for name in chosen)
    return None


def _absolute(path: str, place: Place) -> str | Unread:
    if path == '~' or path.startswith('~/'):
        if place.home is None:
            return Unread(path, 'NotAvailable', 'the home directory of nova-compute is not known')
        path = place.home + path[1:]
    if not path.startswith('/'):
        if place.directory is None:
            return Unread(path, 'NotAvailable', 'the directory nova-compute runs in is not known')
        path = posixpath.join(place.directory, path)
    return path
