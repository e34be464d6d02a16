"""What the collector tells Prometheus; what each metric means: doc/source/reference/metrics.rst."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nested_agent.collector.database import ERRORS as DATABASE_ERRORS
from nested_agent.collector.node import Kind, Taken
from nested_agent.model import State
from nested_agent.rpc import fleet

LOG = logging.getLogger(__name__)

#: Seconds for which nodes are not counted anew.
KEPT = 5.0

#: Seconds that a scrape waits for the database; Prometheus itself waits 10.
PATIENCE = 3.0

#: Seconds. A batch of 500 nodes takes some tens of milliseconds.
BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)

#: As of ``nested_collector_nodes``.
STATES = (*(each.value for each in State), fleet.DOWN)

States = Mapping[str, int]


class Metrics:
    """What is counted while the collector is at work; for several threads.

    :ivar registry: of these metrics, and of others of the collector
    """

    def __init__(self) -> None:
        # When a counter began is news to nobody, and doubles what is sent.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._reports = Counter(
            'nested_collector_reports_total',
            'Reports by what became of them.',
            ('result',),
            registry=self.registry,
        )
        self._events = Counter(
            'nested_collector_events_total',
            'Events that were written.',
            ('kind',),
            registry=self.registry,
        )
        self._seconds = Histogram(
            'nested_collector_write_duration_seconds',
            'How long it took to write a batch of reports.',
            registry=self.registry,
            buckets=BUCKETS,
        )
        for taken in Taken:
            self._reports.labels(taken.value)
        for kind in Kind:
            self._events.labels(kind.value)
        #: Seconds since the epoch; None before the first time.
        self.last_write: float | None = None

    def reports(self, taken: Taken, count: int = 1) -> None:
        """Count reports."""
        self._reports.labels(taken.value).inc(count)

    def events(self, kind: str, count: int) -> None:
        """Count events."""
        self._events.labels(kind).inc(count)

    def written(self, seconds: float) -> None:
        """Remember that reports were written now, and how long it took."""
        self._seconds.observe(seconds)
        self.last_write = time.time()

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Serve the registry over HTTP, each request on a thread of its own.

        :returns: what ends it
        :raises OSError: nobody can listen there
        """
        server, thread = prometheus_client.start_http_server(port, host, self.registry)

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end


class Counted:
    """How many nodes there are by state, asked for at most every :data:`KEPT` seconds.

    On a thread of its own, so that a database that says nothing does not hold up a scrape; there is
    never a second question while one waits for its answer.

    :param ask: asks the database; may take long, and raise whatever it likes
    """

    def __init__(
        self, ask: Callable[[], States], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = float('-inf')
        self._answer: futures.Future[States | None] | None = None

    def __call__(self) -> States | None:
        """Return the answer; None where there is none."""
        with self._lock:
            answer = self._answer
            if answer is None or (answer.done() and self._clock() - self._asked >= KEPT):
                answer = self._answer = futures.Future()
                self._asked = self._clock()
                threading.Thread(
                    target=self._fill, args=(answer,), name='count', daemon=True
                ).start()
        try:
            return answer.result(PATIENCE)
        except TimeoutError:
            return None

    def _fill(self, answer: futures.Future[States | None]) -> None:
        found = None
        try:
            found = self._ask()
        except DATABASE_ERRORS:
            # No louder: the writer says what is wrong with the database.
            LOG.debug('the nodes could not be counted', exc_info=True)
        except Exception:
            LOG.exception('the nodes could not be counted')
        answer.set_result(found)


class Now(Collector):
    """What is so at the moment of a scrape.

    :param states: how many nodes there are by state; None where the database does not say
    :param waiting: how many reports wait to be written
    :param down_time: ``[collector] agent_down_time``
    """

    def __init__(
        self,
        metrics: Metrics,
        release: str,
        states: Callable[[], States | None],
        waiting: Callable[[], int],
        down_time: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._release = release
        self._states = states
        self._waiting = waiting
        self._down_time = down_time

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: to be registered takes no look at the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        build = _gauge('nested_collector_build_info', 'Release of the collector.', ('version',))
        build.add_metric((self._release,), 1)
        yield build
        yield from _nodes(self._states())
        yield _gauge(
            'nested_collector_agent_down_time_seconds',
            'Time without a report after which a node is down.',
            value=self._down_time(),
        )
        yield _gauge(
            'nested_collector_reports_pending',
            'Reports that wait to be written.',
            value=self._waiting(),
        )
        if self._metrics.last_write is not None:
            yield _gauge(
                'nested_collector_last_write_timestamp_seconds',
                'When reports were last written.',
                value=self._metrics.last_write,
            )


def _nodes(states: States | None) -> Iterator[Metric]:
    yield _gauge(
        'nested_collector_database_up',
        'Whether the nodes could be counted.',
        value=float(states is not None),
    )
    if states is None:
        return
    counts = dict.fromkeys(STATES, 0)
    for state, count in states.items():
        # A newer agent may say a word that is not known here.
        counts[state if state in counts else State.UNKNOWN.value] += count
    nodes = _gauge('nested_collector_nodes', 'Nodes by state.', ('state',))
    for state, count in counts.items():
        nodes.add_metric((state,), count)
    yield nodes


def _gauge(name: str, about: str, labels: tuple[str, ...] = (), **value: Any) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=labels or None, **value)
