"""Carries out the steps of one run: all of them, or none.

What another step of the run rests on and what is right by itself is kept once it is verified
(:attr:`Part.commits`); what comes after can still be undone without it.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence

from nested_agent.actions.site import Site
from nested_agent.actions.step import Step
from nested_agent.exceptions import BusyError, NestedAgentError
from nested_agent.model import Action, Outcome, Result
from nested_agent.remediation.journal import Entry, Journal
from nested_agent.remediation.undo import Undone

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A step and its place in the run.

    :ivar needs: steps that have to be done for this one to make sense
    :ivar commits: whether what was done so far, of kinds that can stay, stays from here on
    """

    step: Step
    needs: tuple[Step, ...] = ()
    commits: bool = False


#: Kinds of steps that never stay by themselves: what they stopped has to be started again.
TRANSIENT = frozenset({'stop-nova-compute', 'start-nova-compute'})


class Transaction:
    """One run's steps, carried out by :meth:`run`.

    :ivar problems: what went wrong, and what could not be undone; empty where nothing did

    :param actions: the run's, as in the journal's header
    :param undo: undoes what the journal lists
    """

    def __init__(
        self,
        site: Site,
        journal: Journal,
        actions: Sequence[Action],
        undo: Callable[[], list[Undone]],
    ) -> None:
        self._site = site
        self._journal = journal
        self._actions = list(actions)
        self._undo = undo
        self.problems: list[str] = []
        self._outcomes: dict[int, Outcome] = {}
        self._skipped: set[int] = set()  # by id() of the step

    def skip(self, step: Step, why: str) -> None:
        """Leave a step out, and what needs it."""
        self._skipped.add(id(step))
        self._tell(step, Result.SKIPPED, why)

    def run(self, parts: Sequence[Part]) -> dict[int, Outcome]:
        """Carry out the steps and return the outcomes by number of the action."""
        for number, part in enumerate(parts):
            step = part.step
            if id(step) in self._skipped:
                continue
            if any(id(each) in self._skipped for each in part.needs):
                self.skip(step, 'a step before it was not done')
                continue
            LOG.info('step %s: begun', step.name)
            self._site.alive()
            try:
                self._carry_out(part, last=number == len(parts) - 1)
            except (NestedAgentError, OSError) as error:
                LOG.error('step %s: %s', step.name, error)
                self.problems.append(f'{step.name}: {error}')
                self._tell(step, Result.FAILED, str(error))
                for rest in parts[number + 1 :]:
                    self._tell(rest.step, Result.SKIPPED, 'not reached')
                self._roll_back(step)
                break
        return self._outcomes

    def _carry_out(self, part: Part, *, last: bool) -> None:
        step = part.step
        try:
            undo = step.record()
            numbers = tuple(self._number(action) for action in step.actions)
            self._journal.add(Entry(step.name, undo, numbers))
            try:
                step.apply()
            except BusyError:
                self._journal.withdraw()
                raise
            message = step.verify()
        except BusyError as error:
            LOG.info('step %s: not now: %s', step.name, error)
            self.skip(step, str(error))
        else:
            self._journal.done(last=last)
            LOG.info('step %s: %s', step.name, message)
            self._tell(step, Result.APPLIED, message)
        if part.commits:
            kinds = {entry.step for entry in self._journal.record.entries} - TRANSIENT
            self._journal.keep(frozenset(kinds))

    def _roll_back(self, failed: Step) -> None:
        also = []  # of steps that carry out no action by themselves
        for undone in self._undo():
            if not undone.good:
                self.problems.append(f'{undone.entry.step} {undone.message}')
            if not undone.entry.actions:
                also.append(undone.message)
            for number in undone.entry.actions:
                told = self._outcomes.get(number)
                message, result = undone.message, Result.ROLLED_BACK
                if told and told.result is Result.FAILED:
                    message, result = f'{told.message}; {message}', Result.FAILED
                elif not undone.good:
                    result = Result.FAILED
                self._outcomes[number] = Outcome(self._actions[number], result, message)
        for action in failed.actions:
            told = self._outcomes[self._number(action)]
            self._tell(failed, Result.FAILED, '; '.join([told.message, *also]))

    def _number(self, action: Action) -> int:
        return self._actions.index(action)

    def _tell(self, step: Step, result: Result, message: str) -> None:
        for action in step.actions:
            self._outcomes[self._number(action)] = Outcome(action, result, message)
