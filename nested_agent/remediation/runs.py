"""Runs as they are told: how one begins, and what its outcomes come to."""

import secrets
import time
from collections.abc import Mapping, Sequence

from nested_agent.model import Action, Outcome, Result, Run, State, Trigger
from nested_agent.remediation.journal import Header
from nested_agent.report import Judged

#: The worst first: a run is as bad as its worst outcome, so what is applied is so altogether.
WORST = (Result.FAILED, Result.ROLLED_BACK, Result.SKIPPED, Result.APPLIED)


def header(
    trigger: Trigger, who: str, judged: Judged | None, actions: Sequence[Action], now: float
) -> Header:
    """Return the beginning of a run, at ``now`` seconds since the epoch.

    :param judged: the node as it is; None where that cannot be found out
    """
    moment = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))
    return Header(
        id=f'{moment}-{secrets.token_hex(2)}',
        trigger=trigger,
        who=who,
        began=now,
        boot_id=judged.report.boot_id if judged else None,
        before=_conditions(judged),
        state_before=judged.report.state if judged else State.UNKNOWN,
        actions=tuple(actions),
    )


def run(
    begun: Header,
    outcomes: Mapping[int, Outcome],
    after: Judged | None,
    now: float,
    message: str = '',
    result: Result | None = None,
    about: str | None = None,
) -> Run:
    """Return a run that ended.

    :param outcomes: by number of the action
    :param after: the node as it is then; None where that cannot be found out
    :param message: without: what its worst outcome says
    :param result: where the outcomes do not tell
    """
    ordered = tuple(outcomes[number] for number in sorted(outcomes))
    found = {outcome.result for outcome in ordered}
    result = result or next((each for each in WORST if each in found), Result.NOOP)
    return Run(
        id=begun.id,
        trigger=begun.trigger,
        who=begun.who,
        began=begun.began,
        ended=now,
        boot_id=begun.boot_id,
        result=result,
        message=message or _message(ordered, result),
        outcomes=ordered,
        before=begun.before,
        after=_conditions(after),
        state_before=begun.state_before,
        state_after=after.report.state if after else State.UNKNOWN,
        about=about,
    )


def all_alike(actions: Sequence[Action], result: Result, message: str) -> dict[int, Outcome]:
    """Return the same outcome for every action."""
    return {number: Outcome(each, result, message) for number, each in enumerate(actions)}


def _conditions(judged: Judged | None) -> dict[str, str]:
    if judged is None:
        return {}
    return {each.type.value: f'{each.status}/{each.reason}' for each in judged.report.conditions}


def _message(outcomes: Sequence[Outcome], result: Result) -> str:
    """Return the sentence that tells the worst, or that there was nothing to tell."""
    if not outcomes:
        return 'nothing to do'
    told = next((each for each in outcomes if each.result is result), outcomes[0])
    return f'{told.action.kind} {told.action.target}: {told.message}'
