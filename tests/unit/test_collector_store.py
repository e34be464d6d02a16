"""The database, as SQLite: what is written, read and deleted."""

import collections
import threading
import time
from pathlib import Path
from unittest import mock

import fixtures
import sqlalchemy as sa
from alembic import autogenerate
from alembic.runtime import migration
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslotest import base

from nested_agent.collector import database, writer
from nested_agent.collector.node import AHEAD_SECONDS, Kind
from nested_agent.collector.queries import Queries
from nested_agent.collector.quota import HOUR, Quota
from nested_agent.collector.store import Store
from nested_agent.collector.tables import METADATA
from nested_agent.conf import collector
from nested_agent.exceptions import ConfigurationError
from tests.unit.test_collector_node import told

DOWN = 180.0
MOST = 1000
DEADLINE = 120


def conf(url):
    found = cfg.ConfigOpts()
    collector.register(found)
    database.register_opts(found)
    found([])
    found.set_override('connection', url, group='database')
    return found


def mappings(page):
    return [dict(zip(page.columns, row, strict=True)) for row in page.rows]


class StoreCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.conf = conf(self.connection())
        self.engine = database.connect(self.conf)
        self.addCleanup(self.engine.dispose)
        database.sync(self.engine)
        self.store = Store(self.engine)
        self.queries = Queries(self.engine)

    def connection(self):
        """Return what SQLAlchemy connects with."""
        return f'sqlite:///{self.useFixture(fixtures.TempDir()).path}/x.sqlite'

    def write(self, *digests, most=MOST):
        batch: dict[str, list[object]] = {}
        for each in digests:
            batch.setdefault(each.host, []).append(each)
        return self.store.write(batch, DOWN, most)

    def hosts(self, now=100.0, **how):
        return [row['host'] for row in mappings(self.queries.nodes(now, DOWN, **how))]

    def kinds(self):
        return [row['kind'] for row in mappings(self.queries.events())]


class SchemaTest(StoreCase):
    def test_the_migrations_make_the_tables(self):
        with self.engine.connect() as connection:
            context = migration.MigrationContext.configure(connection)
            self.assertEqual([], autogenerate.compare_metadata(context, METADATA))

    def test_it_is_checked(self):
        database.check(self.engine)
        database.sync(self.engine)
        database.check(self.engine)
        with self.engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = 'future'"))
        for function in (database.check, database.sync):
            error = self.assertRaises(database.SchemaError, function, self.engine)
            self.assertIn('a later release', str(error))

    def test_none_yet(self):
        empty = database.connect(conf('sqlite://'))
        error = self.assertRaises(database.SchemaError, database.check, empty)
        self.assertIn('nested-collector-manage db sync', str(error))

    def test_a_url_that_cannot_be_used(self):
        for url in (
            'nonsense',
            'postgresql://u:s3cret@h/d',
            'mysql+what://u:s3cret@h/d',
            'mysql+pymysql://u:s3cret@h:x/d',
        ):
            error = self.assertRaises(ConfigurationError, database.connect, conf(url))
            self.assertIn('[database] connection', str(error))
            self.assertNotIn('s3cret', str(error))

    def test_a_password_that_is_not_quoted_is_no_host(self):
        """Otherwise every error of the server's client would show half of it."""
        url = 'mysql+pymysql://u:s3@cret@h/d'
        error = self.assertRaises(ConfigurationError, database.connect, conf(url))
        self.assertIn('%40', str(error))
        self.assertNotIn('cret', str(error))

    def test_mariadb_is_another_name(self):
        """oslo.db knows what errors mean, and SQLAlchemy the tables' options, by one name."""
        for name in ('mysql', 'mariadb'):
            engine = database.connect(conf(f'{name}+pymysql://u:s3cret@h/d'))
            self.assertEqual('mysql', engine.dialect.name)

    def test_what_can_never_be_used_is_refused(self):
        junk = Path(self.useFixture(fixtures.TempDir()).path) / 'junk'
        junk.write_text('junk' * 1000)
        for url in (
            'sqlite:////nonexistent/x',
            'sqlite:////tmp',
            f'sqlite:///{junk}',
            'mysql+pymysql://u:s3cret@127.0.0.1:1/d?nonsense=1',
            'mysql+pymysql://u:s3cret@127.0.0.1:1/d?ssl_ca=/nonexistent',
        ):
            engine = database.connect(conf(url))
            for function in (database.check, database.sync):
                error = self.assertRaises(database.SchemaError, function, engine)
                self.assertIn('[database] connection: ', str(error))
                self.assertNotIn('s3cret', str(error))

    def test_what_is_only_away_is_not(self):
        engine = database.connect(conf('mysql+pymysql://u:s3cret@127.0.0.1:1/d'))
        self.assertRaises(database.AWAY, database.check, engine)


class WriteTest(StoreCase):
    def test_it_is_kept_and_read(self):
        self.write(told(1, 10.0), told(2, 11.0, state='compliant', conditions=[]))
        (row,) = mappings(self.queries.nodes(20.0, DOWN))
        self.assertEqual(
            {
                'host': 'node1',
                'state': 'compliant',
                'reasons': [],
                'since': 11.0,
                'seen': 11.0,
                'reported': 'compliant',
                'vendor': 'amd',
                'kernel': '6.1.0',
                'release': '0.1.0',
            },
            row,
        )
        node = self.queries.node('node1', 20.0, DOWN)
        self.assertEqual(row, {name: node[name] for name in row})
        self.assertEqual((9.0, 10.0, '1.3'), (node['age'], node['booted'], node['schema_version']))
        self.assertEqual(2, node['report']['sequence'])
        self.assertIsNone(self.queries.node('node2', 20.0, DOWN))
        newest, oldest = mappings(self.queries.events())
        self.assertEqual(('drifted', 'compliant'), (newest['before'], newest['after']))
        self.assertEqual((None, 'drifted'), (oldest['before'], oldest['after']))

    def test_duplicates_and_old_ones_change_nothing(self):
        self.write(told(5, 10.0))
        before = self.queries.node('node1', 20.0, DOWN)
        for number in (5, 4, 1, 5):
            self.write(told(number, 10.0, state='compliant' if number < 5 else 'drifted'))
        self.assertEqual(before, self.queries.node('node1', 20.0, DOWN))
        self.assertEqual(['state'], self.kinds())

    def test_another_report_of_the_same_number_is_no_duplicate(self):
        many = [{'type': 'T', 'status': 'False', 'reason': f'Reason{each}'} for each in range(64)]
        self.write(told(2, 10.0, conditions=many))
        self.write(told(2, 70.0, conditions=many))
        for moment in (130.0, 190.0, 70.0 + DOWN):
            self.write(told(2, moment, state='blocked'))
            node = self.queries.node('node1', moment, DOWN)
            self.assertEqual(('drifted', moment), (node['state'], node['seen']))
        self.write(told(2, 70.0 + DOWN + 1, state='blocked'))
        node = self.queries.node('node1', 70.0 + DOWN + 1, DOWN)
        self.assertEqual(('blocked', 'blocked'), (node['state'], node['report']['state']))
        self.assertEqual(['state', 'restarted', 'state'], self.kinds())

    def test_too_many_nodes(self):
        self.write(*(told(1, 10.0, host=f'node{each}') for each in range(3)))
        written = self.write(*(told(2, 11.0, host=f'node{each}') for each in range(6)), most=4)
        self.assertEqual(('node4', 'node5'), written.refused)
        self.assertEqual(4, len(self.hosts()))
        self.assertEqual(2, self.queries.node('node0', 20.0, DOWN)['report']['sequence'])

    def test_names_are_exact(self):
        self.write(*(told(1, 10.0, host=host) for host in ('Node1', 'node1', 'node1.x', '%', '_')))
        self.assertEqual(['%', 'Node1', '_', 'node1', 'node1.x'], self.hosts())

    def test_events_have_a_quota(self):
        self.store = Store(self.engine, Quota(3))
        for number in range(10):
            written = self.write(told(number, 10.0, state=f'state-{"ab"[number % 2]}'))
        self.assertEqual(3, len(self.kinds()))
        self.assertEqual(('node1',), written.untold)
        self.write(told(11, 10.0 + HOUR, state='state-c'))
        self.assertEqual(5, len(self.kinds()))

    def test_what_was_not_written_does_not_count(self):
        self.store = Store(self.engine, Quota(3))
        failing = mock.patch.object(
            Store, '_update', side_effect=db_exception.DBConnectionError('gone')
        )
        for _ in range(10):
            with failing, self.assertRaises(db_exception.DBConnectionError):
                self.write(told(1, 10.0))
        for number in range(1, 4):
            self.write(told(number, 10.0, state=f'state-{"ab"[number % 2]}'))
        self.assertEqual(3, len(self.kinds()))

    def test_two_writers(self):
        """Each gets half of the reports, in its own order: the last counts."""
        numbers = list(range(1, 41))
        halves = (numbers[::2], numbers[1::2])
        errors = []

        def work(half):
            store = Store(self.engine)
            try:
                for number in half:
                    batch = {
                        f'node{each}': [told(number, 10.0 + number, host=f'node{each}')]
                        for each in range(5)
                    }
                    store.write(batch, DOWN, MOST)
            except Exception as error:  # noqa: BLE001
                errors.append(error)

        threads = [threading.Thread(target=work, args=(half,)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual([], errors)
        for host in self.hosts():
            self.assertEqual(40, self.queries.node(host, 60.0, DOWN)['report']['sequence'])
        self.assertEqual(5 * ['state'], self.kinds())

    def test_what_is_too_old(self):
        self.write(told(1, 10.0), told(1, 500.0, host='node2'))
        self.assertEqual(1, self.store.forget(100.0, 400.0))
        self.assertEqual(['node2'], self.hosts(500.0))
        self.assertIsNone(self.queries.node('node1', 500.0, DOWN))
        forgotten, state = mappings(self.queries.events())
        self.assertEqual((Kind.FORGOTTEN, 'node1'), (forgotten['kind'], forgotten['host']))
        self.assertEqual(('state', 'node2'), (state['kind'], state['host']))

    def test_much_that_is_too_old_goes_in_pieces(self):
        self.useFixture(fixtures.MonkeyPatch('nested_agent.collector.store.CHUNK', 2))
        self.write(*(told(1, 10.0, host=f'node{each}') for each in range(5)))
        self.write(told(1, 500.0, host='last'))
        sizes = []
        sa.event.listen(
            self.engine,
            'after_cursor_execute',
            lambda *about: sizes.append(about[1].rowcount) if 'DELETE' in about[2] else None,
        )
        self.assertEqual(5, self.store.forget(100.0, 400.0))
        self.assertEqual(['last'], self.hosts(500.0))
        self.assertEqual({'forgotten': 5, 'state': 1}, collections.Counter(self.kinds()))
        self.assertLessEqual(max(sizes), 2)

    def test_what_is_asked_for_is_forgotten(self):
        self.write(*(told(1, 10.0, host=f'node{each}') for each in range(4)))
        self.assertEqual({}, self.store.forget_hosts(['node2', 'node0'], 11.0 + DOWN, DOWN))
        self.assertEqual(['node1', 'node3'], self.hosts(10.0))
        self.assertIsNone(self.queries.node('node2', 10.0, DOWN))
        told_of = [each for each in mappings(self.queries.events()) if each['kind'] == 'forgotten']
        self.assertEqual({'node0', 'node2'}, {each['host'] for each in told_of})
        self.assertEqual(
            {('drifted', 'asked for')}, {(each['before'], each['message']) for each in told_of}
        )
        self.write(told(2, 20.0, host='node2'))
        self.assertEqual(['node1', 'node2', 'node3'], self.hosts(20.0))

    def test_all_or_none_is_forgotten(self):
        self.write(told(1, 10.0), told(1, 500.0, host='node2'))
        staying = self.store.forget_hosts(['node1', 'node2', 'node3'], 500.0 + DOWN, DOWN)
        self.assertEqual({'node2': 500.0, 'node3': None}, staying)
        self.assertEqual(2, self.queries.summary(500.0, DOWN)['nodes'])
        self.assertEqual(['state', 'state'], self.kinds())

    def test_one_seen_by_a_clock_that_was_wrong_can_be_forgotten(self):
        self.write(told(1, 1e9))
        self.assertEqual({}, self.store.forget_hosts(['node1'], 10.0, DOWN))
        self.assertEqual([], self.hosts(10.0))

    def test_a_node_is_not_forgotten_before_it_is_down(self):
        self.conf.set_override('node_retention', 0.0, group='collector')
        self.conf.set_override('agent_down_time', 77, group='collector')
        self.assertEqual(77.0, collector.options(self.conf).node_retention)


class ReadTest(StoreCase):
    def setUp(self):
        super().setUp()
        fine = {'state': 'compliant', 'conditions': []}
        other = [{'type': 'VirtType', 'status': 'False', 'reason': 'QEMU'}]
        self.write(
            told(1, 100.0, host='a', **fine),
            told(1, 100.0, host='b'),
            told(1, 100.0, host='c', driver='intel', state='blocked', conditions=other),
            told(1, 1.0, host='d', **fine),
        )

    def test_filters(self):
        for how, hosts in (
            ({}, 'abcd'),
            ({'states': ['compliant']}, 'a'),
            ({'states': ['down']}, 'd'),
            ({'states': ['down', 'blocked']}, 'cd'),
            ({'reasons': ['QEMU']}, 'c'),
            ({'reasons': ['NotInstalled']}, 'b'),
            ({'reasons': ['Not']}, ''),
            ({'reasons': ['%']}, ''),
            ({'reasons': ['QEMU', 'Disabled']}, 'bc'),
            ({'states': ['nonesuch']}, ''),
        ):
            self.assertEqual(list(hosts), self.hosts(200.0, **how), how)

    def test_pages(self):
        found, marker = [], None
        for _ in range(2):
            page = self.queries.nodes(200.0, DOWN, marker=marker, limit=2)
            found += [row['host'] for row in mappings(page)]
            marker = page.marker
        self.assertEqual((list('abcd'), None), (found, marker))
        page = self.queries.events(limit=3)
        rest = self.queries.events(limit=3, marker=page.marker)
        self.assertEqual((3, 1, None), (len(page.rows), len(rest.rows), rest.marker))

    def test_down(self):
        row = mappings(self.queries.nodes(200.0, DOWN, states=['down']))[0]
        self.assertEqual(('down', 'compliant', 1.0), (row['state'], row['reported'], row['since']))

    def test_seen_in_the_future_is_not_seen(self):
        """A clock was wrong: it must not keep the node from being down for years."""
        self.write(told(1, 200.0 + AHEAD_SECONDS + 1, host='e'))
        self.assertEqual(['d', 'e'], self.hosts(200.0, states=['down']))
        self.assertEqual('down', self.queries.node('e', 200.0, DOWN)['state'])
        self.assertEqual(2, self.queries.summary(200.0, DOWN)['states']['down'])

    def test_summary(self):
        self.assertEqual(
            {
                'nodes': 4,
                'states': {'compliant': 1, 'drifted': 1, 'blocked': 1, 'down': 1},
                'reasons': {'Disabled': 1, 'NotInstalled': 1, 'QEMU': 1},
                'vendors': {'amd': 2, 'intel': 1},
                'releases': {'0.1.0': 3},
            },
            self.queries.summary(200.0, DOWN),
        )

    def test_events(self):
        self.assertEqual(1, len(self.queries.events(host='b').rows))
        self.assertEqual(3, len(self.queries.events(since=50.0).rows))
        self.assertEqual(4, len(self.queries.events(kind='state').rows))
        self.assertEqual([], self.queries.events(kind='reboot').rows)


class WriterTest(StoreCase):
    def setUp(self):
        super().setUp()
        self.failures: list[BaseException] = []
        for name, value in (('GATHER_SECONDS', 0.01), ('FIRST_PAUSE', 0.01)):
            self.useFixture(fixtures.MonkeyPatch(f'nested_agent.collector.writer.{name}', value))
        self.writer = writer.Writer(
            self.store, lambda: collector.options(self.conf), self.failures.append
        )
        self.addCleanup(self.writer.stop, DEADLINE)

    def wait_for(self, hosts):
        end = time.monotonic() + DEADLINE
        while self.hosts() != hosts:
            self.assertLess(time.monotonic(), end, self.hosts())
            time.sleep(0.01)

    def test_it_writes_and_what_is_left_at_the_end(self):
        self.writer.start()
        self.writer.add(told(1, time.time()))
        self.wait_for(['node1'])
        self.writer.add(told(1, time.time(), host='node2'))
        self.writer.stop(DEADLINE)
        self.assertEqual(['node1', 'node2'], self.hosts())

    def test_the_database_gone_and_back(self):
        write, tries = self.store.write, []

        def gone(*arguments):
            tries.append(1)
            if len(tries) < 5:
                raise db_exception.DBConnectionError('gone')
            return write(*arguments)

        self.store.write = gone
        self.writer.start()
        for number in range(1, 100):
            self.writer.add(told(number, time.time()))
        self.wait_for(['node1'])
        self.writer.stop(DEADLINE)
        self.assertEqual(99, self.queries.node('node1', 20.0, DOWN)['report']['sequence'])

    def test_one_that_cannot_be_kept_does_not_stand_in_the_way(self):
        write = self.store.write

        def poisoned(batch, *arguments):
            if 'node2' in batch:
                raise db_exception.DBDataError('too long')
            return write(batch, *arguments)

        self.store.write = poisoned
        for host in ('node1', 'node2', 'node3'):
            self.writer.add(told(1, time.time(), host=host))
        self.writer.start()
        self.wait_for(['node1', 'node3'])
        self.assertEqual([], self.failures)

    def test_nothing_is_forgotten_before_the_nodes_could_report(self):
        """After a long outage of all collectors, or with a clock that is not set yet."""
        self.write(told(1, 10.0, host='old'))
        self.writer.start()
        self.writer.add(told(1, time.time()))
        self.wait_for(['node1', 'old'])
        self.writer.stop(DEADLINE)
        self.assertEqual(['node1', 'old'], self.hosts())

    def test_what_is_too_old_is_forgotten(self):
        self.useFixture(fixtures.MonkeyPatch('nested_agent.collector.writer.FORGET_SECONDS', 0.01))
        self.write(told(1, 10.0, host='old'))
        self.writer.start()
        self.wait_for([])

    def test_a_defect_ends_it(self):
        self.useFixture(fixtures.MonkeyPatch('nested_agent.collector.writer.FORGET_SECONDS', 0.01))
        with mock.patch.object(self.store, 'forget', side_effect=RuntimeError('a defect')):
            self.writer.start()
            self.writer.add(told(1, time.time()))
            self.writer._thread.join(DEADLINE)
        self.assertIn('a defect', str(self.failures[0]))
