"""The loop: verify, publish, mend, wait for a change or the interval, verify again."""

import dataclasses
import logging
import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence

from nested_agent.exceptions import RemediationError
from nested_agent.mending import Mending
from nested_agent.model import (
    SCHEMA_VERSION,
    Condition,
    ConditionType,
    Report,
    Run,
    State,
    Status,
)
from nested_agent.watch import Watcher

LOG = logging.getLogger(__name__)

#: A change often comes in pieces; it is judged when it has been quiet for this long...
SETTLE_SECONDS = 0.1
#: ...but at the latest after this.
SETTLE_MOST_SECONDS = 1.0

#: Of the interval, so that the nodes of a cloud do not all report at once.
JITTER = 0.1

Verify = Callable[[Report | None], Report]
Channel = Callable[[Report, Report | None], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """When the loop turns.

    :ivar interval: seconds between verifications when nothing changes
    :ivar beat: seconds between two signs of life at most; None where nobody listens
    """

    interval: float
    beat: float | None = None


@dataclasses.dataclass(slots=True)
class Effort:
    """What it took to verify, up to date when a report is published.

    :ivar seconds: that the last verification took, whatever came of it
    :ivar failures: verifications that a defect of ours ended
    """

    seconds: float = 0.0
    failures: int = 0


class Agent:
    """Keeps one report current, and the node as that report wants it.

    :param verify: makes a report, given the last one; never changes the node
    :param channels: called with every report and the one before it, on the loop's thread
    :param watched: paths whose change calls for a new verification
    :param timing: asked before every wait, so it may change
    :param mending: makes fixes; None: nothing is ever changed
    :param alive: called at every sign of life
    :param last: the report of an earlier run, if any
    :param effort: where to write down what it took
    :param host: name to report under, if it is given: known even when verifying fails
    """

    def __init__(
        self,
        verify: Verify,
        channels: Sequence[Channel],
        watched: Callable[[Report], Collection[str]],
        timing: Callable[[], Timing],
        *,
        mending: Mending | None = None,
        alive: Callable[[], object] = lambda: None,
        last: Report | None = None,
        effort: Effort | None = None,
        host: str | None = None,
    ) -> None:
        self._mending = mending
        self._verify = verify
        self._channels = channels
        self._watched = watched
        self._timing = timing
        self._alive = alive
        self._last = last
        self._effort = effort or Effort()
        self._host = host
        self._current: Report | None = None
        self._paths: Collection[str] = ()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopping = False
        self._turned = threading.Condition()
        self._begun = 0
        self._ended = 0

    def report(self) -> Report | None:
        """Return the last report of this run; None before the first."""
        return self._current

    def verify_now(self, timeout: float) -> Report:
        """Return a report observed after this call.

        Calls that come together share one verification.

        :raises TimeoutError: there is none within ``timeout`` seconds
        """
        with self._turned:
            wanted = self._begun + 1
            self.trigger()
            if not self._turned.wait_for(lambda: self._ended >= wanted, timeout):
                raise TimeoutError(f'no verification ended within {timeout:g} s')
            assert self._current is not None  # noqa: S101  # for the type checker
            return self._current

    def remediate(self, *, noop: bool, who: str) -> Run:
        """Mend the node, and return when that has ended.

        :raises RemediationError: not now; the message says why
        """
        if self._mending is None:
            raise RemediationError('this agent changes nothing')
        answer = self._mending.ask(who, noop=noop)
        self.trigger()
        return answer.result()

    def trigger(self) -> None:
        """Verify soon; may be called from any thread and from a signal handler."""
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Let :meth:`run` end; may be called from any thread and from a signal handler."""
        self._stopping = True
        self.trigger()

    def run(self) -> None:
        """Verify until :meth:`stop`."""
        watcher = _watcher()
        try:
            while not self._stopping:
                report = self._turn()
                if watcher is not None:
                    self._paths = self._watched(report)
                    # What changed before it was watched would be missed: look once more.
                    if watcher.follow(self._paths):
                        watcher.drain()
                        report = self._turn()
                if self._stopping or not (self._mending and self._mending.mend(report)):
                    self._wait(watcher, report)
        finally:
            if self._mending:
                self._mending.close()
            if watcher:
                watcher.close()

    def _turn(self) -> Report:
        with self._turned:
            self._begun += 1
            number = self._begun
        self._alive()
        if self._mending:
            self._mending.stand_aside(lambda: self._stopping)
        began = time.monotonic()
        try:
            report = self._verify(self._last)
        except Exception as error:  # the tick: whatever went wrong becomes a report
            LOG.exception('verification failed')
            self._effort.failures += 1
            report = _failed(self._last, error, self._host)
        self._effort.seconds = time.monotonic() - began
        report = _dated(_numbered(report, self._last), self._last)
        for channel in self._channels:
            try:
                channel(report, self._last)
            except Exception:
                LOG.exception('the report could not be published')
        self._last = report
        with self._turned:
            self._current = report
            self._ended = number
            self._turned.notify_all()
        return report

    def _wait(self, watcher: Watcher | None, report: Report) -> None:
        """Return when it is time to verify again."""
        timing = self._timing()
        jitter = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311  # no secret
        seconds = [timing.interval * jitter]
        if self._mending:
            seconds += self._mending.seconds(report)
        end = time.monotonic() + min(seconds)
        while not self._stopping:
            self._alive()
            left = end - time.monotonic()
            if left <= 0:
                return
            pause = min(left, timing.beat) if timing.beat else left
            ready = self._select(watcher, pause)
            if self._wake in ready:
                os.eventfd_read(self._wake)
                return
            if watcher and ready and watcher.drain():
                self._settle(watcher)
                return

    def _settle(self, watcher: Watcher) -> None:
        end = time.monotonic() + SETTLE_MOST_SECONDS
        while time.monotonic() < end and self._select(watcher, SETTLE_SECONDS):
            if not watcher.drain():
                return

    def _select(self, watcher: Watcher | None, seconds: float) -> list[int]:
        descriptors = [self._wake]
        if watcher:
            descriptors.append(watcher.fileno())
        return select.select(descriptors, [], [], max(seconds, 0))[0]


def _watcher() -> Watcher | None:
    try:
        return Watcher()
    except OSError as error:
        LOG.warning('no inotify (%s): changes are seen at the next interval', error.strerror)
        return None


def _failed(last: Report | None, error: Exception, host: str | None) -> Report:
    """Return a report that claims nothing but the failure."""
    message = f'verification failed: {type(error).__name__}: {error}'
    now = time.time()
    since = {
        each.type: each.since
        for each in (last.conditions if last else ())
        if each.status is Status.UNKNOWN
    }
    conditions = tuple(
        Condition(type_, Status.UNKNOWN, 'InternalError', message, None, since.get(type_, now))
        for type_ in ConditionType
    )
    host = host or (last.host if last else socket.gethostname())
    unknown = last or Report(host, now, None, None, {}, State.UNKNOWN, (), (), None)
    return dataclasses.replace(
        unknown,
        host=host,
        time=now,
        state=State.UNKNOWN,
        conditions=conditions,
        plan=(),
        observation=None,
        schema_version=SCHEMA_VERSION,
    )


def _numbered(report: Report, last: Report | None) -> Report:
    """Return the report with its number since boot: what orders reports, clocks jump."""
    same_boot = last is not None and last.boot_id == report.boot_id
    sequence = (last.sequence or 0) + 1 if last is not None and same_boot else 1
    return dataclasses.replace(report, sequence=sequence)


def _dated(report: Report, last: Report | None) -> Report:
    """Return the report with the time since when its state is what it is."""
    since = report.time
    if last is not None and last.state is report.state:
        # The last one may be of a release that kept no such time.
        since = last.time if last.state_since is None else last.state_since
    return dataclasses.replace(report, state_since=since)
