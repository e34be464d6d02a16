"""Mends this node: one run at a time, by whoever is allowed to."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nested_agent.actions.changes import Changes
from nested_agent.actions.site import Limits, Site
from nested_agent.actions.step import Step
from nested_agent.exceptions import (
    NestedAgentError,
    RecordError,
    RemediationBusyError,
    RemediationError,
)
from nested_agent.model import Outcome, Pause, Remediation, Result, Run, Trigger
from nested_agent.node import kernel
from nested_agent.node.root import Root
from nested_agent.remediation import recovery, revert, runs, status, undo
from nested_agent.remediation.chronicle import Chronicle, Onlooker
from nested_agent.remediation.history import Control, History
from nested_agent.remediation.journal import Header, Journal, Phase
from nested_agent.remediation.lock import Lock
from nested_agent.remediation.options import Options
from nested_agent.remediation.steps import Steps
from nested_agent.remediation.transaction import Part, Transaction
from nested_agent.report import Judged

LOG = logging.getLogger(__name__)


class Remediator:
    """What the daemon and ``nested-agentctl`` both use, in processes of their own.

    :param state_dir: lock, journal, history, pause and originals are kept here
    :param options: asked before every use, so they may change
    :param look: observes and judges the node, given what is known of earlier fixes
    :param alive: called at least every few seconds of a run
    :param onlooker: told of runs as they happen
    :param clock: seconds since the epoch
    """

    def __init__(
        self,
        root: Root,
        state_dir: Path,
        options: Callable[[], Options],
        look: Callable[[Remediation], Judged],
        *,
        alive: Callable[[], object] = lambda: None,
        onlooker: Onlooker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._state_dir = state_dir
        self._options = options
        self._look = look
        self._alive = alive
        self._clock = clock
        self._lock = Lock(state_dir)
        self._journal = Journal(state_dir)
        self._history = History(state_dir)
        self._chronicle = Chronicle(self._history, onlooker)

    def status(self) -> Remediation:
        """Return whether, and why not, the node is mended without being asked."""
        interrupted, stuck = self._interrupted()
        options = self._options()
        return status.status(self._history, options, self._clock(), interrupted, stuck)

    def _interrupted(self) -> tuple[str | None, str | None]:
        """Return the id of an interrupted run, and why it cannot be put right."""
        if not self._journal.path.exists() or self._lock.mine or self.under_way():
            return None, None
        try:
            record = self._journal.known(Journal(self._state_dir).read())
        except RecordError as error:
            return None, str(error)
        if record is None:
            return None, None
        run = record.header.id
        if record.recoveries < self._options().attempts or not record.problem:
            return run, None
        return run, f'run {run} was interrupted and cannot be put right: {record.problem}'

    def under_way(self) -> bool:
        """Whether another process remediates this node now."""
        return self._lock.anothers()

    @property
    def at_it(self) -> bool:
        """Whether this object remediates the node now, in another thread."""
        return self._lock.mine

    def watched(self) -> set[str]:
        """Return the files by which other processes tell that something was decided or done."""
        return {str(self._history.path), str(self._history.control_path), str(self._journal.path)}

    def remediate(self, trigger: Trigger, who: str = '', *, noop: bool = False) -> Run:
        """Observe, plan and apply; the run is in the history when this returns.

        An interrupted run is put right first.

        :param noop: apply nothing: outcomes say what would be done, as far as it can be found out
        :raises RemediationBusyError: another run is under way; or fixes are paused, and it is not
            root on this node who asks
        :raises RemediationError: an interrupted run cannot be put right, no journal can be written
        """
        if noop:
            return self._rehearse(trigger, who)
        with self._lock.held():
            pause = self.status().pause
            if pause and trigger is not Trigger.COMMAND:
                # Root on the node itself sees what is going on there; others have to ask first.
                raise RemediationBusyError(f'fixes are paused on this node: {pause.reason}')
            self._put_right()
            site = self._site()
            judged = site.look()
            todo = [action for action in judged.report.plan if action.executable]
            begun = runs.header(trigger, who, judged, todo, self._clock())
            try:
                steps = Steps(site, judged)
            except (NestedAgentError, OSError) as error:
                return self._refused(begun, judged, error)
            return self._carry_out(site, begun, steps.parts, steps.busy)

    def _rehearse(self, trigger: Trigger, who: str) -> Run:
        site = self._site()
        judged = site.look()
        todo = [action for action in judged.report.plan if action.executable]
        begun = runs.header(trigger, who, judged, todo, self._clock())
        outcomes = runs.all_alike(todo, Result.NOOP, 'would be done')
        message = ''
        try:
            for step, why in Steps(site, judged).busy:
                for action in step.actions:
                    outcomes[todo.index(action)] = Outcome(action, Result.SKIPPED, why)
        except (NestedAgentError, OSError) as error:
            outcomes = runs.all_alike(todo, Result.SKIPPED, 'would not be done')
            message = f'would be refused: {error}'
        run = runs.run(begun, outcomes, judged, self._clock(), message, Result.NOOP)
        with contextlib.suppress(RecordError):  # by a user who may only look
            self._history.add(run)
        return run

    def revert(self, who: str = '') -> Run:
        """Undo everything the agent ever changed on this node, and pause until "resume".

        :raises RemediationError: as for :meth:`remediate`
        """
        with self._lock.held():
            self._put_right()
            self.pause(None, 'everything the agent had changed was reverted', who)
            site = self._site()
            judged = site.look()
            begun = runs.header(Trigger.REVERT, who, judged, (), self._clock())
            try:
                parts, busy = revert.parts(site, judged)
            except (NestedAgentError, OSError) as error:
                return self._refused(begun, judged, error)
            todo = [action for part in parts for action in part.step.actions]
            begun = runs.header(Trigger.REVERT, who, judged, todo, self._clock())
            return self._carry_out(site, begun, parts, busy)

    def recover(self) -> Run | None:
        """Put right what an interrupted run left, if there is one and nobody is at it.

        What could not be undone is tried again, less and less often.
        """
        if not self._journal.path.exists() or self.under_way():
            return None
        try:
            with self._lock.held():
                if self._journal.read() is None:
                    return None
                if not recovery.due(self._journal, self._options(), self._clock()):
                    return None
                return self._recover()
        except (RecordError, RemediationError) as error:
            LOG.error('an interrupted run cannot be put right: %s', error)
            return None

    def failed(self, error: Exception) -> None:
        """Remember an attempt that ended by a defect of ours: it counts as any other failure."""
        now = self._clock()
        begun = runs.header(Trigger.AUTONOMOUS, '', None, (), now)
        message = f'a defect of nested-agent, see its log: {type(error).__name__}: {error}'
        self._chronicle.ended(runs.run(begun, {}, None, now, message, Result.FAILED))

    def pause(self, seconds: float | None, reason: str, who: str = '') -> Pause:
        """Make no fixes for a while, None: until "resume"; survives restarts.

        :raises RemediationError: it cannot be written down
        """
        now = self._clock()
        pause = Pause(now, None if seconds is None else now + seconds, reason, who)
        self._set(lambda before: dataclasses.replace(before, pause=pause))
        LOG.info('paused: %s', reason)
        return pause

    def resume(self, who: str = '') -> None:
        """End a pause, and forget failures and contests: fixes are tried again.

        :raises RemediationError: it cannot be written down
        """
        try:
            real = [run for run in self._history.runs() if run.result is not Result.NOOP]
        except RecordError as error:
            raise RemediationError(str(error)) from error
        forgiven = real[0].id if real else None
        self._set(lambda before: Control(None, forgiven))
        LOG.info('resumed%s', f' by {who}' if who else '')

    def _set(self, change: Callable[[Control], Control]) -> None:
        try:
            self._history.set_control(change)
        except RecordError as error:
            raise RemediationError(str(error)) from error

    def history(self) -> tuple[Run, ...]:
        """Return the runs that are still remembered, the last first.

        :raises RecordError: the history cannot be read
        """
        return self._history.runs()

    def _carry_out(
        self,
        site: Site,
        begun: Header,
        parts: Sequence[Part],
        busy: Sequence[tuple[Step, str]],
    ) -> Run:
        if not parts and not busy:
            run = runs.run(begun, {}, site.look(), self._clock())
            self._chronicle.ended(run)
            return run
        try:
            self._journal.begin(begun)
        except RecordError as error:
            raise RemediationError(f'nothing is changed without a journal: {error}') from error
        self._chronicle.begun(begun)
        transaction = Transaction(
            site,
            self._journal,
            begun.actions,
            lambda: undo.undo(site, self._journal, rebooted=False),
        )
        for step, why in busy:
            transaction.skip(step, why)
        outcomes = transaction.run(parts)
        for number, action in enumerate(begun.actions):
            left_out = Outcome(action, Result.SKIPPED, 'not needed by what could be done now')
            outcomes.setdefault(number, left_out)
        return self._end(site, begun, outcomes, transaction.problems)

    def _end(
        self,
        site: Site,
        begun: Header,
        outcomes: Mapping[int, Outcome],
        problems: Sequence[str],
    ) -> Run:
        journal = self._journal
        if journal.record.phase is not Phase.UNDOING:
            journal.enter(Phase.KEEPING)
        unkept = [] if journal.unfinished else undo.keep(site, journal)
        problems = [*problems, *unkept]
        result = Result.FAILED if problems else None
        message = '; '.join(problems)
        run = runs.run(begun, outcomes, site.look(), self._clock(), message, result)
        self._chronicle.ended(run)
        # What could not be undone, or written down, is tried again by the next recovery.
        if not journal.unfinished and not unkept:
            journal.end()
        return run

    def _refused(self, begun: Header, judged: Judged, error: Exception) -> Run:
        outcomes = runs.all_alike(begun.actions, Result.FAILED, str(error))
        message = f'nothing was changed: {error}'
        run = runs.run(begun, outcomes, judged, self._clock(), message, Result.FAILED)
        self._chronicle.ended(run)
        return run

    def _put_right(self) -> None:
        """Recover, under the lock.

        :raises RemediationError: something of an interrupted run is left to do
        """
        try:
            if self._journal.read() is None:
                return
            run = self._recover()
        except RecordError as error:
            raise RemediationError(str(error)) from error
        if run.result is Result.FAILED:
            raise RemediationError(run.message)

    def _recover(self) -> Run:
        """Put the run right that the journal holds, under the lock."""
        journal = self._journal
        site = self._site()
        run = recovery.recover(site, journal, self._clock())
        told = journal.record.problem or None
        if not self._chronicle.tells(run):
            self._chronicle.ended(run)
        if told is None:
            journal.end()
            with contextlib.suppress(RecordError):
                site.changes.sweep(self._clock())
        return run

    def _site(self) -> Site:
        options = self._options()
        boot_id = kernel.boot_id(self._root)
        return Site(
            root=self._root,
            look=lambda: self._look(self.status()),
            changes=Changes(self._state_dir),
            boot_id=boot_id if isinstance(boot_id, str) else None,
            limits=Limits(nova=options.nova_timeout, settle=options.nova_settle),
            alive=self._alive,
        )
