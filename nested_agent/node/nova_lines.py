"""The options of nova-compute that matter here, and the lines its files set them on.

Parsed with oslo.config's own parser. Nothing of any other option is kept: not its value, and not
the text of a line that cannot be parsed, which may be a password.
"""

import codecs
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg, iniparser, types

from nested_agent.facts import Location, Occurrence, Unread

LIBVIRT = 'libvirt'
DEFAULT = 'DEFAULT'
HOST = 'DEFAULT.host'

# As nova/conf/libvirt.py, netconf.py and compute.py register them (nova 34); host without its
# default, which is the node's host name.
OPTIONS: tuple[tuple[str, Any], ...] = (
    (LIBVIRT, cfg.StrOpt('virt_type', default='kvm', choices=('kvm', 'lxc', 'qemu', 'parallels'))),
    (
        LIBVIRT,
        cfg.StrOpt('cpu_mode', choices=('host-model', 'host-passthrough', 'custom', 'none')),
    ),
    (LIBVIRT, cfg.ListOpt('cpu_models', deprecated_name='cpu_model', default=[])),
    (
        LIBVIRT,
        cfg.ListOpt('cpu_model_extra_flags', item_type=types.String(ignore_case=True), default=[]),
    ),
    (DEFAULT, cfg.HostDomainOpt('host')),
    (DEFAULT, cfg.StrOpt('compute_driver')),
)
# Names in files, the current one first: it wins over a deprecated one in the same file.
NAMES: Mapping[str, tuple[str, ...]] = {
    f'{group}.{option.dest}': (
        f'{group}.{option.dest}',
        *(f'{old.group or group}.{old.name}' for old in option.deprecated_opts),
    )
    for group, option in OPTIONS
}
# Options of oslo.config itself that a file can set.
CONFIG_SOURCE = f'{DEFAULT}.config_source'
SHELL_COMPLETION = f'{DEFAULT}.shell_completion'
WANTED = frozenset({CONFIG_SOURCE, SHELL_COMPLETION}.union(*NAMES.values()))


class Raw(NamedTuple):
    """A value as written, where, and the name it is written under.

    The value includes continuation lines, so it can hold text meant for another option.
    """

    value: str
    where: Location | str
    name: str


#: Every assignment of one file that matters, in reading order.
Lines = Sequence[Raw]


class _Lines(iniparser.BaseParser):
    """Keeps the values of each key in ``WANTED``, and nothing of the others."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.section = ''
        self.start = 0
        self.found: list[Raw] = []

    def _split_key_value(self, line: str) -> Any:
        self.start = self.lineno  # assignment() comes after the continuation lines
        return super()._split_key_value(line)

    def new_section(self, section: str) -> None:
        self.section = group(section)

    def assignment(self, key: str, value: list[str]) -> None:
        if not self.section:
            raise self.parse_exc('Section must be started before assignment', self.start, '')
        name = f'{self.section}.{key}'
        if name in WANTED:
            self.found.append(Raw('\n'.join(value), Location(self.path, self.start), name))


def parse(path: str, content: bytes) -> Lines | Unread:
    """Return the lines of one file.

    Unread, from that line, for what keeps nova from loading the whole configuration
    (``ParseError``, ``EncodingError``, ``InvalidValue``) or from being evaluated here
    (``ConfigSource``: nova fetches options from elsewhere, a URL for example).
    """
    lines = _Lines(path)
    try:
        # As open() does: universal newlines.
        lines.parse(io.StringIO(content.decode(), newline=None))
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        return Unread(str(Location(path, line)), 'EncodingError', 'not UTF-8')
    except iniparser.ParseError as error:
        mark = ' (the file starts with a byte order mark)'
        hint = mark if content.startswith(codecs.BOM_UTF8) and error.lineno == 1 else ''
        return Unread(str(Location(path, error.lineno)), 'ParseError', f'{error.msg}{hint}')
    source = _last(lines.found, CONFIG_SOURCE)
    if source is not None and source.value.strip(' \t\n,'):
        detail = 'config_source has nova fetch options from elsewhere'
        return Unread(str(source.where), 'ConfigSource', detail)
    shell = _last(lines.found, SHELL_COMPLETION)
    if shell is not None and shell.value not in cfg.ConfigOpts.supported_shell_completion:
        return Unread(str(shell.where), 'InvalidValue', 'shell_completion is no such shell')
    return lines.found


def group(section: str) -> str:
    """Return the group that ``[section]`` is of (oslo_config/cfg.py: _normalize_group_name)."""
    return section if section == DEFAULT else section.lower()  # [default] is not [DEFAULT]


def variable(full: str) -> str:
    """Return the environment variable of an option: ``OS_LIBVIRT__CPU_MODE``."""
    group, _, option = full.partition('.')
    return f'OS_{group.upper()}__{option.upper()}'


def in_force(full: str, files: Sequence[Lines], environment: Mapping[str, str]) -> Raw | None:
    """Return the value in force of ``group.option``, or None for nova's default.

    The environment, then the last file that has it under any name, and there the last line
    (oslo_config/cfg.py: ``ConfigOpts._do_get``, ``_Namespace._get_file_value``).
    """
    name = variable(full)
    if name in environment:
        return Raw(environment[name], name, full)
    for lines in reversed(files):
        for written in NAMES[full]:
            raw = _last(lines, written)
            if raw is not None:
                return raw
    return None


def occurrences(full: str, files: Sequence[Lines]) -> tuple[Occurrence, ...]:
    """Return every line that sets ``group.option``, under any of its names."""
    return tuple(
        Occurrence(raw.name, raw.where)
        for lines in files
        for raw in lines
        if raw.name in NAMES[full] and isinstance(raw.where, Location)
    )


def _last(lines: Lines, name: str) -> Raw | None:
    return next((raw for raw in reversed(lines) if raw.name == name), None)
