"""What the collector counts, and tells Prometheus."""

import logging
import socket
import threading
import time
import urllib.request
from unittest import mock

import fixtures
import sqlalchemy as sa
from oslotest import base
from prometheus_client import parser

# isort: split
from nested_agent.collector import metrics, writer
from nested_agent.collector.endpoints import Reports
from nested_agent.collector.metrics import Counted, Metrics, Now
from nested_agent.collector.node import Kind, Taken
from nested_agent.collector.pending import PER_NODE
from nested_agent.collector.service import CollectorService
from nested_agent.conf import collector
from nested_agent.exceptions import ConfigurationError
from nested_agent.model import State
from tests.unit.test_collector_digest import plain
from tests.unit.test_collector_node import told
from tests.unit.test_collector_store import DOWN, StoreCase
from tests.unit.test_metrics import DOCUMENT, documented, sorted_labels
from tests.unit.test_metrics import told as families_told

DEADLINE = 60


def families(registry):
    found = metrics.prometheus_client.generate_latest(registry).decode()
    return list(parser.text_string_to_metric_families(found))


def value(registry, name, **labels):
    return registry.get_sample_value(f'nested_collector_{name}', labels)


class MetricsTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.metrics = Metrics()
        self.states = {'compliant': 3, 'down': 1}
        self.now = Now(self.metrics, '1.2.3', lambda: self.states, lambda: 7, lambda: 180.0)
        self.metrics.registry.register(self.now)

    def value(self, name, **labels):
        return value(self.metrics.registry, name, **labels)

    def test_the_document_has_every_metric_and_no_other(self):
        self.metrics.written(0.2)
        found = families_told(families(self.metrics.registry))
        self.assertEqual(sorted_labels(documented('collector-metrics')), found)

    def test_it_has_every_word(self):
        text = DOCUMENT.read_text()
        words = [f'``{each}``' for each in (*Taken, *Kind, *metrics.STATES)]
        self.assertEqual([], [each for each in words if each not in text])
        self.assertIn(f'within {metrics.PATIENCE:g} seconds', text)
        self.assertIn(f'every {metrics.KEPT:g} seconds', text)

    def test_all_begin_at_0(self):
        self.assertEqual({0.0}, {self.value('reports_total', result=each) for each in Taken})
        self.assertEqual({0.0}, {self.value('events_total', kind=each) for each in Kind})

    def test_nodes_by_state(self):
        self.states = {'compliant': 3, 'down': 1, 'half-mended': 2, 'unknown': 1}
        found = {each: self.value('nodes', state=each) for each in metrics.STATES}
        wanted = dict.fromkeys(metrics.STATES, 0.0)
        self.assertEqual({**wanted, 'compliant': 3.0, 'down': 1.0, 'unknown': 3.0}, found)
        self.assertEqual({*State, 'down'}, set(found))
        self.assertEqual(1.0, self.value('database_up'))

    def test_without_the_database_none_are_claimed(self):
        self.states = None
        self.assertEqual(0.0, self.value('database_up'))
        self.assertIsNone(self.value('nodes', state='compliant'))
        self.assertEqual(7.0, self.value('reports_pending'))
        self.assertEqual(180.0, self.value('agent_down_time_seconds'))

    def test_nothing_is_written_yet(self):
        self.assertIsNone(self.value('last_write_timestamp_seconds'))
        self.metrics.written(0.2)
        self.assertLessEqual(abs(time.time() - self.value('last_write_timestamp_seconds')), 60)
        self.assertEqual(1.0, self.value('write_duration_seconds_count'))

    def test_over_http(self):
        with socket.create_server(('127.0.0.1', 0)) as free:
            port = free.getsockname()[1]
        self.addCleanup(self.metrics.serve('127.0.0.1', port))
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=DEADLINE) as got:
            self.assertIn('nested_collector_nodes{state="compliant"} 3.0', got.read().decode())


class CountedTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch('nested_agent.collector.metrics.PATIENCE', DEADLINE))
        self.time = 0.0
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.addCleanup(self.gate.set)
        self.error: Exception | None = None
        self.counted = Counted(self.ask, lambda: self.time)

    def ask(self):
        self.asked += 1
        self.gate.wait(DEADLINE)
        if self.error:
            raise self.error
        return {'compliant': self.asked}

    def test_it_is_kept_for_some_seconds(self):
        self.assertEqual({'compliant': 1}, self.counted())
        self.time = metrics.KEPT - 0.1
        self.assertEqual({'compliant': 1}, self.counted())
        self.time = metrics.KEPT
        self.assertEqual({'compliant': 2}, self.counted())

    def test_a_failure_is_none(self):
        self.error = RuntimeError('away')
        self.assertIsNone(self.counted())
        self.error = None
        self.time = metrics.KEPT
        self.assertEqual({'compliant': 2}, self.counted())

    def test_a_defect_is_told_and_a_database_that_is_away_is_not(self):
        logger = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        self.error = sa.exc.OperationalError('SELECT', {}, Exception('away'))
        self.assertIsNone(self.counted())
        self.assertEqual('', logger.output)
        self.error = KeyError('state')
        self.time = metrics.KEPT
        self.assertIsNone(self.counted())
        self.assertIn('KeyError', logger.output)

    def test_a_database_that_says_nothing_is_asked_once(self):
        self.gate.clear()
        self.useFixture(fixtures.MonkeyPatch('nested_agent.collector.metrics.PATIENCE', 0.01))
        for self.time in (0.0, 100.0, 200.0):
            self.assertIsNone(self.counted())
        self.assertEqual(1, self.asked)
        self.useFixture(fixtures.MonkeyPatch('nested_agent.collector.metrics.PATIENCE', DEADLINE))
        self.gate.set()
        self.counted()
        self.time = 300.0
        self.assertEqual({'compliant': 2}, self.counted())


class FedTest(StoreCase):
    """What the writer, the store and the endpoint count."""

    def setUp(self):
        super().setUp()
        self.metrics = Metrics()
        self.failures: list[BaseException] = []
        for name, seconds in (('GATHER_SECONDS', 0.01), ('FIRST_PAUSE', 0.01)):
            self.useFixture(fixtures.MonkeyPatch(f'nested_agent.collector.writer.{name}', seconds))
        self.writer = writer.Writer(
            self.store, lambda: collector.options(self.conf), self.failures.append, self.metrics
        )

    def value(self, name, **labels):
        return value(self.metrics.registry, name, **labels)

    def set(self, **options):
        for name, option in options.items():
            self.conf.set_override(name, option, group='collector')
            # What is set belongs to the group, which all tests share.
            self.addCleanup(self.conf.clear_override, name, group='collector')

    def taken(self):
        found = {each: self.value('reports_total', result=each) for each in Taken}
        return {each.value: int(count) for each, count in found.items() if count}

    def written(self, *digests):
        """Have reports written together, and return when they are."""
        before = self.value('write_duration_seconds_count')
        for each in digests:
            self.writer.add(each)
        self.writer._done(self.writer._pending.take(100))
        self.assertEqual(before + 1, self.value('write_duration_seconds_count'))

    def test_what_became_of_reports(self):
        now = time.time()
        self.written(told(1, now, host='a'), told(1, now, host='b'))
        self.assertEqual({'accepted': 2}, self.taken())
        self.written(told(1, now, host='a'))
        self.assertEqual({'accepted': 2, 'duplicate': 1}, self.taken())
        self.written(told(3, now, host='a'))
        self.written(told(2, now, host='a'))
        self.assertEqual({'accepted': 3, 'duplicate': 1, 'stale': 1}, self.taken())
        self.assertEqual(2.0, self.value('events_total', kind='state'))

    def test_the_last_says_all_that_those_before_it_did(self):
        now = time.time()
        self.written(*(told(number, now) for number in range(1, 4)))
        self.assertEqual({'accepted': 1, 'superseded': 2}, self.taken())

    def test_every_report_is_counted_once_also_when_the_database_was_away(self):
        now = time.time()
        states = ('drifted', 'compliant')
        many = [told(number, now, state=states[number % 2]) for number in range(1, 3 * PER_NODE)]
        for each in many:
            self.writer.add(each)
        away = writer.AWAY[0]('gone')
        with mock.patch.object(self.store, 'write', side_effect=away):
            self.assertFalse(self.writer._done(self.writer._pending.take(100)))
        self.assertTrue(0 < self.writer.waiting() <= PER_NODE)
        self.assertEqual(0.0, self.value('write_duration_seconds_count'))
        self.written()
        self.assertEqual(0, self.writer.waiting())
        self.assertEqual(len(many), sum(self.taken().values()))

    def test_what_is_written_is_not_given_back_where_only_forgetting_fails(self):
        self.writer._forgot = float('-inf')
        self.writer.add(told(1, time.time()))
        away = writer.AWAY[0]('gone')
        with mock.patch.object(self.store, 'forget', side_effect=away):
            self.assertFalse(self.writer._done(self.writer._pending.take(100)))
        self.assertEqual(0, self.writer.waiting())
        self.assertEqual({'accepted': 1}, self.taken())

    def test_refused(self):
        self.set(max_nodes=1)
        now = time.time()
        self.written(told(1, now, host='a'))
        self.written(told(1, now, host='b'))
        self.assertEqual({'accepted': 1, 'refused': 1}, self.taken())
        with mock.patch.object(self.store, 'write', side_effect=ValueError('x')):
            self.writer._done({'a': [told(2, now, host='a'), told(3, now, host='a')]})
        self.assertEqual({'accepted': 1, 'refused': 3}, self.taken())

    def test_what_is_no_report_is_refused(self):
        refused = mock.Mock()
        endpoint = Reports(self.writer.add, refused)
        endpoint.report_state({}, {'host': 'a'})
        refused.assert_called_once_with()
        endpoint.report_state({}, plain(sequence=1, boot_id='b'), '0.1.0')
        refused.assert_called_once_with()
        self.assertEqual(1, self.writer.waiting())

    def test_forgotten(self):
        self.written(told(1, 100.0))
        self.writer._forgot = float('-inf')
        self.writer._forget()
        self.assertEqual(1.0, self.value('events_total', kind='forgotten'))

    def test_states_are_those_of_the_summary(self):
        now = time.time()
        self.written(
            told(1, now, host='a', state='compliant'),
            told(1, now, host='b', state='compliant'),
            told(1, now, host='c', state='half-mended'),
            told(1, now - DOWN - 1, host='d', state='blocked'),
        )
        found = self.queries.states(now, DOWN)
        self.assertEqual({'compliant': 2, 'half-mended': 1, 'down': 1}, found)
        self.assertEqual(self.queries.summary(now, DOWN)['states'], found)

    def test_where_nobody_can_listen(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            self.set(metrics_port=taken.getsockname()[1])
            service = CollectorService(self.conf)
            error = self.assertRaises(ConfigurationError, service.start)
        self.assertRegex(
            str(error), r'^\[collector\] metrics_port: 127\.0\.0\.1, port \d+: Address'
        )
