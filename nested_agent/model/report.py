"""Report: the versioned record of one verification, the same on every channel."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from nested_agent.exceptions import ReportFormatError
from nested_agent.model.action import Action
from nested_agent.model.condition import Condition, State
from nested_agent.model.plain import optional, to_plain
from nested_agent.model.remediation import Remediation

#: Version of a Report as a plain dict. The minor number grows with a new key, the major number
#: when a reader of the old form would misread the new one.
SCHEMA_VERSION = '1.3'


@dataclasses.dataclass(frozen=True, slots=True)
class NovaRunning:
    """The options a nova-compute was seen to start with.

    :ivar started: seconds since the epoch, by the clock of that time
    :ivar settings: effective values by ``group.option``, plain; empty where files were changed
        before they were seen
    :ivar ticks: its start in clock ticks since boot: with the pid and the report's boot_id it is
        this process and no other, whatever becomes of the clock; None in reports before 1.3
    """

    pid: int
    started: float
    settings: Mapping[str, Any]
    ticks: int | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(
            int(data['pid']),
            float(data['started']),
            dict(data['settings']),
            optional(int, data.get('ticks')),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """The record of one verification, the same on every channel.

    :ivar time: seconds since the epoch
    :ivar boot_id: orders reports, together with the sequence; None if unreadable
    :ivar driver: name of the vendor driver, None when none fits
    :ivar policy: the options that were in force
    :ivar observation: the facts as a plain dict; None where they are left out
    :ivar sequence: number of this report since boot; None when it is not one of a daemon's
    :ivar nova_running: what nova-compute is known to run with (:class:`NovaRunning`), None if not
    :ivar remediation: None where nothing is known of it, as of a captured tree
    :ivar state_since: seconds since the epoch when the state became what it is, as far as a
        daemon's reports go back; None when it is not one of a daemon's
    """

    host: str
    time: float
    boot_id: str | None
    driver: str | None
    policy: Mapping[str, Any]
    state: State
    conditions: tuple[Condition, ...]
    plan: tuple[Action, ...]
    observation: Mapping[str, Any] | None
    sequence: int | None = None
    nova_running: NovaRunning | None = None
    remediation: Remediation | None = None
    state_since: float | None = None
    schema_version: str = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dicts, lists, strings and numbers."""
        plain = to_plain(self)
        assert isinstance(plain, dict)  # noqa: S101  # for the type checker
        return {'schema_version': plain.pop('schema_version'), **plain}

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Return the report that :meth:`to_dict` made.

        Keys of a later minor version are ignored.

        :raises ReportFormatError: another major version, a missing key, a wrong type or word
        """
        try:
            if not isinstance(data, Mapping):
                raise TypeError(f'a report is a mapping, not {type(data).__name__}')
            version = str(data['schema_version'])
            if version.split('.')[0] != SCHEMA_VERSION.split('.')[0]:
                raise ValueError(f'schema_version {version}, only {SCHEMA_VERSION} is known')
            return cls(
                host=str(data['host']),
                time=float(data['time']),
                boot_id=optional(str, data['boot_id']),
                driver=optional(str, data['driver']),
                policy=dict(data['policy']),
                state=State(data['state']),
                conditions=tuple(Condition.from_dict(each) for each in data['conditions']),
                plan=tuple(Action.from_dict(each) for each in data['plan']),
                observation=data.get('observation'),
                sequence=optional(int, data.get('sequence')),
                nova_running=optional(NovaRunning.from_dict, data.get('nova_running')),
                remediation=optional(Remediation.from_dict, data.get('remediation')),
                state_since=optional(float, data.get('state_since')),
                schema_version=version,
            )
        except KeyError as error:
            raise ReportFormatError(f'the report has no {error}') from error
        except (TypeError, ValueError) as error:
            raise ReportFormatError(str(error)) from error
