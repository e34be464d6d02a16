"""Our configuration files, each by itself.

oslo.config merges them, and of an error then names the last one, whichever it is in
(``_Namespace._get_file_value``). Of an option that nobody knows it says nothing.
"""

import dataclasses
import difflib
import glob
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from oslo_config import cfg

Known = Mapping[str, Collection[str]]

#: Options of every command line that name what is read.
NAMING = ('--config-file', '--config-dir')

DEFAULT = 'DEFAULT'

#: So begin the names of groups of the libraries.
OTHERS = 'oslo_'

#: What may be shown: of a line without "=" the name may end in half a password.
_NAME = re.compile(r'[\w.-]{1,64}')


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """One file, without the values, which may be passwords.

    :ivar options: the names it sets, by group
    """

    path: str
    options: Known


def read(conf: cfg.ConfigOpts, arguments: Sequence[str]) -> tuple[File, ...]:
    """Return the files that were read: of an option that several set the last counts.

    :param conf: read with these arguments
    :raises OSError, oslo_config.cfg.Error: one cannot be read any more
    """
    return tuple(_read(path) for path in dict.fromkeys(_paths(conf, arguments)))


def _paths(conf: cfg.ConfigOpts, arguments: Sequence[str]) -> Iterator[str]:
    """Yield them in the order of ``ConfigOpts._parse_config_files``."""
    named_files = list(given(arguments))
    named = {option for option, _ in named_files}
    if '--config-file' not in named:
        yield from conf.default_config_files
    if '--config-dir' not in named:
        for directory in conf.default_config_dirs:
            yield from _listed(directory)
    for option, value in named_files:
        yield from [value] if option == '--config-file' else _listed(value)


def given(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield ``--config-file`` and ``--config-dir`` of a command line, with absolute paths."""
    return iter(split(arguments)[0])


def split(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what :func:`given` yields, and the rest of the command line."""
    named, rest = [], []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition('=')
        if option in NAMING:
            path = value if equals else next(words, '')
            named.append((option, os.path.abspath(os.path.expanduser(path))))  # noqa: PTH100, PTH111
        else:
            rest.append(word)
    return named, rest


def _listed(directory: str) -> list[str]:
    return sorted(glob.glob(f'{glob.escape(directory)}/*.conf'))  # noqa: PTH207  # text, as oslo


def _read(path: str) -> File:
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(path, sections).parse()
    options: dict[str, set[str]] = {}
    for group, values in sections.items():
        options.setdefault(group if group == DEFAULT else group.lower(), set()).update(values)
    return File(path, options)


def origin(files: Sequence[File], group: str, option: cfg.Opt) -> str | None:
    """Return what sets an option: a file, an environment variable; None: neither."""
    variable = f'OS_{group}__{option.dest}'.upper()  # oslo_config.sources._environment
    if variable in os.environ:
        return f'environment variable {variable}'
    names = _names(group, option)
    setting = (file for file in reversed(files) if _sets(file, names))
    return next((file.path for file in setting), None)


def known(options: Sequence[tuple[str, Sequence[cfg.Opt]]]) -> dict[str, set[str]]:
    """Return the names options may be set by, those of former releases included, by group."""
    found: dict[str, set[str]] = {}
    for group, opts in options:
        found.setdefault(group, set())
        for option in opts:
            for where, name in _names(group, option):
                found.setdefault(where, set()).add(name)
    return found


def deprecated(
    files: Sequence[File], options: Sequence[tuple[str, Sequence[cfg.Opt]]]
) -> Iterator[str]:
    """Yield, as sentences, what is set that a later release may not know any more.

    :param options: those there are, by group
    """
    for group, opts in options:
        for option in opts:
            for file in files:
                for where, name in sorted(_former(group, option)):
                    if name in file.options.get(where, ()):
                        yield f'{file.path}: [{where}] {name} is now [{group}] {option.dest}'
            source = option.deprecated_for_removal and origin(files, group, option)
            if source:
                since = f' since {option.deprecated_since}' if option.deprecated_since else ''
                why = ' '.join((option.deprecated_reason or 'it will be removed').split())
                yield f'{source}: [{group}] {option.dest} is deprecated{since}: {why}'


def _names(group: str, option: cfg.Opt) -> set[tuple[str, str]]:
    return {(group, option.dest), *_former(group, option)}


def _former(group: str, option: cfg.Opt) -> set[tuple[str, str]]:
    """Return the names by which former releases knew an option."""
    former = {(each.group or group, each.name or option.dest) for each in option.deprecated_opts}
    found = {(where, name.replace('-', '_')) for where, name in former}
    return found - {(group, option.dest)}


def _sets(file: File, names: Collection[tuple[str, str]]) -> bool:
    return any(name in file.options.get(group, ()) for group, name in names)


def unknown(files: Sequence[File], known: Known, *, complete: bool) -> Iterator[str]:
    """Yield, as sentences, what stands in the files and is no option of anybody.

    :param known: names of options, by group
    :param complete: whether those of the libraries are among them
    """
    for file in files:
        for group, names in file.options.items():
            if not complete and (group == DEFAULT or group.startswith(OTHERS)):
                continue
            if group not in known:
                yield f'{file.path}: nobody reads group [{_shown(group)}]{_meant(group, known)}'
                continue
            for name in sorted(set(names) - set(known[group])):
                meant = _meant(name, known[group])
                yield f'{file.path}: [{group}] has no option {_shown(name)}{meant}'


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else '(a name with blanks or signs in it)'


def _meant(name: str, known: Collection[str]) -> str:
    alike = difflib.get_close_matches(name, known, n=1)
    return f'; {alike[0]} may be meant' if alike else '; it is passed over'
