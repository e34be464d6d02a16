"""Fixes as the daemon's loop makes them: those that are asked for, and those that are due.

All of it happens on the loop's thread: nothing is verified while something is half way.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import NamedTuple, Protocol

from nested_agent.exceptions import NestedAgentError, RemediationError
from nested_agent.model import Report, Run, Trigger

LOG = logging.getLogger(__name__)

#: Between two looks whether another process still remediates.
ASIDE_SECONDS = 0.5

#: For longer than this no remediation takes: then the node is verified all the same.
ASIDE_MOST_SECONDS = 3600.0


class Remediator(Protocol):
    """What changes the node."""

    def recover(self) -> Run | None:
        """Put right what an interrupted run left, if there is one."""

    def failed(self, error: Exception) -> None:
        """Remember an attempt that ended by a defect of ours."""

    def under_way(self) -> bool:
        """Whether another process remediates this node now."""

    def remediate(self, trigger: Trigger, who: str = '', *, noop: bool = False) -> Run:
        """Observe, plan and apply, because somebody asked.

        :raises RemediationError: not now
        """


class Schedule(Protocol):
    """What knows when to do so without being asked."""

    def due(self, report: Report) -> float | None:
        """Return in how many seconds :meth:`act` should be called; None: not."""

    def act(self, report: Report) -> None:
        """Do what is due."""

    def retry_soon(self, report: Report) -> float | None:
        """Return after how many seconds at most to verify again; None: as always."""


class _Request(NamedTuple):
    """Somebody's wish to have the node mended, and where the answer goes."""

    who: str
    noop: bool
    answer: futures.Future[Run]


class Mending:
    """Makes fixes between two verifications."""

    def __init__(
        self, remediator: Remediator, schedule: Schedule, alive: Callable[[], object]
    ) -> None:
        self._remediator = remediator
        self._schedule = schedule
        self._alive = alive
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False

    def ask(self, who: str, *, noop: bool) -> futures.Future[Run]:
        """Have a fix made soon; may be called from any thread.

        :returns: the run; or raises RemediationError: not now
        """
        request = _Request(who, noop, futures.Future())
        with self._closing:
            if self._closed:
                raise RemediationError('the agent is being stopped')
            self._requests.put(request)
        return request.answer

    def mend(self, report: Report) -> bool:
        """Do one thing that is asked for or due; returns whether there was any."""
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            return self._act(report)
        try:
            run = self._remediator.remediate(Trigger.RPC, request.who, noop=request.noop)
            request.answer.set_result(run)
        except Exception as error:
            if not isinstance(error, NestedAgentError):
                LOG.exception('remediation failed')
            request.answer.set_exception(error)
        return True

    def _act(self, report: Report) -> bool:
        if self._schedule.due(report) != 0:
            return False
        try:
            self._schedule.act(report)
        except Exception as error:  # the tick: a defect of ours is a failed attempt
            LOG.exception('remediation failed')
            self._remediator.failed(error)
        return True

    def seconds(self, report: Report) -> list[float]:
        """Return after how many seconds at most to verify again, for what reasons there are."""
        found = (self._schedule.due(report), self._schedule.retry_soon(report))
        return [each for each in found if each is not None]

    def stand_aside(self, stopping: Callable[[], bool]) -> None:
        """Recover what was interrupted, and wait while another process remediates.

        What is half way is neither reported nor touched.
        """
        try:
            self._remediator.recover()
            end = time.monotonic() + ASIDE_MOST_SECONDS
            while self._remediator.under_way() and not stopping() and time.monotonic() < end:
                self._alive()
                time.sleep(ASIDE_SECONDS)
        except Exception:  # the tick: whatever went wrong, the node is verified
            LOG.exception('recovery failed')

    def close(self) -> None:
        """Refuse what is still asked for: the loop has ended."""
        with self._closing:
            self._closed = True
        while not self._requests.empty():
            answer = self._requests.get_nowait().answer
            answer.set_exception(RemediationError('the agent is being stopped'))
