"""Judge of Remediable: whether the agent could mend what differs, if anything does."""

import datetime
from collections.abc import Sequence

from nested_agent.facts import Manager, NovaCompute, Observation
from nested_agent.model import Action, ActionKind, ConditionType, Contest, Remediation
from nested_agent.verify.judgement import Judgement, Remedy, false, true

RESUMED = '"nested-agentctl resume"'
RESUME = f'mend it by hand or remove the cause, then {RESUMED}'
NOVA = (ActionKind.SET_NOVA_OPTION, ActionKind.REMOVE_NOVA_OPTION)
OWNERS = {
    Manager.PACKAGE: "the distribution's package",
    Manager.UNKNOWN: 'an unknown tool',
    Manager.CONTAINER: 'what makes its container',
}


def remediable(
    remediation: Remediation, plan: Sequence[Action], observation: Observation
) -> Judgement:
    """Judge by what came of earlier attempts; without anything left to do they do not matter."""
    type_ = ConditionType.REMEDIABLE
    interrupted = remediation.interrupted
    if remediation.stuck:
        return false(type_, 'Stuck', remediation.stuck, Remedy.PERSON)
    if interrupted:
        return false(
            type_,
            'Interrupted',
            f'run {interrupted} was interrupted; nested-agent, or "nested-agentctl remediate", '
            'finishes or undoes it',
            Remedy.FIX,
        )
    todo = [action for action in plan if action.executable]
    if todo and remediation.gave_up:
        return false(type_, 'GaveUp', f'{remediation.gave_up}; {RESUME}', Remedy.PERSON)
    for contest in remediation.contests:
        for action in filter(contest.about, todo):
            message = _contested(contest, action, observation)
            return false(type_, 'Contested', message, Remedy.PERSON, str(contest.times))
    if todo and remediation.failures and remediation.last_run and remediation.next_attempt:
        return false(
            type_,
            'Failed',
            f'{remediation.last_run.message}; next attempt not before '
            f'{_clock(remediation.next_attempt)}',
            Remedy.FIX,
            str(remediation.failures),
        )
    pause = remediation.pause
    if pause:
        until = f'until {_clock(pause.until)}' if pause.until else 'until "nested-agentctl resume"'
        who = f' by {pause.who}' if pause.who else ''
        return true(type_, 'Paused', f'no fixes {until}, paused{who}: {pause.reason}')
    return true(type_, *MODES[remediation.mode])


MODES = {
    'off': ('Off', '[remediation] mode is off: nothing is fixed without being asked'),
    'noop': ('Noop', '[remediation] mode is noop: fixes are shown, and made only when asked for'),
    'enforce': ('Enforce', 'what differs and can be fixed is fixed'),
}


def _contested(contest: Contest, action: Action, observation: Observation) -> str:
    message = (
        f'{contest.times} times since {_clock(contest.since)} the agent set {action.target} to '
        f'{action.after or "nothing"}, and something changed it back: {action.why}'
    )
    nova = observation.nova
    if action.kind in NOVA and isinstance(nova, NovaCompute):
        message += f'; nova-compute here was set up by {OWNERS.get(nova.manager, nova.manager)}'
    return f'{message}; have what writes it write what the policy wants, then {RESUMED}'


def _clock(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime('%Y-%m-%dT%H:%M:%SZ')
