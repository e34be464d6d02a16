"""What nova-compute's configuration files come to, by oslo.config itself.

oslo.config evaluates; :mod:`nova_lines` only says which line a value is from. No text of the
files is ever returned except values of the options listed there.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg, sources

from nested_agent.facts import ConfigFile, Location, Setting, Unread
from nested_agent.node import nova_files, nova_lines
from nested_agent.node.nova_lines import DEFAULT, HOST, LIBVIRT, NAMES, OPTIONS, Raw
from nested_agent.node.root import Root, unread

# More `$` in one value than anyone writes could make the evaluation explode.
SUBSTITUTION_LIMIT = 6
# Younger than this, a file may change again under the same time stamp (kernel tick: 10 ms).
SETTLED = 0.1
NULL_DEVICE = os.makedev(1, 3)
# What oslo.config takes as text for these has to look like this to be a name of anything. A
# line indented by mistake belongs to the option above it: that text may be a password.
PLAUSIBLE: Mapping[str, re.Pattern[str]] = {
    f'{LIBVIRT}.cpu_models': re.compile(r'[A-Za-z0-9_.+-]{1,64}'),
    f'{LIBVIRT}.cpu_model_extra_flags': re.compile(r'[A-Za-z0-9_.+-]{1,64}'),
    f'{DEFAULT}.host': re.compile(r'[A-Za-z0-9_.:-]{1,255}'),
    f'{DEFAULT}.compute_driver': re.compile(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)*', re.ASCII),
}
INDENTED = 'all that follows on its line, or indented below it, belongs to it'


class Stamp(NamedTuple):
    """A file's identity: same stamp, same content."""

    path: str
    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


class _Environment:
    """oslo.config's environment source over given variables instead of this process's own."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables

    @staticmethod
    def get_name(group_name: str | None, option_name: str) -> str:
        return nova_lines.variable(f'{group_name or DEFAULT}.{option_name}')

    def get(self, group_name: str | None, option_name: str, opt: object) -> tuple[Any, Any]:
        name = self.get_name(group_name, option_name)
        if name not in self.variables:
            return (sources._NoValue, None)
        return (self.variables[name], cfg.LocationInfo(cfg.Locations.environment, name))


class _Memory:
    """The last evaluation, replaced as one reference: safe between threads."""

    last: tuple[object, Mapping[str, Setting] | Unread] | None = None


def evaluate(
    root: Root, paths: Sequence[str], environment: Mapping[str, str]
) -> tuple[tuple[ConfigFile, ...], Mapping[str, Setting] | Unread]:
    """Return the files with their times, and what the options come to.

    Nothing is parsed again while the files and the environment stay what they were.

    :param root: what the paths are below
    :param paths: in the order they are read; the last one wins
    :param environment: nova-compute's ``OS_LIBVIRT__*`` variables, which win over files
    """
    stamps = [_stamp(root, path) for path in paths]
    files = tuple(ConfigFile(shown(path), nova_files.changed(root, path)) for path in paths)
    for each in stamps:
        if isinstance(each, Unread):
            return files, each
    key = (stamps, dict(environment))
    last = _Memory.last
    if last is not None and last[0] == key:
        return files, last[1]
    contents = []
    for path in paths:
        try:
            contents.append(content_of(root, path))
        except OSError as error:
            return files, unread(shown(path), error)
    settings = settings_of(paths, contents, environment)
    newest = max((file.changed for file in files if isinstance(file.changed, float)), default=0.0)
    if time.time() - newest > SETTLED:
        _Memory.last = (key, settings)
    return files, settings


def _stamp(root: Root, path: str) -> Stamp | Unread:
    try:
        got = root.stat(path)
    except OSError as error:
        return unread(shown(path), error)
    return Stamp(path, got.st_dev, got.st_ino, got.st_size, got.st_mtime_ns, got.st_ctime_ns)


def shown(path: str) -> str:
    """Return a path as text that can be written anywhere."""
    return os.fsencode(path).decode(errors='replace')


def content_of(root: Root, path: str) -> bytes:
    """Return what nova-compute reads from a file.

    :raises OSError: as :meth:`Root.read_bytes`
    """
    got = root.stat(path)
    if stat.S_ISCHR(got.st_mode) and got.st_rdev == NULL_DEVICE:
        return b''  # --config-file /dev/null turns the default files off
    return root.read_bytes(path)


def settings_of(
    paths: Sequence[str], contents: Sequence[bytes], environment: Mapping[str, str]
) -> Mapping[str, Setting] | Unread:
    """Return what the options come to if these are the files' contents.

    :param paths: in the order they are read; only to say where a value is from
    :param environment: as of :func:`evaluate`
    """
    parsed = []
    for path, content in zip(paths, contents, strict=True):
        values = nova_lines.parse(shown(path), content)
        if isinstance(values, Unread):
            return values
        parsed.append(values)
    conf = cfg.ConfigOpts()
    # Its own one would read this process's environment.
    driver: Any = _Environment(environment)
    conf._env_driver = driver
    for group, option in OPTIONS:
        conf.register_opt(option, group=None if group == DEFAULT else group)
    try:
        with contextlib.ExitStack() as stack:
            # The very bytes that were parsed above: a file that changes now changes nothing, and
            # what turns into a pipe blocks nothing.
            files = [stack.enter_context(_memory_file(content)) for content in contents]
            conf(
                args=[],
                project='nova',
                prog='nova-compute',
                default_config_files=files,
                default_config_dirs=[],
            )
    except OSError as error:
        return unread('oslo.config', error)
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError, RecursionError):
        return Unread('oslo.config', 'Unresolved', 'config_file or config_dir refers to an option')
    except (cfg.Error, ValueError, SystemExit):
        return Unread('oslo.config', 'InvalidValue', 'config_file or config_dir has no valid value')
    # Or it logs a warning about nova's deprecated option in the name of this process.
    emitted: set[object] = getattr(conf._namespace, '_emitted_deprecations', set())
    emitted.update(tuple(name.split('.')) for names in NAMES.values() for name in names[1:])
    raw = {full: nova_lines.in_force(full, parsed, environment) for full in NAMES}
    return {
        f'{group}.{option.dest}': Setting(
            *_value(conf, group, option, raw),
            nova_lines.occurrences(f'{group}.{option.dest}', parsed),
        )
        for group, option in OPTIONS
    }


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    fd = os.memfd_create('nova.conf')
    try:
        with os.fdopen(fd, 'wb', closefd=False) as file:
            file.write(content)
        yield f'/proc/self/fd/{fd}'
    finally:
        os.close(fd)


def _value(
    conf: Any, group: str, option: Any, raw: Mapping[str, Raw | None]
) -> tuple[str | tuple[str, ...] | Unread | None, Location | str | None]:
    """Return the value of an option and where it is from."""
    full = f'{group}.{option.dest}'
    given = raw[full]
    if given is None:
        default = option.default
        return tuple(default) if isinstance(default, list) else default, None
    problem = _reference_problem(full, raw, ())
    if problem is not None:
        return Unread(str(given.where), *problem), given.where
    try:
        got = conf[option.dest] if group == DEFAULT else conf[group][option.dest]
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError):
        detail = f'{option.dest} refers to no option'
        return Unread(str(given.where), 'Unresolved', detail), given.where
    except ValueError:
        return Unread(str(given.where), 'InvalidValue', _refused(option, given)), given.where
    value = tuple(got) if isinstance(got, list) else got
    pattern = PLAUSIBLE.get(full)
    if pattern and not all(pattern.fullmatch(item) for item in _items(value)):
        detail = f'{option.dest} holds what is no name of that kind; {INDENTED}'
        return Unread(str(given.where), 'Implausible', detail), given.where
    return value, given.where


def _items(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,)


def _reference_problem(
    full: str, raw: Mapping[str, Raw | None], seen: tuple[str, ...]
) -> tuple[str, str] | None:
    """Return error and detail if a value, by its ``$name`` parts, cannot be told from here.

    oslo.config would raise, or put the empty text for what is unset here only (host).
    """
    given = raw[full]
    if full in seen:
        return 'InvalidValue', f'{full} refers to itself'
    if given is None:
        return ('Unresolved', 'it refers to $host: the host name') if full == HOST else None
    text = given.value.replace(r'\$', '$$')  # as ConfigOpts._substitute
    names = cfg.ConfigOpts.Template(text).get_identifiers()
    if names and text.count('$') > SUBSTITUTION_LIMIT:
        return 'Unresolved', f'more than {SUBSTITUTION_LIMIT} references'
    for name in names:
        group = full.partition('.')[0]
        near = f'{group}.{name}'
        key = name if '.' in name else near if near in raw else f'{DEFAULT}.{name}'
        if key not in raw:
            return 'Unresolved', f'{full} refers to an option that is not evaluated here'
        problem = _reference_problem(key, raw, (*seen, full))
        if problem is not None:
            return problem
    return None


def _refused(option: Any, given: Raw) -> str:
    choices = getattr(option.type, 'choices', None)
    if not choices:
        return f'{option.dest} has no valid value; {INDENTED}'
    allowed = f'is not one of {", ".join(choices)}'
    # Nothing but one plain word is shown: more may be text of another option.
    if re.fullmatch(r'[A-Za-z0-9_-]{0,32}', given.value):
        return f'{option.dest} {given.value!r} {allowed}'
    return f'{option.dest} {allowed}; {INDENTED}'
