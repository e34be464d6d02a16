"""The words of every report: Condition, State, Action, Plan, Report.

Plain dicts are for the wire and the disk only; :data:`SCHEMA_VERSION` names their form.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from nested_agent.exceptions import ReportFormatError
from nested_agent.facts import Unread

T = TypeVar('T')

#: Version of a Report as a plain dict. The minor number grows with a new key, the major number
#: when a reader of the old form would misread the new one.
SCHEMA_VERSION = '1.0'


class Status(enum.StrEnum):
    """Whether a condition is as the policy wants."""

    TRUE = 'True'
    FALSE = 'False'
    UNKNOWN = 'Unknown'


class State(enum.StrEnum):
    """What a node comes to, from its conditions."""

    COMPLIANT = 'compliant'
    DRIFTED = 'drifted'  # can be fixed now
    PENDING = 'pending'  # fixed on disk, waits for a reload or reboot
    BLOCKED = 'blocked'  # a person must act
    UNSUPPORTED = 'unsupported'
    UNKNOWN = 'unknown'


class ConditionType(enum.StrEnum):
    """What is judged, in the order it is shown."""

    CPU_SUPPORTED = 'CPUSupported'
    KERNEL_SUPPORTED = 'KernelSupported'
    KVM_USABLE = 'KVMUsable'
    NESTED_RUNTIME = 'NestedRuntime'
    NESTED_PERSISTENT = 'NestedPersistent'
    GUEST_CPU = 'GuestCPU'
    VIRT_TYPE = 'VirtType'
    NOVA_CONFIG_CURRENT = 'NovaConfigCurrent'


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """One judgement, as in Kubernetes.

    :ivar reason: one CamelCase word for machines
    :ivar message: one sentence for people; names the file, line or value, and what to do
    :ivar observed: the value the judgement rests on, None where there is none
    :ivar since: seconds since the epoch of the last change of ``status``; None if not known
    """

    type: ConditionType
    status: Status
    reason: str
    message: str
    observed: str | None = None
    since: float | None = None


class ActionKind(enum.StrEnum):
    """The closed set of what can be done about a node."""

    WRITE_MODPROBE_DROPIN = 'write-modprobe-dropin'
    LOAD_MODULE = 'load-module'
    RELOAD_MODULE = 'reload-module'
    SET_NOVA_OPTION = 'set-nova-option'
    REMOVE_NOVA_OPTION = 'remove-nova-option'
    RESTART_NOVA_COMPUTE = 'restart-nova-compute'
    BY_HAND = 'by-hand'  # never done by the agent: firmware, boot loader, another's file


class Disruption(enum.StrEnum):
    """What running guests and their owners notice of an action."""

    NONE = 'none'
    NOVA_COMPUTE_RESTART = 'nova-compute-restart'  # requests for this node wait some seconds
    KVM_RELOAD = 'kvm-reload'  # no guest may run; none can start meanwhile
    REBOOT = 'reboot'


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan.

    :ivar target: the file, module, unit or ``FILE group.option`` that changes
    :ivar before: value now; None where there is none
    :ivar after: value afterwards; None where it is removed
    """

    kind: ActionKind
    target: str
    before: str | None
    after: str | None
    why: str
    disruption: Disruption


@dataclasses.dataclass(frozen=True, slots=True)
class NovaRunning:
    """The options a nova-compute was seen to start with.

    :ivar started: seconds since the epoch; a pid alone may be another process tomorrow
    :ivar settings: effective values by ``group.option``, plain
    """

    pid: int
    started: float
    settings: Mapping[str, Any]


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
                boot_id=_optional(str, data['boot_id']),
                driver=_optional(str, data['driver']),
                policy=dict(data['policy']),
                state=State(data['state']),
                conditions=tuple(_condition(each) for each in data['conditions']),
                plan=tuple(_action(each) for each in data['plan']),
                observation=data.get('observation'),
                sequence=_optional(int, data.get('sequence')),
                nova_running=_optional(_nova_running, data.get('nova_running')),
                schema_version=version,
            )
        except KeyError as error:
            raise ReportFormatError(f'the report has no {error}') from error
        except (TypeError, ValueError) as error:
            raise ReportFormatError(str(error)) from error


def _optional(make: Callable[[Any], T], value: object) -> T | None:
    return None if value is None else make(value)


def _nova_running(data: Mapping[str, Any]) -> NovaRunning:
    return NovaRunning(int(data['pid']), float(data['started']), dict(data['settings']))


def _condition(data: Mapping[str, Any]) -> Condition:
    return Condition(
        ConditionType(data['type']),
        Status(data['status']),
        str(data['reason']),
        str(data['message']),
        _optional(str, data['observed']),
        _optional(float, data['since']),
    )


def _action(data: Mapping[str, Any]) -> Action:
    return Action(
        ActionKind(data['kind']),
        str(data['target']),
        _optional(str, data['before']),
        _optional(str, data['after']),
        str(data['why']),
        Disruption(data['disruption']),
    )


def to_plain(value: object) -> object:
    """Return dataclasses as dicts, tuples as lists, an Unread fact as ``{"unread": {...}}``.

    A field marked ``private`` is left out.
    """
    if isinstance(value, Unread):
        return {'unread': {'source': value.source, 'error': value.error, 'detail': value.detail}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not field.metadata.get('private')
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    return value
