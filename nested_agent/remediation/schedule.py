"""When the daemon mends its node without being asked."""

import logging
import random
import time
from collections.abc import Callable

from nested_agent.exceptions import RemediationError
from nested_agent.model import Action, Report, Result, Trigger
from nested_agent.remediation.options import Mode, Options
from nested_agent.remediation.remediator import Remediator

LOG = logging.getLogger(__name__)

#: Seconds before what was not possible at one moment is tried again.
RETRY_SECONDS = 30.0


class Schedule:
    """Knows when the next fix is due, and makes it.

    :param options: asked before every use, so they may change
    """

    def __init__(self, remediator: Remediator, options: Callable[[], Options]) -> None:
        self._remediator = remediator
        self._options = options
        self._due: float | None = None  # by time.monotonic(): when the splay is over
        self._not_before = 0.0  # by time.monotonic()
        self._skips = 0  # runs in a row in which something turned out to be busy
        self._shown: tuple[Action, ...] = ()  # the last plan that was only shown

    def due(self, report: Report) -> float | None:
        """Return in how many seconds :meth:`act` should be called; None: not."""
        status = report.remediation
        todo = _todo(report)
        if not todo:
            self._skips = 0
            self._not_before = 0.0
        if not report.plan:
            self._due = None
        if not todo or status is None or status.pause or status.interrupted or status.stuck:
            return None
        contested = any(contest.about(action) for contest in status.contests for action in todo)
        if contested or status.gave_up:
            return None
        if status.mode == Mode.NOOP:
            return None if todo == self._shown else 0.0
        if status.mode != Mode.ENFORCE:
            return None
        now = time.monotonic()
        if self._due is None:
            splay = self._options().splay
            self._due = now + random.uniform(0, splay)  # noqa: S311  # no secret
            LOG.info('a fix is due in %.0f s', self._due - now)
        after_failure = status.next_attempt - time.time() if status.next_attempt else 0.0
        return max(self._due - now, self._not_before - now, after_failure, 0.0)

    def act(self, report: Report) -> None:
        """Remediate, or by mode ``noop`` find out and record what would be done."""
        self._due = None
        # What turns out not to be possible, with nova-compute stopped for it, gets rarer each time.
        limit = self._options().backoff_limit
        pause = min(RETRY_SECONDS * 2**self._skips, max(limit, RETRY_SECONDS))
        self._not_before = time.monotonic() + pause
        mode = self._options().mode
        if mode is Mode.OFF:
            return  # said while the node was being verified
        noop = mode is not Mode.ENFORCE or (
            report.remediation is None or report.remediation.mode != Mode.ENFORCE
        )
        if noop:
            self._shown = _todo(report)
        try:
            run = self._remediator.remediate(Trigger.AUTONOMOUS, noop=noop)
        except RemediationError as error:
            LOG.warning('no remediation now: %s', error)
            return
        if run.result is Result.APPLIED:
            self._not_before = 0.0
            self._skips = 0
        elif run.result is Result.SKIPPED:
            self._skips = min(self._skips + 1, 32)

    def retry_soon(self, report: Report) -> float | None:
        """Return after how many seconds to look again at what waits for an idle moment.

        None where nothing does: the end of a guest is no event that the loop is sure to see.
        """
        status = report.remediation
        waiting = any(not action.now for action in report.plan)
        if waiting and status and status.mode == Mode.ENFORCE and not status.pause:
            return RETRY_SECONDS
        return None


def _todo(report: Report) -> tuple[Action, ...]:
    return tuple(action for action in report.plan if action.executable)
