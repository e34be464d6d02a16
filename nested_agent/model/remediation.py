"""Run, Outcome, Pause, Contest, Remediation: what the agent did about a node, and may do yet."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, Self

from nested_agent.model.action import Action, ActionKind
from nested_agent.model.condition import State
from nested_agent.model.plain import optional


class Result(enum.StrEnum):
    """What became of an action, or of a whole run."""

    APPLIED = 'applied'
    NOOP = 'noop'  # would have been applied
    SKIPPED = 'skipped'  # not now: the module is busy, or a step before it was not done
    FAILED = 'failed'
    ROLLED_BACK = 'rolled_back'  # it was done, and undone because another step failed


class Trigger(enum.StrEnum):
    """What made a run begin."""

    AUTONOMOUS = 'autonomous'  # the daemon, by [remediation] mode
    COMMAND = 'command'  # root on this node
    RPC = 'rpc'
    RECOVERY = 'recovery'  # a run that was interrupted
    REVERT = 'revert'


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action.

    :ivar message: one sentence for people: what is so now, or what went wrong and what to do
    """

    action: Action
    result: Result
    message: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the outcome that :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(Action.from_dict(data['action']), Result(data['result']), str(data['message']))


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One remediation, from its plan to its end.

    :ivar id: of this run alone, sorts by time
    :ivar who: what or who asked, in free words (a user's name, a host); empty for the daemon
    :ivar began: seconds since the epoch
    :ivar ended: seconds since the epoch
    :ivar result: the worst of its outcomes; ``noop`` also where there was nothing to do
    :ivar before: status and reason (``False/Disabled``) by condition
    :ivar after: the same when it had ended; empty where that could not be found out
    :ivar about: of a recovery: the id of the run that it put right
    """

    id: str
    trigger: Trigger
    who: str
    began: float
    ended: float
    boot_id: str | None
    result: Result
    message: str
    outcomes: tuple[Outcome, ...]
    before: Mapping[str, str]
    after: Mapping[str, str]
    state_before: State
    state_after: State
    about: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the run that :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(
            str(data['id']),
            Trigger(data['trigger']),
            str(data['who']),
            float(data['began']),
            float(data['ended']),
            optional(str, data['boot_id']),
            Result(data['result']),
            str(data['message']),
            tuple(Outcome.from_dict(each) for each in data['outcomes']),
            dict(data['before']),
            dict(data['after']),
            State(data['state_before']),
            State(data['state_after']),
            optional(str, data.get('about')),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Pause:
    """No fixes on this node for a while; it is verified all the same.

    :ivar since: seconds since the epoch
    :ivar until: seconds since the epoch; None: until somebody says "resume"
    :ivar who: as of :class:`Run`
    """

    since: float
    until: float | None
    reason: str
    who: str

    def over(self, now: float) -> bool:
        """Whether it has ended, at ``now`` seconds since the epoch."""
        return self.until is not None and now >= self.until

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the pause that :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(
            float(data['since']),
            optional(float, data['until']),
            str(data['reason']),
            str(data['who']),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Contest:
    """A fix that had to be made again and again.

    :ivar kind: as of the action
    :ivar times: how often it was made
    :ivar since: seconds since the epoch of the first of them
    """

    kind: ActionKind
    target: str
    after: str | None
    times: int
    since: float

    def about(self, action: Action) -> bool:
        """Whether the action would be the same fix once more."""
        return (self.kind, self.target, self.after) == (action.kind, action.target, action.after)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the contest that :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(
            ActionKind(data['kind']),
            str(data['target']),
            optional(str, data['after']),
            int(data['times']),
            float(data['since']),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Remediation:
    """Whether, and why not, the agent mends this node by itself.

    :ivar mode: ``[remediation] mode``: ``off``, ``noop`` or ``enforce``
    :ivar pause: None when there is none
    :ivar failures: runs that failed one after the other since the last good one, or "resume"
    :ivar next_attempt: seconds since the epoch before which none is made after a failure
    :ivar gave_up: why nothing is tried until somebody says "resume", None if it is
    :ivar contests: what something else keeps changing back
    :ivar interrupted: id of a run that was interrupted and not yet put right
    :ivar stuck: why such a run cannot be put right; None if it can, or there is none
    :ivar last_run: without those that found nothing to do
    """

    mode: str
    pause: Pause | None = None
    failures: int = 0
    next_attempt: float | None = None
    gave_up: str | None = None
    contests: tuple[Contest, ...] = ()
    interrupted: str | None = None
    stuck: str | None = None
    last_run: Run | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(
            str(data['mode']),
            optional(Pause.from_dict, data['pause']),
            int(data['failures']),
            optional(float, data['next_attempt']),
            optional(str, data['gave_up']),
            tuple(Contest.from_dict(each) for each in data['contests']),
            optional(str, data['interrupted']),
            optional(str, data['stuck']),
            optional(Run.from_dict, data['last_run']),
        )
