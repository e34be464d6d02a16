"""Options changed in the text of an oslo.config file, all else kept to the byte. Pure.

The file is cut into lines and read by oslo.config's own parser: what that refuses is refused here.
The result is read again, to prove that nothing but the wanted options differs.
"""

import io
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from oslo_config import iniparser

from nested_agent.exceptions import StepError
from nested_agent.facts import Unread
from nested_agent.node import nova_lines

#: Name, separator and the blanks behind it, as oslo_config.iniparser splits a line.
HEAD = re.compile(r'[^:=]*[:=][ \t]*')
QUOTES = ('"', "'")


class EditRefusedError(StepError):
    """A file cannot be edited safely; the message says where and why."""


def edit(content: bytes, changes: Mapping[str, str | None], path: str) -> bytes:
    """Return the content of a file with some options changed.

    An option that is set has the value on its last line, which is the one in force, exchanged;
    one that is not set is added to the last section of that name, or to a new one at the end.
    Every line of an option to be removed goes.

    :param changes: by ``group.option``, the text behind the ``=`` (see :func:`literal`), with
        line feeds where it goes on in an indented line; None: not to be set in this file
    :param path: for messages
    :raises EditRefusedError: oslo.config cannot read the file, or would not read such a value back
    """
    before = _read(content, path)
    lines = list(before.lines)
    added: dict[str, list[str]] = {}
    for name, text in changes.items():
        found = [each for each in before.assignments if each.name == name]
        group, _, option = name.partition('.')
        if text is None:
            for each in found:
                lines[each.start : each.end] = [''] * (each.end - each.start)
        elif found:
            last = found[-1]
            new = _assignment(_head(lines[last.start]), text, before.ending)
            new += _ending(lines[last.end - 1])
            lines[last.start : last.end] = [*[''] * (last.end - last.start - 1), new]
        else:
            new = _assignment(f'{option} = ', text, before.ending)
            added.setdefault(group, []).append(new)
    for group, block in added.items():
        _insert(before, lines, group, block)
    result = ''.join(lines).encode(errors='surrogatepass')
    _prove(before, result, changes, path)
    return result


def texts(content: bytes, names: Iterable[str], path: str) -> dict[str, str | None]:
    """Return the text in force of some options in this file, None where it does not set one.

    :raises EditRefusedError: oslo.config cannot read the file
    """
    found = {each.name: each.text for each in _read(content, path).assignments}
    return {name: found.get(name) for name in names}


def literal(value: str) -> str:
    r"""Return the text that oslo.config, which substitutes ``$name``, reads as ``value``.

    :raises EditRefusedError: there is none: it takes ``\$`` for a ``$`` as well
    """
    if r'\$' in value:
        raise EditRefusedError(
            'a backslash before a $ cannot be written so that oslo.config keeps it'
        )
    return value.replace('$', '$$')


class _Assignment(NamedTuple):
    """An option set on the lines ``start`` to ``end`` (not included), counted from 0."""

    section: str
    name: str
    text: str
    start: int
    end: int


class _Header(NamedTuple):
    group: str
    line: int


class _File(iniparser.BaseParser):
    """Every section and assignment of a file.

    :ivar lines: with their line endings
    :ivar ending: of the first line that has one
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines
        self.ending = _ending(lines[0]) if lines else ''
        self.ending = self.ending or '\n'
        self.headers: list[_Header] = []
        self.assignments: list[_Assignment] = []
        self._section = ''
        self._start = 0
        self.parse(lines)

    def _split_key_value(self, line: str) -> tuple[str, list[str]]:
        self._start = self.lineno - 1
        return super()._split_key_value(line)

    def new_section(self, section: str) -> None:
        self._section = section
        self.headers.append(_Header(nova_lines.group(section), self.lineno - 1))

    def assignment(self, key: str, value: list[str]) -> None:
        name = f'{nova_lines.group(self._section)}.{key}'
        end = self._start + len(value)
        self.assignments.append(
            _Assignment(self._section, name, '\n'.join(value), self._start, end)
        )

    def end_of(self, group: str) -> int | None:
        """Return the line behind all that the last section of a group sets; None: no section."""
        starts = [each.line for each in self.headers if each.group == group]
        if not starts:
            return None
        beyond = [each.line for each in self.headers if each.line > starts[-1]]
        limit = beyond[0] if beyond else len(self.lines)
        inside = [each.end for each in self.assignments if starts[-1] < each.start < limit]
        return inside[-1] if inside else starts[-1] + 1


def _read(content: bytes, path: str) -> _File:
    problem = nova_lines.parse(path, content)
    if isinstance(problem, Unread):
        raise EditRefusedError(
            f'{problem.source}: {problem.detail}; it is not edited, mend it by hand'
        )
    # Lines as open() cuts them: at \r too, and at nothing else that Unicode calls a line's end.
    return _File(list(io.StringIO(content.decode(), newline='')))


def _insert(before: _File, lines: list[str], group: str, block: list[str]) -> None:
    """Add lines, given without endings, to a section; lines keep their numbers."""
    at = before.end_of(group)
    if at is None:
        at = len(before.lines)
        gap = [''] if at and before.lines[-1].strip() else []
        block = [*gap, f'[{group}]', *block]
    # With the ending of the line before it: "\r" and "\n" would come to one.
    ending = (_ending(before.lines[at - 1]) if at else '') or before.ending
    new = ''.join(line + ending for line in block)
    if at:
        lines[at - 1] = _closed(lines[at - 1], ending) + new
    else:
        lines.append(new)


def _prove(before: _File, result: bytes, changes: Mapping[str, str | None], path: str) -> None:
    """Refuse a result that says anything else than it should."""
    names = ', '.join(changes)
    try:
        after = _read(result, path)
    except EditRefusedError as error:
        raise EditRefusedError(
            f'{path}: {names} cannot be written so that it is read back'
        ) from error
    others = [
        [
            (each.section, each.name, each.text)
            for each in file.assignments
            if each.name not in changes
        ]
        for file in (before, after)
    ]
    if others[0] != others[1]:
        raise EditRefusedError(f'{path}: to change {names} would change other options')
    for name, text in changes.items():
        old, new = (
            [x.text for x in file.assignments if x.name == name] for file in (before, after)
        )
        expected = [] if text is None else [*old[:-1], text]
        if new != expected:
            raise EditRefusedError(f'{path}: {name} cannot be written so that it is read back')


def _head(line: str) -> str:
    found = HEAD.match(line)
    head = found[0] if found else ''
    return f'{head} ' if head[-2:-1] == ' ' and head[-1:] in ':=' else head


def _assignment(head: str, text: str, ending: str) -> str:
    first, *more = text.split('\n')
    quoted = first[:1] in QUOTES and first[-1:] == first[:1]
    if quoted or first != first.strip():
        first = f'"{first}"'
    return f'{ending} '.join([head + first if first else head.rstrip(' \t'), *more])


def _ending(line: str) -> str:
    return line[len(line.rstrip('\r\n')) :]


def _closed(line: str, ending: str) -> str:
    return line if not line or _ending(line) else line + ending
