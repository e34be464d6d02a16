"""Notifications: which events there are, what each says, and how loudly. Pure.

Documented in ``doc/source/reference/notifications.rst``. What is said is what the collector gets
(:mod:`nested_agent.reporting.brief`) or less: no observation, and of files the options concerned.
"""

import enum
from typing import Any, NamedTuple

from nested_agent.model import Action, Report, Result, Run, State, Status, Trigger, to_plain
from nested_agent.remediation.journal import Header

#: Of every payload. The minor number grows with a new key, the major number when a reader of the
#: old form would misread the new one.
SCHEMA_VERSION = '1.0'

STATE_CHANGED = 'nested_agent.state.changed'
START = 'nested_agent.remediation.start'
END = 'nested_agent.remediation.end'
ERROR = 'nested_agent.remediation.error'


class Priority(enum.StrEnum):
    """Those of oslo.messaging that are used; each has a queue of its own."""

    INFO = 'info'
    WARN = 'warn'
    ERROR = 'error'


#: Of a change to that state.
OF_STATE = {
    State.COMPLIANT: Priority.INFO,
    State.DRIFTED: Priority.WARN,
    State.PENDING: Priority.WARN,
    State.BLOCKED: Priority.ERROR,
    State.UNSUPPORTED: Priority.WARN,
    State.UNKNOWN: Priority.WARN,
}

#: Of a remediation that ended so; those that are not here ended as an error.
OF_END = {
    Result.APPLIED: Priority.INFO,
    Result.NOOP: Priority.INFO,
    Result.SKIPPED: Priority.WARN,
}


class Notification(NamedTuple):
    """One notification, but for who sends it.

    :ivar event: its type
    """

    event: str
    priority: Priority
    payload: dict[str, Any]


def state_changed(report: Report, before: State | None) -> Notification:
    """Return that a node came to another state.

    :param before: the state it was in; None: this is the first report there is
    """
    payload = {
        **_head(report.host, report.time),
        'boot_id': report.boot_id,
        'sequence': report.sequence,
        'nested': report.policy.get('nested'),
        'state_before': before,
        'state': report.state,
        'conditions': [
            {
                'type': each.type,
                'status': each.status,
                'reason': each.reason,
                'message': each.message,
                'since': each.since,
            }
            for each in report.conditions
            if each.status is not Status.TRUE
        ],
        'plan': [_action(each) for each in report.plan],
    }
    return _notification(STATE_CHANGED, OF_STATE[report.state], payload)


def started(host: str, run: Header) -> Notification:
    """Return that a run begins."""
    actions = [_action(each) for each in run.actions]
    return _start(host, run, actions)


def started_before(host: str, run: Run) -> Notification:
    """Return that a run had begun of which only the end was seen."""
    actions = [_action(each.action) for each in run.outcomes]
    return _start(host, run, actions)


def _start(host: str, run: Header | Run, actions: list[dict[str, Any]]) -> Notification:
    payload = {
        **_head(host, run.began),
        **_what(run.id, run),
        'state_before': run.state_before,
        'actions': actions,
    }
    return _notification(START, Priority.INFO, payload)


def ended(host: str, id_: str, run: Run) -> Notification:
    """Return what came of a remediation.

    :param id_: as it was started
    :param run: how it ended; of one that was interrupted: the run that put it right
    """
    payload = {
        **_head(host, run.ended),
        **_what(id_, run),
        'run': run.id,
        'result': run.result,
        'message': run.message,
        'state_before': run.state_before,
        'state_after': run.state_after,
        'outcomes': [
            {**_action(each.action), 'result': each.result, 'message': each.message}
            for each in run.outcomes
        ],
    }
    if run.result in OF_END:
        return _notification(END, OF_END[run.result], payload)
    return _notification(ERROR, Priority.ERROR, payload)


def _head(host: str, time: float) -> dict[str, Any]:
    return {'schema_version': SCHEMA_VERSION, 'host': host, 'time': time}


def _what(id_: str, run: Header | Run) -> dict[str, Any]:
    trigger: Trigger = run.trigger
    return {'id': id_, 'trigger': trigger, 'who': run.who, 'began': run.began}


def _action(action: Action) -> dict[str, Any]:
    return {
        'kind': action.kind,
        'target': action.target,
        'before': action.before,
        'after': action.after,
        'disruption': action.disruption,
        'now': action.now,
    }


def _notification(event: str, priority: Priority, payload: dict[str, Any]) -> Notification:
    plain = to_plain(payload)
    assert isinstance(plain, dict)  # noqa: S101  # for the type checker
    return Notification(event, priority, plain)
