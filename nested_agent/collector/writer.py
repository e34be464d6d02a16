"""Writes what came, in batches, and deletes what is too old; on a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable

from nested_agent.collector.database import AWAY
from nested_agent.collector.digest import Digest
from nested_agent.collector.metrics import Metrics
from nested_agent.collector.node import Kind, Taken
from nested_agent.collector.pending import Pending
from nested_agent.collector.quota import EVENTS_PER_HOUR
from nested_agent.collector.store import Store
from nested_agent.conf.collector import Options
from nested_agent.rpc.api import first_line
from nested_agent.rpc.seldom import Seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(Seldom())

#: Hosts written in one transaction at most...
BATCH = 500
#: ...and seconds that a report waits for others, if there are not so many.
GATHER_SECONDS = 0.5

#: Seconds between two tries while the database is away.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

#: Seconds between two looks for what is too old.
FORGET_SECONDS = 600.0


class Writer:
    """What stands between the reports that come and the database.

    :param options: asked every time, so they may change
    :param failed: called with what ended it
    :param metrics: told what becomes of reports
    """

    def __init__(
        self,
        store: Store,
        options: Callable[[], Options],
        failed: Callable[[BaseException], None],
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._options = options
        self._failed = failed
        self._metrics = metrics or Metrics()
        self._pending = Pending(
            lambda: options().max_nodes, lambda: self._metrics.reports(Taken.SUPERSEDED)
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='writer', daemon=True)
        # Not at once: after a long outage of ours the nodes have to report first.
        self._forgot = time.monotonic()

    def start(self) -> None:
        """Begin to write; returns at once."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what is left and end; returns after ``timeout`` seconds at the latest."""
        self._stopping.set()
        self._pending.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if len(self._pending):
            LOG.warning('reports of %d nodes are lost; they report again', len(self._pending))

    def waiting(self) -> int:
        """Return how many reports are not written yet, but for those that are being written."""
        return self._pending.count()

    def add(self, digest: Digest) -> None:
        """Have a report written soon."""
        if not self._pending.add(digest):
            self._metrics.reports(Taken.REFUSED)
            LOG.warning('too many reports come at once: some are dropped')

    def _run(self) -> None:
        try:
            pause = FIRST_PAUSE
            while True:
                stopping = self._stopping.is_set()
                self._pending.wait(1, FORGET_SECONDS)
                self._pending.wait(BATCH, GATHER_SECONDS)
                batch = self._pending.take(BATCH)
                if not batch and stopping:
                    return
                if self._done(batch):
                    pause = FIRST_PAUSE
                elif self._stopping.wait(pause):
                    return
                else:
                    pause = min(2 * pause, LONGEST_PAUSE)
        except BaseException as error:
            LOG.exception('the writer failed')
            self._failed(error)

    def _done(self, batch: dict[str, list[Digest]]) -> bool:
        """Write a batch; returns False where the database is away: what is not written is kept."""
        try:
            self._write(batch)
            batch = {}
            self._forget()
        except AWAY as error:
            LOG.error('the database: %s', first_line(error))
            LOG.debug('the database', exc_info=True)
            self._pending.give_back(batch)
            return False
        return True

    def _write(self, batch: dict[str, list[Digest]]) -> None:
        if not batch:
            return
        try:
            self._keep(batch)
        except AWAY:
            raise
        except Exception as error:
            # One of them must not stand in the way of all others for ever.
            if len(batch) > 1:
                for host, reports in batch.items():
                    self._write({host: reports})
                return
            self._metrics.reports(Taken.REFUSED, sum(len(each) for each in batch.values()))
            LOG.error('a report cannot be kept: %s', first_line(error))
            LOG.debug('the report of %s', next(iter(batch)), exc_info=True)

    def _keep(self, batch: dict[str, list[Digest]]) -> None:
        options = self._options()
        began = time.monotonic()
        written = self._store.write(batch, options.agent_down_time, options.max_nodes)
        self._metrics.written(time.monotonic() - began)
        for taken, count in written.taken.items():
            self._metrics.reports(taken, count)
        for kind, count in written.events.items():
            self._metrics.events(kind, count)
        LOG.debug('reports of %d nodes written', len(batch))
        if written.refused:
            LOG.warning(
                '[collector] max_nodes is %d: reports of new nodes are refused', options.max_nodes
            )
            LOG.debug('refused: %s', ', '.join(written.refused))
        if written.untold:
            LOG.warning('more than %d events in an hour: not all are kept', EVENTS_PER_HOUR)
            LOG.debug('not all of: %s', ', '.join(written.untold))

    def _forget(self) -> None:
        if time.monotonic() - self._forgot < FORGET_SECONDS:
            return
        options, now = self._options(), time.time()
        count = self._store.forget(now - options.node_retention, now - options.event_retention)
        if count:
            self._metrics.events(Kind.FORGOTTEN, count)
            LOG.info('%d nodes are forgotten that sent no reports any more', count)
        self._forgot = time.monotonic()
