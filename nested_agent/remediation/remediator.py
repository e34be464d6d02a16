"""Mends this node: one run at a time, by whoever is allowed to."""

import contextlib
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

    :param state_dir: journal, history, pause and originals are kept here
    :param run_dir: the lock is here
    :param options: asked before every use, so they may change
    :param look: observes and judges the node, given what is known of earlier fixes
    :param alive: called at least every few seconds of a run
    :param clock: seconds since the epoch
    """

    def __init__(
        self,
        root: Root,
        state_dir: Path,
        run_dir: Path,
        options: Callable[[], Options],
        look: Callable[[Remediation], Judged],
        *,
        alive: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._state_dir = state_dir
        self._run_dir = run_dir
        self._options = options
        self._look = look
        self._alive = alive
        self._clock = clock
        self._lock = Lock(state_dir)
        self._journal = Journal(state_dir)
        self._history = History(state_dir)

    def status(self) -> Remediation:
        """Return whether, and why not, the node is mended without being asked."""
        return status.status(self._history, self._options(), self._clock(), self._interrupted())

    def _interrupted(self) -> str | None:
        if not self._journal.path.exists() or self._lock.mine or self.under_way():
            return None
        try:
            record = Journal(self._state_dir).read()
        except RecordError as error:
            return str(error)
        return record.header.id if record else None

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
        pause = self.status().pause
        if pause and trigger is not Trigger.COMMAND:
            # Root on the node itself sees what is going on there; others have to ask first.
            raise RemediationBusyError(f'fixes are paused on this node: {pause.reason}')
        with self._lock.held():
            self._recover()
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
        self._remember(run)
        return run

    def revert(self, who: str = '') -> Run:
        """Undo everything the agent ever changed on this node, and pause until "resume".

        :raises RemediationError: as for :meth:`remediate`
        """
        with self._lock.held():
            self._recover()
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
        """Put right what an interrupted run left, if there is one and nobody is at it."""
        if not self._journal.path.exists() or self.under_way():
            return None
        try:
            with self._lock.held():
                return self._recover()
        except RemediationError as error:
            LOG.error('an interrupted run cannot be put right: %s', error)
            return None

    def pause(self, seconds: float | None, reason: str, who: str = '') -> Pause:
        """Make no fixes for a while, None: until "resume"; survives restarts.

        :raises RemediationError: it cannot be written down
        """
        now = self._clock()
        pause = Pause(now, None if seconds is None else now + seconds, reason, who)
        forgiven = None
        with contextlib.suppress(RecordError):
            forgiven = self._history.control().forgiven
        self._set(Control(pause, forgiven))
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
        self._set(Control(None, real[0].id if real else None))
        LOG.info('resumed%s', f' by {who}' if who else '')

    def _set(self, control: Control) -> None:
        try:
            self._history.set_control(control)
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
        if not parts:
            run = runs.run(begun, {}, site.look(), self._clock())
            self._remember(run)
            return run
        LOG.info('run %s (%s): begun', begun.id, begun.trigger)
        try:
            self._journal.begin(begun)
        except RecordError as error:
            raise RemediationError(f'nothing is changed without a journal: {error}') from error
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
        return self._end(site, begun, outcomes)

    def _end(self, site: Site, begun: Header, outcomes: Mapping[int, Outcome]) -> Run:
        journal = self._journal
        stuck = False
        if journal.record.phase is Phase.UNDOING:
            stuck = any(not entry.kept for entry in journal.record.entries)
        else:
            with contextlib.suppress(RecordError):
                journal.enter(Phase.KEEPING)
        problems = [] if stuck else undo.keep(site, journal)
        run = runs.run(begun, outcomes, site.look(), self._clock(), '; '.join(problems))
        self._remember(run)
        # What could not be undone, or written down, is tried again by the next recovery.
        if not stuck and not problems:
            with contextlib.suppress(RecordError):
                journal.end()
        return run

    def _refused(self, begun: Header, judged: Judged, error: Exception) -> Run:
        outcomes = runs.all_alike(begun.actions, Result.FAILED, str(error))
        message = f'nothing was changed: {error}'
        run = runs.run(begun, outcomes, judged, self._clock(), message, Result.FAILED)
        self._remember(run)
        return run

    def _recover(self) -> Run | None:
        """As :meth:`recover`, under the lock.

        :raises RemediationError: the journal cannot be read or removed
        """
        try:
            record = self._journal.read()
            if record is None:
                return None
            site = self._site()
            attempts = self._options().attempts
            run = recovery.recover(site, self._journal, record, self._clock(), attempts)
        except RecordError as error:
            raise RemediationError(str(error)) from error
        self._remember(run)
        return run

    def _remember(self, run: Run) -> None:
        LOG.info('run %s (%s): %s: %s', run.id, run.trigger, run.result, run.message)
        try:
            self._history.add(run)
        except RecordError as error:
            # By a user who may only look, or on a full disk: the run was what it was.
            LOG.warning('%s', error)

    def _site(self) -> Site:
        options = self._options()
        boot_id = kernel.boot_id(self._root)
        return Site(
            root=self._root,
            look=lambda: self._look(self.status()),
            changes=Changes(self._state_dir),
            run_dir=self._run_dir,
            boot_id=boot_id if isinstance(boot_id, str) else None,
            limits=Limits(nova=options.nova_timeout, settle=options.nova_settle),
            alive=self._alive,
        )
