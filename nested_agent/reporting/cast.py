"""The last report as a cast to whichever collector is there; nothing is ever queued.

Only the latest report counts: one that could not be sent is replaced by the next. The broker is
waited for on a thread of its own, never by the loop.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from nested_agent.exceptions import ConfigurationError
from nested_agent.model import Report
from nested_agent.reporting.brief import brief
from nested_agent.rpc import api, fleet, queues, seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(seldom.Seldom())

#: Of the interval, so that the nodes of a cloud do not all report at once.
JITTER = 0.1

#: Seconds between two reports at least, however often the node changes.
LEAST_SECONDS = 1.0

#: Seconds before a change is tried again that could not be told.
FIRST_RETRY = 5.0

Send = Callable[[dict[str, Any]], bool]


class Cast:
    """A channel: tells the collector on every change, and every ``interval`` seconds.

    :param send: sends a brief report; returns False where nobody would take it; may block and
        raise whatever it likes
    :param interval: seconds; asked every time, so it may change; 0: nothing is sent
    :param clock: seconds that only ever grow
    """

    def __init__(
        self,
        send: Send,
        interval: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._interval = interval
        self._clock = clock
        self._condition = threading.Condition()
        self._latest: Report | None = None
        self._changed = False
        self._stopping = False
        # A daemon: while the broker is down oslo.messaging cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name='cast', daemon=True)

    def start(self) -> None:
        """Begin to send what there is; returns at once."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Send no more; returns after ``timeout`` seconds at the latest."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def __call__(self, report: Report, previous: Report | None) -> None:
        """Take the latest report; returns at once."""
        with self._condition:
            self._changed = self._changed or previous is None or changed(report, previous)
            self._latest = report
            self._condition.notify()

    def _run(self) -> None:
        retry = FIRST_RETRY
        due = sent = float('-inf')
        while (report := self._wait(due, sent)) is not None:
            sent = self._clock()
            told = self._tell(report)
            interval = self._interval() * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311
            retry = FIRST_RETRY if told else min(2 * retry, interval)
            due = sent + (interval if told else min(retry, interval))

    def _wait(self, due: float, sent: float) -> Report | None:
        """Return the latest report when it is time to send it; None: no more."""
        with self._condition:
            while not self._stopping:
                seconds = None
                if self._latest is not None and self._interval() > 0:
                    at = sent + LEAST_SECONDS if self._changed else due
                    seconds = at - self._clock()
                    if seconds <= 0:
                        self._changed = False
                        return self._latest
                self._condition.wait(seconds)
        return None

    def _tell(self, report: Report) -> bool:
        """Send it; returns False where another try should be made soon."""
        try:
            if not self._send(brief(report)):
                LOG.debug('no collector takes reports')
            return True
        except Exception as error:
            LOG.warning('the collector was not told: %s', api.first_line(error))
            LOG.debug('not told', exc_info=True)
            return False


def changed(report: Report, previous: Report) -> bool:
    """Return whether there is more news than that it was verified once more."""
    return _news(report) != _news(previous)


def _news(report: Report) -> tuple[object, ...]:
    conditions = tuple((each.type, each.status, each.reason) for each in report.conditions)
    return (
        report.host,
        report.boot_id,
        report.state,
        report.policy,
        conditions,
        report.plan,
        report.remediation,
    )


class Sender:
    """Sends reports over oslo.messaging.

    Where the broker has queues it is asked first whether a collector reads: otherwise the reports
    of a whole fleet would pile up in the broker for as long as there is none.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :param release: of the agent
    """

    def __init__(self, conf: cfg.ConfigOpts, release: str) -> None:
        self._conf = conf
        self._release = release
        self._url: Any = None
        self._transport: Any = None

    def __call__(self, report: dict[str, Any]) -> bool:
        """Send a report; returns False where nobody takes it.

        :raises Exception: it could not be sent; whatever oslo.messaging raises
        """
        import oslo_messaging

        if self._transport is None:
            seldom.install()
            self._open()
        has_queues = self._url.transport in queues.RABBIT
        if has_queues and not queues.readers(self._transport, self._url, fleet.REPORTS):
            return False
        client = oslo_messaging.get_rpc_client(self._transport, fleet.reports(), retry=0)
        client.cast({}, 'report_state', report=report, release=self._release)
        return True

    def _open(self) -> None:
        url = api.transport_url(self._conf)
        try:
            self._transport = api.open_transport(self._conf, url)
        except ConfigurationError as error:
            LOG.error('no reports are sent: %s', error)
            raise
        self._url = url
