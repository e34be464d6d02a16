"""Which configuration files a nova-compute reads, in oslo.config's order: the last one wins.

After oslo_config/cfg.py: ``ConfigOpts._parse_config_files``, ``find_config_files`` and
``find_config_dirs`` for project ``nova`` and program ``nova-compute``.
"""

import errno
import fnmatch
import posixpath
from collections.abc import Sequence
from typing import NamedTuple

from nested_agent.facts import Unread
from nested_agent.node import nova_argv
from nested_agent.node.root import Root, unread

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


def in_order(root: Root, arguments: Sequence[str], place: Place) -> list[str] | Unread:
    """Return the files that nova-compute reads when started with ``arguments``.

    Default files only without ``--config-file``, default directories only without
    ``--config-dir``, and both before what the arguments name. Files named by the arguments are
    returned whether they exist or not. Unread: a ``--config-dir`` that does not exist (nova-compute
    does not start then) or cannot be listed, or arguments that make no sense.
    """
    given = nova_argv.named_files(tuple(arguments))
    if isinstance(given, Unread):
        return given
    files = (
        [] if nova_argv.gives(arguments, '--config-file') else _search(root, '.conf', place.home)
    )
    if not nova_argv.gives(arguments, '--config-dir'):
        for directory in _search(root, '.conf.d', place.home):
            listed = _listing(root, directory)
            if isinstance(listed, Unread):
                return listed
            files += listed
    for option, value in given:
        path = _absolute(value, place)
        if isinstance(path, Unread):
            return path
        if option == 'file':
            # As oslo.config: made absolute as text, before any link is followed.
            files.append(posixpath.normpath(path))
            continue
        try:
            root.stat(path)
        except OSError as error:
            return unread(path, error)
        listed = _listing(root, path)
        if isinstance(listed, Unread):
            return listed
        files += listed
    return files


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


def _search(root: Root, extension: str, user_home: str | None) -> list[str]:
    """Return the first match for each of project and program. $SNAP is not known here."""
    directories = ['/etc/nova', '/etc']
    if user_home is not None:
        directories = [posixpath.join(user_home, f'.{PROJECT}'), user_home, *directories]
    found = []
    if extension == '.conf' and root.exists(DISTRIBUTION_FILE):
        found.append(DISTRIBUTION_FILE)
    for name in (PROJECT, nova_argv.NAME):
        paths = (posixpath.join(directory, name + extension) for directory in directories)
        match = next((path for path in paths if root.exists(path)), None)
        if match is not None:
            found.append(match)
    return found


def _listing(root: Root, directory: str) -> list[str] | Unread:
    """Return ``*.conf`` of a directory as glob(3) does: sorted, without hidden files."""
    try:
        names = root.names(directory)
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            return []
        return unread(directory, error)
    chosen = [name for name in fnmatch.filter(names, '*.conf') if not name.startswith('.')]
    return [posixpath.normpath(posixpath.join(directory, name)) for name in chosen]


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
