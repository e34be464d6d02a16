"""modprobe.d as kmod reads it: which line of which file says what about one module.

The rules are those of kmod 34 (libkmod/libkmod-config.c); older ones are named where they differ.
"""

import dataclasses
import errno
import fnmatch
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping

from nested_agent.facts import LineKind, Location, ModuleLine, Unread
from nested_agent.node import arguments
from nested_agent.node.arguments import NO_SUCH_MODULE
from nested_agent.node.root import Root, shown, unread

# libkmod.c default_config_paths, /usr/lib since kmod 31. The first directory's file masks.
DIRECTORIES = (
    '/etc/modprobe.d',
    '/run/modprobe.d',
    '/usr/local/lib/modprobe.d',
    '/usr/lib/modprobe.d',
    '/lib/modprobe.d',
)

_KINDS = {
    'alias': LineKind.ALIAS,
    'blacklist': LineKind.BLACKLIST,
    'install': LineKind.INSTALL,
    'options': LineKind.OPTIONS,
    'remove': LineKind.REMOVE,
    'softdep': LineKind.SOFTDEP,
}
# These name modules by fnmatch(3), the others literally.
_GLOBBED = (LineKind.ALIAS, LineKind.INSTALL, LineKind.REMOVE, LineKind.SOFTDEP)
#: The kinds of lines that hold options.
OPTIONS = (LineKind.OPTIONS, LineKind.KERNEL_ARGUMENT)
_IRRELEVANT = ('weakdep', 'include', 'config')  # change no options, or (since kmod 4) nothing

_STATEMENT = re.compile(r'[\t ]*([^\t ]+)(?:[\t ]+([^\t ]+)(?:[\t ](.+))?)?', re.DOTALL)
_MARK = re.compile(r'\\(.?)|\n', re.DOTALL)
_BALANCED = re.compile(r'(?:\[[^]]*]|[^][])*')
_STRAY_LIMIT = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of a modprobe.d directory; ``ignored`` says why kmod does not read it."""

    path: str
    text: str
    ignored: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """All files: those kmod reads, in its order, then the ignored ones.

    :ivar changed: seconds since the epoch of the last change of a directory or file
    """

    files: tuple[ConfigFile, ...]
    changed: float


def load(root: Root) -> Configuration | Unread:
    """Return the modprobe.d files of a node.

    Unread as soon as one that kmod should read cannot be: kmod run by the same user goes on
    without it, silently, and so shows another load than the one root will get.
    """
    found: dict[str, str | None] = {}
    strays: list[ConfigFile] = []
    names: set[str] = set()
    directories: set[tuple[int, int]] = set()
    changed = 0.0
    for directory in DIRECTORIES:
        try:
            status = root.stat(directory)
            listing = root.names(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            return unread(directory, error)
        if (status.st_dev, status.st_ino) in directories:
            continue  # /lib is /usr/lib
        directories.add((status.st_dev, status.st_ino))
        changed = max(changed, _changed(root, status))
        for name in listing:
            path = f'{directory}/{name}'
            # Before kmod 33 *.alias files were read too.
            if name.startswith('.') or not name.endswith('.conf'):
                strays += _stray(root, path)
                continue
            try:
                file = _stat(root, path)
                if _is_null(root, path, file):
                    found[path] = None
                elif file and not stat.S_ISDIR(file.st_mode):
                    changed = max(changed, _changed(root, file))
                    found[path] = root.read_text(path)
                else:
                    continue
            except OSError as error:
                if name not in names:
                    return unread(path, error)
            names.add(name)
    return Configuration((*arrange(found), *strays), changed)


def arrange(found: Mapping[str, str | None]) -> tuple[ConfigFile, ...]:
    """Return ``.conf`` files in the order kmod reads them, then those that others mask.

    :param found: text by path, in the order of :data:`DIRECTORIES`; None is a link to /dev/null
    """
    used: dict[str, ConfigFile] = {}
    masked: list[ConfigFile] = []
    for path, text in found.items():
        name = path.rpartition('/')[2]
        file = ConfigFile(path, text or '', None)
        first = used.setdefault(name, file)
        if first is not file:
            link = ', a link to /dev/null' if found[first.path] is None else ''
            masked.append(dataclasses.replace(file, ignored=f'masked by {shown(first.path)}{link}'))
    # strcmp(3) compares bytes.
    return (*(used[name] for name in sorted(used, key=os.fsencode)), *masked)


def lines(
    files: Iterable[ConfigFile], module: str, cmdline: str, suspects: Collection[str] = ()
) -> tuple[ModuleLine, ...]:
    """Return every line and kernel argument about a module: those in force in order, then others.

    :param module: its name with underscores
    :param cmdline: the kernel command line
    :param suspects: names, with underscores, that people write instead: what they set ``nested``
        with is returned as ignored, :data:`NO_SUCH_MODULE`
    """
    found: list[ModuleLine] = []
    words = (module.partition('_')[0], *suspects)
    for file in files:
        folded = file.text.lower().replace('-', '_')
        # Continuations and globs may hide the name; all else without it need not be parsed.
        if not any(word in folded for word in words) and not re.search(r'[*?[\\]', folded):
            continue
        for number, text in _logical_lines(file.text):
            line = _line(text, Location(shown(file.path), number), module, suspects)
            if line and file.ignored is None:
                found.append(line)
            elif line and line.ignored is None:
                found.append(dataclasses.replace(line, ignored=file.ignored))
    found += arguments.for_kmod(cmdline, module, suspects)
    found += arguments.refusals(cmdline, module)
    return tuple(sorted(found, key=lambda line: line.ignored is not None))


def options(found: Iterable[ModuleLine]) -> str:
    """Return the options of the lines in force as one text, joined as kmod does."""
    return ' '.join(line.text.replace('\t', ' ') for line in filter(sets, found))


def sets(line: ModuleLine) -> bool:
    """Whether a line adds options to the next load."""
    return line.kind in OPTIONS and line.ignored is None and line.text != ''


def first(found: Iterable[ModuleLine], kind: LineKind) -> ModuleLine | None:
    """Return the line in force of a kind of which kmod takes the first: install, softdep, alias."""
    return next((line for line in found if line.kind == kind and line.ignored is None), None)


def _changed(root: Root, status: os.stat_result) -> float:
    # In a captured tree ctime is when it was unpacked.
    return max(status.st_mtime, status.st_ctime) if root.live else status.st_mtime


def _is_null(root: Root, path: str, status: os.stat_result | None) -> bool:
    """Whether a file is /dev/null; a captured tree has the link, but not the device."""
    if status:
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)
    try:
        return root.path(path) == root.path('/dev/null')
    except OSError:
        return False


def _stat(root: Root, path: str) -> os.stat_result | None:
    """Return what a file is; None if nothing: kmod 34 passes a link to nowhere over.

    (Before, whether it masked later files of its name was up to an uninitialized variable.)
    """
    try:
        return root.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
    return None


def _stray(root: Root, path: str) -> Iterator[ConfigFile]:
    """Yield a file kmod does not look at; what cannot be read has no effect either."""
    hidden = path.rpartition('/')[2].startswith('.')
    try:
        text = root.read_text(path, _STRAY_LIMIT)
    except OSError:
        return
    yield ConfigFile(path, text, 'a hidden file' if hidden else 'not a .conf file')


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of the first physical line, line), as shared/util.c freadline_wrapped().

    A backslash joins lines, else it only disappears; a NUL byte ends the line it is in. (Before
    kmod 34 a backslash at the very end of a file became a byte 0xFF.)
    """
    parts: list[str] = []
    begin, number, at = 1, 1, 0
    for mark in _MARK.finditer(text):
        parts.append(text[at : mark.start()])
        at = mark.end()
        if mark[0] == '\n':
            yield begin, ''.join(parts).partition('\0')[0]
            parts.clear()
            number += 1
            begin = number
        elif mark[1] == '\n':
            number += 1
        else:
            parts.append(mark[1])
    yield begin, ''.join((*parts, text[at:])).partition('\0')[0]


def _line(text: str, where: Location, module: str, suspects: Collection[str]) -> ModuleLine | None:
    """Return what a logical line says about the module, or None."""
    match = _STATEMENT.match(text)
    if match is None or match[2] is None or match[1].startswith('#'):
        return None
    keyword, name, rest = match.groups()
    plain = _plain(name)
    kind = _KINDS.get(keyword)
    ignored = None
    if kind is None:
        if keyword in _IRRELEVANT or plain != module:
            return None
        kind = _KINDS.get(keyword.lower().lstrip('\ufeff'), LineKind.UNKNOWN)
        ignored = f'{keyword!r} is no keyword of modprobe.d'
    elif _matches(kind, plain, module):
        if kind is LineKind.ALIAS and rest and _plain(rest.split()[0]) == module:
            return None
        if rest is None and kind is not LineKind.BLACKLIST:
            ignored = 'nothing follows the name'
    elif kind is LineKind.ALIAS:
        return None
    elif arguments.resembles(name, module) or (
        kind is LineKind.OPTIONS and plain in suspects and arguments.names_parameter(rest or '')
    ):
        ignored = NO_SUCH_MODULE
    else:
        return None
    return ModuleLine(kind, where, name, rest or '', ignored)


def _plain(name: str) -> str | None:
    """Return a name with underscores for dashes, except in ``[a-z]``; None if kmod rejects it."""
    if not _BALANCED.fullmatch(name):
        return None
    return re.sub(r'\[[^]]*]|-', lambda match: '_' if match[0] == '-' else match[0], name)


def _matches(kind: LineKind, plain: str | None, module: str) -> bool:
    if plain is None:
        return False
    if kind in _GLOBBED:
        return fnmatch.fnmatchcase(module, plain.replace('[^', '[!'))
    return plain == module
