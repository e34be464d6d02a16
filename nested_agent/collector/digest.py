"""What is kept of a report, and which are refused.

A report may come from a newer or an older agent, or from anybody who can write to the message
bus. So nothing is taken for granted but a name, a boot and a number: words are words, texts are
printable, everything has a limit. States and conditions that this release does not know are kept
as they are. A report of another major version is kept as well, but nothing is read out of it.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from nested_agent.exceptions import ReportFormatError
from nested_agent.model import SCHEMA_VERSION, State, Status
from nested_agent.rpc import fleet

#: Bytes of a report as JSON. One has 1 to 3 kB.
LIMIT = 64 << 10

#: Lists and mappings within one another: whatever reads a report goes down into all of them.
DEPTH = 32

CONDITIONS_MOST = 64
MESSAGE_LENGTH = 500
SEQUENCE_MOST = 1 << 62

#: Reason of a report that is only known to be of an agent far newer, or far older.
UNKNOWN_VERSION = 'UnknownVersion'

#: Of what JSON is made.
_NESTING = (dict, list)

_HOST = re.compile(rf'[!-~]{{1,{fleet.HOST_LENGTH}}}')
_BOOT = re.compile(r'[\w.-]{1,64}', re.ASCII)
_VERSION = re.compile(r'\d{1,5}\.\d{1,5}', re.ASCII)
_STATE = re.compile(r'[a-z][a-z_-]{0,31}')
_WORD = re.compile(rf'[A-Za-z][A-Za-z0-9_-]{{0,{fleet.WORD_LENGTH - 1}}}')


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What a remediation came to.

    :ivar message: for people; printable
    """

    id: str
    result: str
    before: str
    after: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Digest:
    """A report, as far as it is understood.

    :ivar boot_id: empty where the agent could not read it
    :ivar reasons: of the conditions that are not True, those that are False first
    :ivar vendor: the name of the driver, None without one
    :ivar release: of the agent
    :ivar run: the last remediation on the node, None if it is not known of any
    :ivar received: seconds since the epoch, by our clock
    :ivar text: all of the report as JSON, ASCII
    """

    host: str
    boot_id: str
    sequence: int
    state: str
    reasons: tuple[str, ...]
    vendor: str | None
    kernel: str | None
    schema_version: str
    release: str | None
    run: Run | None
    received: float
    text: str


def digest(report: object, release: object, received: float) -> Digest:
    """Return what is kept of a report.

    :raises ReportFormatError: it is refused; the message does not repeat what stands in it
    """
    if not isinstance(report, Mapping):
        raise ReportFormatError(f'it is not a mapping but {type(report).__name__}')
    text = _text(report)
    version = _match(_VERSION, report.get('schema_version'), 'schema_version')
    known = version.split('.')[0] == SCHEMA_VERSION.split('.')[0]
    return Digest(
        host=_match(_HOST, report.get('host'), 'host'),
        boot_id=_boot(report.get('boot_id')),
        sequence=_sequence(report.get('sequence')),
        state=_state(report.get('state')) if known else State.UNKNOWN.value,
        reasons=_reasons(report.get('conditions')) if known else (UNKNOWN_VERSION,),
        vendor=_optional(_WORD, report.get('driver')) if known else None,
        kernel=_kernel(report.get('observation')) if known else None,
        schema_version=version,
        release=_optional(_HOST, release),
        run=_run(report.get('remediation')) if known else None,
        received=received,
        text=text,
    )


def _text(report: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(report, allow_nan=False, separators=(',', ':'))
    except (TypeError, ValueError, RecursionError) as error:
        raise ReportFormatError(f'it is no JSON ({type(error).__name__})') from None
    if len(text) > LIMIT:
        raise ReportFormatError(f'it is larger than {LIMIT} bytes')
    if _depth(report) > DEPTH:
        raise ReportFormatError(f'it is nested more than {DEPTH} deep')
    return text


def _depth(report: Mapping[str, Any]) -> int:
    depth = 0
    level: list[Any] = [report]
    while level:
        depth += 1
        level = [
            inner
            for each in level
            for inner in (each if each.__class__ is list else each.values())
            if inner.__class__ in _NESTING
        ]
    return depth


def _match(pattern: re.Pattern[str], value: object, name: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ReportFormatError(f'{name} is missing, or cannot be one')
    return value


def _optional(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _boot(value: object) -> str:
    return '' if value is None else _match(_BOOT, value, 'boot_id')


def _sequence(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SEQUENCE_MOST:
        raise ReportFormatError('sequence is missing, or cannot be one')
    return value


def _state(value: object) -> str:
    state = _match(_STATE, value, 'state')
    if state == fleet.DOWN:
        raise ReportFormatError(f'no agent says that it is {fleet.DOWN}')
    return state


def _reasons(conditions: object) -> tuple[str, ...]:
    if not isinstance(conditions, list) or len(conditions) > CONDITIONS_MOST:
        raise ReportFormatError('conditions is missing, no list, or too long')
    found: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for condition in conditions:
        if not isinstance(condition, Mapping):
            raise ReportFormatError('a condition is no mapping')
        status = condition.get('status')
        _match(_WORD, condition.get('type'), 'type of a condition')
        reason = _match(_WORD, condition.get('reason'), 'reason of a condition')
        if status != Status.TRUE:
            found[status == Status.FALSE][reason] = None
    return tuple(dict.fromkeys((*found[True], *found[False])))


def _kernel(observation: object) -> str | None:
    kernel = observation.get('kernel') if isinstance(observation, Mapping) else None
    release = kernel.get('release') if isinstance(kernel, Mapping) else None
    return _optional(_HOST, release)


def _run(remediation: object) -> Run | None:
    run = remediation.get('last_run') if isinstance(remediation, Mapping) else None
    if run is None:
        return None
    if not isinstance(run, Mapping):
        raise ReportFormatError('last_run is no mapping')
    message = run.get('message')
    return Run(
        _match(_HOST, run.get('id'), 'id of last_run'),
        _match(_WORD, run.get('result'), 'result of last_run'),
        _match(_STATE, run.get('state_before'), 'state_before of last_run'),
        _match(_STATE, run.get('state_after'), 'state_after of last_run'),
        printable(message if isinstance(message, str) else ''),
    )


def printable(text: str) -> str:
    """Return text cut to :data:`MESSAGE_LENGTH`, without what could speak to a terminal."""
    return ''.join(each if each.isprintable() else '\ufffd' for each in text[:MESSAGE_LENGTH])
