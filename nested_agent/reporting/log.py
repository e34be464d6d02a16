"""What the log says of reports: one line per change, none per verification."""

import logging

from nested_agent.model import Condition, Report, State, Status

LOG = logging.getLogger(__name__)

_GOOD = (State.COMPLIANT,)


def changes(report: Report, previous: Report | None) -> None:
    """Log what differs from the previous report; of the first, all that is not as wanted."""
    before = {each.type: each for each in previous.conditions} if previous else {}
    for condition in report.conditions:
        _condition(condition, before.get(condition.type))
    for type_ in before.keys() - {each.type for each in report.conditions}:
        gone = before[type_]
        LOG.info('%s: %s/%s no longer applies', type_, gone.status, gone.reason)
    if previous is None or previous.state is not report.state:
        was = f'{previous.state} -> ' if previous else ''
        level = logging.INFO if report.state in _GOOD else logging.WARNING
        LOG.log(level, 'node %s is %s%s', report.host, was, report.state)


def _condition(condition: Condition, before: Condition | None) -> None:
    good = condition.status is Status.TRUE
    now = f'{condition.status}/{condition.reason}'
    if before is None:
        if not good:
            LOG.warning('%s: %s: %s', condition.type, now, condition.message)
        return
    was = f'{before.status}/{before.reason}'
    if was != now:
        level = logging.INFO if good else logging.WARNING
        LOG.log(level, '%s: %s -> %s: %s', condition.type, was, now, condition.message)
