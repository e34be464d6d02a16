"""nested-collector as a process: real RabbitMQ, SQLite and a real MariaDB, real agents."""

import atexit
import json
import logging
import signal
import threading
import time
from typing import Any

import oslo_messaging
import sqlalchemy as sa
from kombu import connection as amqp
from oslo_config import cfg
from oslotest import base

from nested_agent.collector.tables import EVENTS, NODES
from nested_agent.conf import load
from nested_agent.rpc import fleet
from tests.functional import broker as brokers
from tests.functional.broker import GENEROUS, wait_for
from tests.functional.collector import Collector
from tests.functional.daemon import Daemon
from tests.functional.mariadb import MariaDB
from tests.unit import test_collector_store
from tests.unit.test_collector_digest import plain
from tests.unit.test_collector_node import told

# oslotest keeps every record: of ten thousand requests that takes longer than the requests.
for _name in ('amqp', 'kombu', 'oslo.messaging', 'oslo_messaging', 'stevedore'):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_shared: dict[type, Any] = {}


def shared(kind):
    """Return the broker or database of this process's tests, running; it ends with the process."""
    if kind not in _shared:
        _shared[kind] = kind()
        atexit.register(_shared[kind].close)
        _shared[kind].start()
    return _shared[kind]


class CollectorCase(base.BaseTestCase):
    """:cvar database: SQLite"""

    database = None

    def setUp(self):
        super().setUp()
        self.broker = shared(brokers.Broker)
        self.addCleanup(self._restart, self.broker)
        with amqp.Connection(self.broker.url.replace('rabbit:', 'amqp:')) as connection:
            for queue in (fleet.REPORTS, fleet.QUERIES):
                connection.channel().queue_delete(queue)

    def _restart(self, server):
        if not server._server:
            server.start()

    def collector(self, *, started=True, **options):
        found = self.useFixture(Collector(self.broker.url, self.database, **options))
        if started:
            found.sync()
            found.start()
        return found

    def cast(self, collector, *reports, method='report_state', release='0.1.0', **prepared):
        """Tell the collector, as an agent does."""
        load.load(cfg.CONF, [str(collector.control_config)])
        transport = oslo_messaging.get_rpc_transport(cfg.CONF, self.broker.url)
        try:
            client = oslo_messaging.get_rpc_client(transport, fleet.reports(), retry=0)
            client = client.prepare(**prepared)
            for report in reports:
                client.cast({}, method, report=report, release=release)
        finally:
            transport.cleanup()

    def nodes(self, collector, *arguments):
        """Return what ``node list`` shows, by host."""
        done = collector.control('node', 'list', '--long', '-f', 'json', *arguments)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return {row['host']: row for row in json.loads(done.stdout)}

    def events(self, collector, *arguments):
        done = collector.control('node', 'events', '-f', 'json', *arguments)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return json.loads(done.stdout)

    def states(self, collector, **wanted):
        """Wait until ``node list`` shows the states, by host."""

        def found():
            return {host: row['state'] for host, row in self.nodes(collector).items()}

        wait_for(lambda: f'{wanted}, not {found()}', lambda: found() == wanted)

    def rows(self, collector, **wanted):
        """Wait until the database has these sequences, by host."""

        def found():
            return dict(tuple(row) for row in collector.sql('SELECT host, sequence FROM nodes'))

        wait_for(lambda: f'{wanted}, not {found()}', lambda: found() == wanted)

    def agent(self, collector, host):
        """Return an agent that tells once a second; not started."""
        agent = self.useFixture(Daemon())
        agent.configure(
            f'[DEFAULT]\nhost = {host}\ntransport_url = {self.broker.url}\n', interval=1
        )
        text = agent.config.read_text().replace('[agent]\n', '[agent]\nreport_interval = 1\n')
        agent.config.write_text(text)
        return agent


class AgentsTest(CollectorCase):
    def test_they_report_change_fall_silent_and_return(self):
        collector = self.collector(agent_down_time=15)
        agents = {host: self.agent(collector, host) for host in ('node1', 'node2')}
        for agent in agents.values():
            agent.start()
        wait_for('both', lambda: set(self.nodes(collector)) == set(agents))
        stored = agents['node1'].stored().report
        shown = self.nodes(collector)['node1']
        self.assertEqual(stored.state, shown['reported'])
        self.assertEqual(stored.driver, shown['vendor'])
        self.assertEqual(stored.observation['kernel']['release'], shown['kernel'])

        reasons = shown['reasons']
        agents['node1'].nova_conf.write_text('[libvirt]\ncpu_mode = none\n')
        wait_for('a change', lambda: self.nodes(collector)['node1']['reasons'] != reasons)

        agents['node2'].signal(signal.SIGTERM)
        agents['node2'].wait()
        wait_for('it to be down', lambda: 'node2' in self.nodes(collector, '--state', 'down'))
        self.assertNotIn('node1', self.nodes(collector, '--state', 'down'))
        agents['node2'].start()
        wait_for('it to be back', lambda: not self.nodes(collector, '--state', 'down'))
        kinds = [event['kind'] for event in self.events(collector, 'node2')]
        self.assertEqual(['returned', 'state'], kinds)
        agents['node1'].signal(signal.SIGTERM)
        self.assertEqual(0, agents['node1'].wait())
        self.assertEqual(0, collector.stop())
        self.assertNotIn('Traceback', collector.said())

    def test_a_broker_restarted(self):
        collector = self.collector()
        agent = self.agent(collector, 'node1')
        agent.start()
        wait_for('a report', lambda: self.nodes(collector))
        self.broker.stop()
        # The agent goes on without.
        agent.report_after(agent.stored().report.sequence + 3)
        self.broker.start()
        before = collector.numbers()
        wait_for('later ones', lambda: collector.numbers() > before + 3)
        self.assertEqual(1, len(self.nodes(collector)))

    def test_without_a_collector_nothing_piles_up(self):
        collector = self.collector()
        agent = self.agent(collector, 'node1')
        agent.start()
        wait_for('a report', lambda: self.nodes(collector))
        collector.stop()
        with amqp.Connection(self.broker.url.replace('rabbit:', 'amqp:')) as connection:
            channel = connection.channel()
            channel.queue_purge(fleet.REPORTS)
            agent.report_after(agent.stored().report.sequence + 5)
            found = channel.queue_declare(queue=fleet.REPORTS, passive=True)
            # One that was under way when the collector went.
            self.assertLessEqual(found.message_count, 1)
        done = collector.control('node', 'summary')
        self.assertEqual(69, done.returncode)
        self.assertIn('no collector answers', done.stderr)
        collector.start()
        before = collector.numbers()
        wait_for('later ones', lambda: collector.numbers() > before)


class KeptTest(CollectorCase):
    def test_the_commands(self):
        collector = self.collector(agent_down_time=86400)
        fine = {'state': 'compliant', 'conditions': []}
        self.cast(
            collector,
            plain(host='node1', **fine),
            plain(host='node2', plan=[{'kind': 'reload-module', 'target': 'kvm_amd', 'why': 'x'}]),
            plain(host='node3', schema_version='2.0'),
            plain(host='node4', schema_version='1.99', state='quiescent', unheard_of=[{}]),
        )
        self.states(
            collector, node1='compliant', node2='drifted', node3='unknown', node4='quiescent'
        )
        self.assertEqual({'node2'}, set(self.nodes(collector, '--state', 'drifted')))
        self.assertEqual({'node3'}, set(self.nodes(collector, '--reason', 'UnknownVersion')))
        done = collector.control('node', 'list', '--limit', '2', '-f', 'value', '-c', 'host')
        self.assertEqual('node1\nnode2\n', done.stdout)
        self.assertIn('only the first 2 are shown', done.stderr)

        done = collector.control('node', 'show', 'node2')
        self.assertTrue(done.stdout.startswith('node2: DRIFTED since '), done.stdout)
        for word in ('NestedRuntime', 'Disabled', 'To become compliant', 'reload-module', '0.1.0'):
            self.assertIn(word, done.stdout)
        for host in ('node1', 'node3', 'node4'):
            shown = json.loads(collector.control('node', 'show', host, '-f', 'json').stdout)
            self.assertEqual(7, shown['sequence'])
            self.assertEqual(0, collector.control('node', 'show', host).returncode)
        done = collector.control('node', 'show', 'node9')
        self.assertEqual((4, ''), (done.returncode, done.stdout))
        self.assertIn('knows of no node node9', done.stderr)

        rows = json.loads(collector.control('node', 'summary', '-f', 'json').stdout)
        self.assertEqual({'what': 'all', 'value': '', 'nodes': 4}, rows[0])
        self.assertIn({'what': 'state', 'value': 'drifted', 'nodes': 1}, rows)
        self.assertIn('compliant', collector.control('node', 'summary').stdout)
        kinds = {event['kind'] for event in self.events(collector, '--since', '1h')}
        self.assertEqual({'state', 'remediation'}, kinds)
        self.assertEqual([], self.events(collector, 'node9'))
        for words in (('node', 'list', '--state', 'fine'), ('node', 'events', '--kind', 'x')):
            self.assertEqual(64, collector.control(*words).returncode)

    def test_hostile_reports_are_refused_in_one_line(self):
        collector = self.collector()
        huge = 'x' * (4 << 20)
        before = len(collector.said().splitlines())
        for _ in range(20):
            self.cast(
                collector,
                *(None, [], 7, huge, {}, {'huge': huge}, plain(host='a b'), plain(state='down')),
                *(plain(sequence='1'), plain(schema_version='x'), plain(conditions=huge)),
                plain(host=None), plain(boot_id=['x']), plain(time=[[[]]] * 100000),
            )  # fmt: skip
            self.cast(collector, plain(), method='no_such_method')
            self.cast(collector, plain(), method='_add')
            self.cast(collector, plain(), version='7.3')
            self.cast(collector, plain(), namespace='elsewhere')
            self.raw(b'no JSON', b'[]', b'{"oslo.message": "{}"}', b'{"oslo.message": 7}', b'\xff')
            self.raw(b'[' * 300000, b'{"oslo.message": "' + b'[' * 300000 + b'"}', b'1' * 6000)
        self.cast(collector, plain(host='good'))
        self.rows(collector, good=7)
        lines = collector.said().splitlines()[before:]
        self.assertNotIn('xxx', '\n'.join(lines))
        told = [line for line in lines if 'a report was refused' in line]
        self.assertGreater(len(told), 3)
        self.assertEqual(len(told), len({line.partition('refused')[2] for line in told}))
        self.assertLess(len(lines), 40, '\n'.join(lines[:200])[:20000])
        self.assertNotIn('Traceback', collector.said())

    def test_strange_reports_are_kept_and_shown(self):
        words = [
            {'type': 'T', 'status': 'False', 'reason': f'{"Reason" * 9}{number}'}
            for number in range(64)
        ]
        odd = [
            {'type': 'T', 'status': 'False', 'reason': 'R', 'message': 'a\ud800\x1b[2J\U0001f600'}
        ]
        deep: object = 'x'
        for _ in range(28):
            deep = [deep]
        collector = self.collector()
        self.cast(
            collector,
            plain(host='wordy', conditions=words),
            plain(host='odd', conditions=odd, time=1e300, policy={'huge': 10**4000}),
            plain(host='deep', policy=deep),
        )
        self.rows(collector, deep=7, odd=7, wordy=7)
        for host in ('wordy', 'odd', 'deep'):
            for form in ('table', 'json', 'yaml', 'csv', 'value', 'shell'):
                done = collector.control('node', 'show', host, '-f', form)
                self.assertEqual((0, ''), (done.returncode, done.stderr), (host, form))
                if form == 'table':
                    self.assertNotIn('\x1b', done.stdout)
        self.assertEqual(3, len(self.nodes(collector)))
        self.assertEqual({'state', 'remediation'}, {e['kind'] for e in self.events(collector)})

    def raw(self, *bodies):
        """Send what is no message of oslo.messaging."""
        with amqp.Connection(self.broker.url.replace('rabbit:', 'amqp:')) as connection:
            producer = connection.Producer()
            for body in bodies:
                producer.publish(
                    body,
                    exchange='openstack',
                    routing_key=fleet.REPORTS,
                    content_type='application/json',
                    content_encoding='utf-8',
                )

    def test_another_host_s_name(self):
        """Two machines as one: the last to come into being stays, and it is told."""
        collector = self.collector()
        self.cast(collector, plain(boot_id='one', sequence=100))
        self.rows(collector, node1=100)
        self.cast(collector, plain(boot_id='two', sequence=1))
        self.rows(collector, node1=1)
        # As if that was an hour ago.
        collector.execute('UPDATE nodes SET booted = booted - 3600')
        for number in range(2, 20):
            self.cast(
                collector,
                plain(boot_id='one', sequence=100 + number),
                plain(boot_id='two', sequence=number),
            )
        self.rows(collector, node1=19)
        kinds = [event['kind'] for event in self.events(collector)]
        self.assertEqual(['contested', 'reboot', 'remediation', 'state'], kinds)

    def test_killed_and_healed_by_the_next_report(self):
        collector = self.collector()
        self.cast(collector, *(plain(host=f'node{each}', sequence=1) for each in range(5)))
        collector.process.send_signal(signal.SIGKILL)
        collector.process.wait()
        collector.start()
        self.cast(collector, *(plain(host=f'node{each}', sequence=2) for each in range(5)))
        self.rows(collector, **{f'node{each}': 2 for each in range(5)})
        # Late ones change nothing.
        self.cast(collector, *(plain(host=f'node{each}', sequence=1) for each in range(5)))
        self.cast(collector, plain(host='last'))
        self.rows(collector, last=7, **{f'node{each}': 2 for each in range(5)})

    def test_nodes_that_are_gone_are_forgotten(self):
        collector = self.collector()
        self.cast(collector, plain(), plain(host='node2'))
        self.rows(collector, node1=7, node2=7)
        for hosts, reason in (
            (['node1'], 'node1 is not down: it reported '),
            (['node1', 'node3'], 'no report of node3 is kept'),
        ):
            done = collector.manage('node', 'forget', *hosts)
            self.assertEqual((64, ''), (done.returncode, done.stdout))
            self.assertIn('no node was forgotten: ', done.stderr)
            self.assertIn(reason, done.stderr)
        self.rows(collector, node1=7, node2=7)

        collector.configure(agent_down_time=1)
        forget = ('node', 'forget', 'node1', 'node1')
        wait_for('it to be down', lambda: collector.manage(*forget).returncode == 0)
        self.assertEqual(['node2'], list(self.nodes(collector)))
        self.assertEqual(4, collector.control('node', 'show', 'node1').returncode)
        events = self.events(collector, 'node1')
        self.assertEqual(['forgotten', 'remediation', 'state'], [event['kind'] for event in events])
        self.assertEqual('asked for', events[0]['message'])
        self.cast(collector, plain())
        self.rows(collector, node1=7, node2=7)

    def test_nothing_is_lost_when_it_ends(self):
        """What it took is written, what it did not take waits for the next."""
        collector = self.collector()
        self.cast(collector, *(plain(host=f'node{each}') for each in range(200)))
        self.assertEqual(0, collector.stop())
        kept = collector.sql('SELECT COUNT(*) FROM nodes')[0][0]
        with amqp.Connection(self.broker.url.replace('rabbit:', 'amqp:')) as connection:
            channel = connection.channel()

            def waiting():
                found = channel.queue_declare(queue=fleet.REPORTS, passive=True)
                return kept + found.message_count >= 200

            wait_for(f'more than {kept}', waiting)
        collector.start()
        self.rows(collector, **{f'node{each}': 7 for each in range(200)})

    def test_a_reload(self):
        collector = self.collector(agent_down_time=86400)
        self.cast(collector, plain())
        self.states(collector, node1='drifted')
        collector.configure(agent_down_time='soon')
        collector.process.send_signal(signal.SIGHUP)
        collector.says('the old configuration stays in force')
        collector.configure(agent_down_time=1)
        collector.process.send_signal(signal.SIGHUP)
        collector.says('configuration reloaded')
        self.states(collector, node1='down')

    def test_two_share_the_work(self):
        collectors = [self.collector()]
        other = Collector(self.broker.url, collectors[0].database)
        collectors.append(self.useFixture(other))
        for each in collectors:
            each.config.write_text(
                each.config.read_text().replace('[DEFAULT]', '[DEFAULT]\ndebug=1')
            )
        collectors[0].stop()
        for each in collectors:
            each.start()
        for number in range(1, 6):
            self.cast(
                collectors[0], *(plain(host=f'n{each}', sequence=number) for each in range(100))
            )
        self.rows(collectors[0], **{f'n{each}': 5 for each in range(100)})
        for each in collectors:
            each.says('nodes written')
        kinds = [row[0] for row in collectors[0].sql('SELECT kind FROM events')]
        self.assertEqual(100, kinds.count('state'))
        # One goes: the other takes all.
        collectors[0].kill()
        self.cast(other, *(plain(host=f'n{each}', sequence=6) for each in range(100)))
        self.cast(other, *(plain(host=f'n{each}', sequence=7) for each in range(100)))
        self.rows(other, **{f'n{each}': 7 for each in range(100)})


class StartTest(CollectorCase):
    def test_the_schema_is_checked(self):
        collector = self.collector(started=False)
        self.assertIn('none (wanted: ', collector.manage('db', 'version').stdout)
        collector.start(listening=False)
        self.assertEqual(64, collector.process.wait(GENEROUS))
        self.assertIn('nested-collector-manage db sync', collector.said())
        collector.sync()
        collector.sync()
        collector.start()
        self.assertEqual(0, collector.stop())

    def test_a_file_of_sqlite_is_for_its_owner(self):
        collector = self.collector(started=False)
        collector.sync()
        for path in collector.base.glob('collector.sqlite*'):
            self.assertEqual(0o600, path.stat().st_mode & 0o777, path)

    def test_a_database_that_cannot_be_used(self):
        collector = self.collector(started=False)
        for url in ('sqlite:////nonexistent/x', 'mysql+pymysql://u:s3@cret@localhost/x'):
            collector.database = url
            collector.configure()
            done = collector.manage('db', 'sync')
            collector.start(listening=False)
            self.assertEqual([64, 64], [done.returncode, collector.process.wait(GENEROUS)])
            for said in (done.stderr, collector.said()):
                self.assertIn('[database] connection: ', said)
                self.assertNotIn('cret', said)
                self.assertNotIn('Traceback', said)

    def test_without_a_broker_in_the_configuration(self):
        collector = self.collector(started=False)
        collector.sync()
        collector.config.write_text(
            collector.config.read_text().replace('transport_url', '#transport_url')
        )
        collector.start(listening=False)
        self.assertEqual(64, collector.process.wait(GENEROUS))
        self.assertIn('[DEFAULT] transport_url', collector.said())

    def test_bad_commands(self):
        collector = self.collector(started=False)
        for words in ((), ('db',), ('db', 'drop'), ('node', 'forget'), ('node', 'forget', b'\xff')):
            self.assertEqual(64, collector.manage(*words).returncode)
        collector.configure(max_nodes='many')
        done = collector.manage('db', 'sync')
        self.assertEqual(64, done.returncode)
        self.assertIn('[collector] max_nodes', done.stderr)

    def test_what_only_looks_makes_no_file_of_sqlite(self):
        """It would be root's."""
        collector = self.collector(started=False)
        for words in (('db', 'version'), ('node', 'forget', 'node1')):
            collector.manage(*words)
            self.assertEqual([], list(collector.base.glob('collector.sqlite*')))


class MariaDBCase(CollectorCase):
    def setUp(self):
        self.server = shared(MariaDB)
        self.server.create()
        self.database = self.server.url
        super().setUp()
        self.addCleanup(self._restart, self.server)


class MariaDBTest(MariaDBCase, KeptTest):
    """Everything again."""

    def test_the_database_gone_and_back(self):
        collector = self.collector(agent_down_time=86400)
        self.cast(collector, plain(host='node1', sequence=1))
        self.rows(collector, node1=1)
        self.server.stop()
        for number in range(2, 30):
            self.cast(collector, plain(host='node1', sequence=number), plain(host='node2'))
        done = collector.control('node', 'summary')
        self.assertEqual(69, done.returncode)
        self.assertIn('its database does not answer', done.stderr)
        collector.says('the database: ')
        self.server.start()
        self.rows(collector, node1=29, node2=7)
        self.states(collector, node1='drifted', node2='drifted')
        self.assertIsNone(collector.process.poll())

    def test_it_waits_for_the_database_at_the_start(self):
        collector = self.collector(started=False)
        collector.sync()
        self.server.stop()
        self.assertEqual(69, collector.manage('db', 'version').returncode)
        collector.start(listening=False)
        collector.says('the database: ')
        time.sleep(0.1)
        self.server.start()
        wait_for(collector.said, lambda: collector.said().count('RPC: answering as') == 2)
        self.cast(collector, plain())
        self.rows(collector, node1=7)

    def test_it_waits_and_then_there_are_no_tables(self):
        collector = self.collector(started=False)
        self.server.stop()
        collector.start(listening=False)
        collector.says('the database: ')
        self.server.start()
        # Not 1, with which systemd would start it again.
        self.assertEqual(64, collector.process.wait(GENEROUS))
        self.assertIn('the database has no tables yet', collector.said())

    def test_what_is_outside_of_the_usual_characters(self):
        # As OpenStack's URLs have it.
        self.database += '&charset=utf8'
        collector = self.collector()
        run = {**plain()['remediation']['last_run'], 'message': '\u4e2d\U0001f600\ud800\x00'}
        self.cast(collector, plain(remediation={'last_run': run}))
        self.rows(collector, node1=7)
        (message,) = (e['message'] for e in self.events(collector, '--kind', 'remediation'))
        self.assertEqual('\u4e2d\U0001f600\ufffd\ufffd', message)


class MariaDBSchemaTest(MariaDBCase):
    def test_the_migrations_make_the_tables(self):
        from alembic import autogenerate
        from alembic.runtime import migration

        from nested_agent.collector.tables import METADATA

        collector = self.collector(started=False)
        collector.sync()
        with collector.engine.connect() as connection:
            context = migration.MigrationContext.configure(connection)
            self.assertEqual([], autogenerate.compare_metadata(context, METADATA))

    def test_one_that_is_not_there(self):
        self.server.execute('DROP DATABASE collector')
        collector = self.collector(started=False)
        done = collector.manage('db', 'sync')
        self.assertEqual(64, done.returncode)
        self.assertIn("Unknown database 'collector'", done.stderr)
        collector.start(listening=False)
        self.assertEqual(64, collector.process.wait(GENEROUS))
        self.assertNotIn('Traceback', collector.said())

    def test_by_another_name(self):
        self.database = self.database.replace('mysql+', 'mariadb+')
        collector = self.collector()
        self.cast(collector, plain(host='node1'), plain(host='Node1'))
        self.rows(collector, node1=7, Node1=7)


class MariaDBStoreCase(test_collector_store.StoreCase):
    """What is true of SQLite is true of MariaDB."""

    def connection(self):
        self.server = shared(MariaDB)
        self.server.create()
        return self.server.url


class MariaDBWriteTest(MariaDBStoreCase, test_collector_store.WriteTest):
    """Everything again, two writers at once too."""

    def test_two_that_meet(self):
        """One waits for a node that the other writes, and does not undo it."""
        self.write(told(1, 10.0))
        with self.engine.begin() as connection:
            connection.execute(sa.select(NODES).with_for_update()).all()
            thread = self.writing_and_waiting(told(3, 12.0))
            connection.execute(sa.update(NODES).values(sequence=5, confirmed=12.0))
        thread.join(GENEROUS)
        self.assertEqual(5, self.sequence())

    def test_deadlocks_are_tried_again(self):
        self.write(told(1, 10.0, host='a'), told(1, 10.0, host='b'))
        event = {'time': 1.0, 'host': 'x', 'kind': 'state', 'message': ''}
        chosen = sa.select(NODES).with_for_update()
        with self.engine.begin() as connection:
            # Who has written more is not the one that is given up.
            connection.execute(sa.insert(EVENTS), 100 * [event])
            connection.execute(chosen.where(NODES.c.host == 'b')).all()
            thread = self.writing_and_waiting(told(2, 11.0, host='a'), told(2, 11.0, host='b'))
            connection.execute(chosen.where(NODES.c.host == 'a')).all()
        thread.join(GENEROUS)
        self.assertEqual([2, 2], [self.sequence(host) for host in 'ab'])

    def test_a_node_that_reports_while_it_is_to_be_forgotten(self):
        self.write(told(1, 10.0))
        staying = []

        def forget():
            staying.append(self.store.forget_hosts(['node1'], 1000.0, 180.0))

        with self.engine.begin() as connection:
            connection.execute(sa.select(NODES).with_for_update()).all()
            thread = self.waiting(forget)
            connection.execute(sa.update(NODES).values(seen=990.0))
        thread.join(GENEROUS)
        self.assertEqual([{'node1': 990.0}], staying)
        self.assertEqual(1, self.sequence())

    def writing_and_waiting(self, *digests):
        """Return the thread that writes reports, once it waits for a lock."""
        return self.waiting(self.write, *digests)

    def waiting(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        # Not innodb_trx: what is asked often gets the answer of before.
        waiting = sa.text(
            'SELECT COUNT(*) FROM information_schema.processlist '
            "WHERE info LIKE 'SELECT nodes%FOR UPDATE' AND time_ms > 300"
        )

        def waits():
            with self.engine.connect() as connection:
                return connection.execute(waiting).scalar_one() == 1

        wait_for('it to wait', waits)
        return thread

    def test_connections_that_the_server_closed(self):
        """wait_timeout, or a server that was restarted, while nothing was asked."""
        self.write(told(1, 10.0))
        ids = 'SELECT id FROM information_schema.processlist WHERE db = "collector"'
        with self.engine.connect() as connection:
            numbers = connection.execute(sa.text(ids)).scalars().all()
        self.server.execute(';'.join(f'KILL {number}' for number in numbers))
        self.write(told(2, 11.0))
        self.assertEqual(2, self.sequence())

    def sequence(self, host='node1'):
        chosen = sa.select(NODES.c.sequence).where(NODES.c.host == host)
        with self.engine.connect() as connection:
            return connection.execute(chosen).scalar_one()


class MariaDBReadTest(MariaDBStoreCase, test_collector_store.ReadTest):
    """Everything again."""
