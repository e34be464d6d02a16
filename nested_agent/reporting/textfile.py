"""The last report as metrics in a file, which node_exporter's textfile collector serves.

No port is opened, and nothing is asked for while the agent is at work. The file stays when the
agent is stopped, so that its silence can be seen; but it then claims nothing of the present.
"""

import itertools
import logging
import math
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from nested_agent import durable
from nested_agent.exceptions import RecordError
from nested_agent.model import Report, Result, Run, Trigger
from nested_agent.reporting import metrics
from nested_agent.reporting.metrics import Past, Present, Snapshot
from nested_agent.rpc.seldom import Seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(Seldom())

NAME = 'nested_agent.prom'


class Effort(Protocol):
    """What it took to verify: seconds of the last time, and how often it failed."""

    seconds: float
    failures: int


class Tally:
    """Counts the runs that a history gains.

    :param runs: returns those that are remembered; raises RecordError
    """

    def __init__(self, runs: Callable[[], Sequence[Run]]) -> None:
        self._runs = runs
        self._known: Collection[str] | None = None
        self.counts = dict.fromkeys(itertools.product(Trigger, Result), 0)

    def look(self) -> None:
        """Count what was not there the last time; the first time that is nothing."""
        try:
            runs = self._runs()
        except RecordError as error:
            LOG.warning('runs are not counted: %s', error)
            return
        for run in runs:
            if self._known is not None and run.id not in self._known:
                self.counts[run.trigger, run.result] += 1
        self._known = {run.id for run in runs}


class Textfile:
    """A channel: ``nested_agent.prom`` in a directory that is not ours.

    :param release: of the agent
    :param interval: seconds between two verifications; asked every time
    :param effort: up to date when a report comes
    :param runs: as of :class:`Tally`
    """

    def __init__(
        self,
        directory: Path,
        release: str,
        interval: Callable[[], float],
        effort: Effort,
        runs: Callable[[], Sequence[Run]],
    ) -> None:
        self._path = directory / NAME
        self._release = release
        self._interval = interval
        self._effort = effort
        self._tally = Tally(runs)
        self._lock = threading.Lock()
        self._last: Snapshot | None = None
        self._stopped = False

    def start(self) -> None:
        """Count runs from now on, and take away what a killed agent left half written."""
        self._tally.look()
        # Nobody else writes a file of this name: one agent runs per node.
        durable.sweep(self._path.parent, math.inf, NAME)

    def stop(self, timeout: float) -> None:
        """Take back what was said of the present."""
        if not self._lock.acquire(timeout=timeout):
            return
        try:
            self._stopped = True
            if self._last is not None:
                self._tally.look()
                self._write(Past(self._last))
        finally:
            self._lock.release()

    def __call__(self, report: Report, previous: Report | None) -> None:
        """Replace the file."""
        with self._lock:
            if self._stopped:
                return
            self._tally.look()
            self._last = Snapshot(
                report,
                self._release,
                self._interval(),
                self._effort.seconds,
                self._effort.failures,
                self._tally.counts,
            )
            self._write(Past(self._last), Present(report))

    def _write(self, *collectors: Past | Present) -> None:
        try:
            # Not synced: after a power cut it is old in any case.
            durable.replace(self._path, metrics.text(*collectors), synced=False)
        except OSError as error:
            LOG.error('%s cannot be written: %s', self._path, error.strerror)
