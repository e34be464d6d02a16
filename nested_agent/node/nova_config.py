"""What nova-compute's configuration files come to, by oslo.config itself.

oslo.config evaluates; :mod:`nova_lines` only says which line a value is from. No text of the
files is ever returned except values of the options listed there.
"""

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg, sources

from nested_agent.facts import ConfigFile, Setting, Unread
from nested_agent.node import nova_lines
from nested_agent.node.nova_lines import DEFAULT, HOST, NAMES, OPTIONS, Raw
from nested_agent.node.root import Root, unread

# More `$` in one value than anyone writes could make the evaluation explode.
SUBSTITUTION_LIMIT = 6
# Younger than this, a file may change again under the same time stamp (kernel tick: 10 ms).
SETTLED = 0.1
NULL_DEVICE = os.makedev(1, 3)


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
    files = tuple(
        ConfigFile(
            _shown_path(path),
            each if isinstance(each, Unread) else max(each.mtime, each.ctime) / 1e9,
        )
        for path, each in zip(paths, stamps, strict=True)
    )
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
            contents.append(_content(root, path))
        except OSError as error:
            return files, unread(_shown_path(path), error)
    settings = _settings(paths, contents, environment)
    newest = max((file.changed for file in files if isinstance(file.changed, float)), default=0.0)
    if time.time() - newest > SETTLED:
        _Memory.last = (key, settings)
    return files, settings


def _stamp(root: Root, path: str) -> Stamp | Unread:
    try:
        got = root.stat(path)
    except OSError as error:
        return unread(_shown_path(path), error)
    return Stamp(path, got.st_dev, got.st_ino, got.st_size, got.st_mtime_ns, got.st_ctime_ns)


def _shown_path(path: str) -> str:
    return os.fsencode(path).decode(errors='replace')


def _content(root: Root, path: str) -> bytes:
    got = root.stat(path)
    if stat.S_ISCHR(got.st_mode) and got.st_rdev == NULL_DEVICE:
        return b''  # --config-file /dev/null turns the default files off
    return root.read_bytes(path)


def _settings(
    paths: Sequence[str], contents: Sequence[bytes], environment: Mapping[str, str]
) -> Mapping[str, Setting] | Unread:
    parsed = []
    for path, content in zip(paths, contents, strict=True):
        values = nova_lines.parse(_shown_path(path), content)
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
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
        return Unread('oslo.config', 'Unresolved', 'config_file or config_dir refers to an option')
    except (cfg.Error, ValueError, RecursionError, SystemExit):
        return Unread('oslo.config', 'InvalidValue', 'config_file or config_dir has no valid value')
    # Or it logs a warning about nova's deprecated option in the name of this process.
    emitted: set[object] = getattr(conf._namespace, '_emitted_deprecations', set())
    emitted.update(name for names in NAMES.values() for name in names[1:])
    raw = {full: nova_lines.in_force(full, parsed, environment) for full in NAMES}
    return {
        f'{group}.{option.dest}': _setting(conf, group, option, raw) for group, option in OPTIONS
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


def _setting(conf: Any, group: str, option: Any, raw: Mapping[str, Raw | None]) -> Setting:
    full = f'{group}.{option.dest}'
    given = raw[full]
    if given is None:
        default = option.default
        return Setting(tuple(default) if isinstance(default, list) else default, None)
    written_as = None if given.name == full else given.name
    problem = _reference_problem(full, raw, ())
    value: str | tuple[str, ...] | Unread | None
    if problem is not None:
        value = Unread(str(given.where), *problem)
    else:
        try:
            got = conf[option.dest] if group == DEFAULT else conf[group][option.dest]
            value = tuple(got) if isinstance(got, list) else got
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError):
            value = Unread(str(given.where), 'Unresolved', f'{_shown(given)} refers to no option')
        except ValueError:
            value = Unread(str(given.where), 'InvalidValue', _refused(option, given))
    return Setting(value, given.where, written_as)


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
        return ('Unresolved', 'refers to $host: the host name') if full == HOST else None
    text = given.value.replace(r'\$', '$$')  # as ConfigOpts._substitute
    names = cfg.ConfigOpts.Template(text).get_identifiers()
    if names and text.count('$') > SUBSTITUTION_LIMIT:
        return 'Unresolved', f'more than {SUBSTITUTION_LIMIT} references'
    for name in names:
        group = full.partition('.')[0]
        near = f'{group}.{name}'
        key = name if '.' in name else near if near in raw else f'{DEFAULT}.{name}'
        if key not in raw:
            return 'Unresolved', f'refers to ${{{name[:64]}}}, which is not evaluated here'
        problem = _reference_problem(key, raw, (*seen, full))
        if problem is not None:
            return problem
    return None


def _refused(option: Any, given: Raw) -> str:
    choices = getattr(option.type, 'choices', None)
    allowed = f'one of {", ".join(choices)}' if choices else 'a valid value'
    return f'{given.where}: {option.dest} = {_shown(given)} is not {allowed}'


def _shown(given: Raw) -> str:
    # The first line only: what follows may have been meant as another option.
    return repr(given.value.partition('\n')[0][:64])
