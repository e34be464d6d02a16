"""Metrics as their readers see them: promtool, node_exporter and Prometheus, all of them real."""

import os
import signal
import time
from pathlib import Path

import fixtures
from oslotest import base

from nested_agent.cmd import exit_codes
from nested_agent.collector.metrics import STATES
from nested_agent.reporting.textfile import NAME
from tests.functional import test_collector
from tests.functional.broker import free_port, wait_for
from tests.functional.collector import Collector
from tests.functional.daemon import Daemon
from tests.functional.prometheus import NodeExporter, Prometheus, get, promtool
from tests.unit.test_collector_digest import plain
from tests.unit.test_metrics import PAST

CHANGE = '[libvirt]\ncpu_mode = host-passthrough\n'


def names(text):
    """Return the names of the metrics in what was written or served."""
    lines = (line for line in text.splitlines() if line and not line.startswith('#'))
    return {line.partition(' ')[0].partition('{')[0] for line in lines}


class DaemonCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.daemon = self.useFixture(Daemon())

    def write_to(self, directory):
        self.daemon.configure(f'[metrics]\ntextfile_directory = {directory}\n')


class NodeTest(DaemonCase):
    """The daemon's own file, on this host."""

    def setUp(self):
        super().setUp()
        self.exporter = self.useFixture(NodeExporter())
        self.file = self.exporter.directory / NAME
        self.write_to(self.exporter.directory)

    def prometheus(self):
        return self.useFixture(Prometheus({'node': [self.exporter.address]}))

    def names(self):
        return names(self.file.read_text())

    def test_promtool_has_nothing_to_say_of_it(self):
        self.daemon.start_and_settle()
        text = self.file.read_text()
        self.assertEqual(set(), PAST - names(text))
        self.assertIn('nested_agent_condition_status', names(text))
        self.assertEqual('', promtool('check', 'metrics', stdin=text))
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(0, self.daemon.wait())
        self.assertEqual('', promtool('check', 'metrics', stdin=self.file.read_text()))

    def test_promtool_can_find_fault(self):
        text = '# TYPE nested_agent_x counter\nnested_agent_x 1\n'
        self.assertRaises(AssertionError, promtool, 'check', 'metrics', stdin=text)

    def test_prometheus_has_what_the_report_says(self):
        report = self.daemon.start_and_settle()
        prometheus = self.prometheus()
        [(labels, _)] = prometheus.wait_for('nested_agent_state == 1')
        self.assertEqual(report.state.value, labels['state'])
        self.assertEqual(6.0, prometheus.value('count(nested_agent_state)'))
        seconds = prometheus.value('nested_agent_verification_duration_seconds')
        self.assertTrue(0 < seconds < 600, seconds)
        self.assertEqual(86400.0, prometheus.value('nested_agent_verification_interval_seconds'))
        reasons = {
            (labels['condition'], labels['reason'])
            for labels, _ in prometheus.query('nested_agent_condition_reason_info')
        }
        self.assertEqual({(each.type.value, each.reason) for each in report.conditions}, reasons)
        statuses = {
            (labels['condition'], labels['status'])
            for labels, _ in prometheus.query('nested_agent_condition_status == 1')
        }
        wanted = {(each.type.value, each.status.lower()) for each in report.conditions}
        self.assertEqual(wanted, statuses)
        self.assertEqual(0.0, prometheus.value('node_textfile_scrape_error'))
        self.assertTrue(prometheus.healthy('node'))

    def test_it_follows_a_change(self):
        report = self.daemon.start_and_settle()
        prometheus = self.prometheus()
        of_the_cpu = 'nested_agent_condition_reason_info{condition="GuestCPU"}'
        before = prometheus.wait_for(of_the_cpu)[0][0]['reason']
        self.daemon.nova_conf.write_text('[libvirt]\ncpu_mode = none\n')
        report = self.daemon.report_after(report.sequence)
        [cpu] = [each for each in report.conditions if each.type == 'GuestCPU']
        self.assertNotEqual(before, cpu.reason)
        prometheus.wait_for(f'{of_the_cpu[:-1]},reason="{cpu.reason}"}}')

    def test_a_run_of_the_command_is_counted(self):
        report = self.daemon.start_and_settle()
        self.assertIn(self.daemon.control('remediate', '--noop').returncode, range(5))
        # It may well have nothing to do here, and be remembered all the same.
        [run] = self._history()
        self.daemon.report_after(report.sequence)
        prometheus = self.prometheus()
        of_it = f'{{trigger="command",result="{run}"}}'
        prometheus.wait_for(f'nested_agent_remediation_runs_total{of_it} == 1')
        self.assertEqual(25.0, prometheus.value('count(nested_agent_remediation_runs_total)'))
        self.assertEqual(1.0, prometheus.value('sum(nested_agent_remediation_runs_total)'))

    def _history(self):
        done = self.daemon.control('history', '-f', 'value', '-c', 'result')
        return done.stdout.split()

    def test_a_pause(self):
        report = self.daemon.start_and_settle()
        self.daemon.control('pause', '--for', '1h', '--reason', 'a disk')
        self.daemon.report_after(report.sequence)
        prometheus = self.prometheus()
        prometheus.wait_for('nested_agent_paused == 1')
        end = prometheus.value('nested_agent_pause_until_timestamp_seconds')
        self.assertTrue(0 < end - time.time() <= 3600)

    def test_a_stopped_agent_claims_nothing_and_can_be_seen_to_be_silent(self):
        report = self.daemon.start_and_settle()
        prometheus = self.prometheus()
        prometheus.wait_for('nested_agent_state')
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(0, self.daemon.wait())
        self.assertEqual(PAST, self.names())
        wait_for('no state', lambda: not prometheus.query('nested_agent_state'))
        last = prometheus.value('nested_agent_last_verification_timestamp_seconds')
        self.assertLessEqual(report.time, last)
        self.assertTrue(prometheus.healthy('node'))

    def test_a_killed_agent_can_be_seen_to_be_silent(self):
        self.daemon.start_and_settle()
        self.daemon.process.kill()
        self.daemon.wait()
        before = self.file.read_bytes()
        prometheus = self.prometheus()
        silent = 'time() - nested_agent_last_verification_timestamp_seconds > 2'
        prometheus.wait_for(silent)
        (self.exporter.directory / f'.{NAME}.killed.new').write_text('nested_agent_sta')
        self.assertEqual(before, self.file.read_bytes())
        self.assertEqual(0.0, prometheus.value('node_textfile_scrape_error'))
        self.daemon.start_and_settle()
        self.assertEqual([NAME], os.listdir(self.exporter.directory))
        self.assertNotEqual(before, self.file.read_bytes())

    def test_the_state_s_date_survives_a_restart(self):
        before = self.daemon.start_and_settle()
        self.daemon.signal(signal.SIGTERM)
        self.daemon.wait()
        after = self.daemon.start_and_settle()
        self.assertEqual(before.state, after.state)
        self.assertEqual(before.state_since, after.state_since)


class OptionTest(DaemonCase):
    def test_off(self):
        self.daemon.start_and_settle()
        left = [path for path in self.daemon.base.rglob('*') if path.suffix == '.prom']
        self.assertEqual([], left)

    def test_without_the_library_it_does_not_start_and_says_what_to_do(self):
        stub = Path(self.useFixture(fixtures.TempDir()).path)
        error = "ModuleNotFoundError('No module', name='prometheus_client')"
        (stub / 'prometheus_client.py').write_text(f'raise {error}\n')
        self.daemon.environment['PYTHONPATH'] = str(stub)
        self.daemon.start_and_settle()  # off: it does without
        self.daemon.process.kill()
        self.daemon.wait()
        self.write_to(self.daemon.base)
        self.daemon.start()
        self.assertEqual(exit_codes.USAGE, self.daemon.wait())
        said = self.daemon.log.read_text()
        self.assertIn('[metrics] textfile_directory: prometheus_client is not installed', said)
        self.assertIn('nested-agent[metrics]', said)
        self.assertNotIn('Traceback', said)

    def test_a_directory_that_is_not_there_is_told_once(self):
        self.write_to(self.daemon.base / 'none')
        report = self.daemon.start_and_settle()
        self.daemon.nova_conf.write_text(CHANGE)
        self.daemon.report_after(report.sequence)
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(0, self.daemon.wait())
        said = self.daemon.log.read_text()
        self.assertEqual(1, said.count(f'{NAME} cannot be written: No such file'), said)

    def test_a_bad_one_is_refused(self):
        self.write_to('textfile')
        self.daemon.start()
        self.assertEqual(exit_codes.USAGE, self.daemon.wait())
        self.assertIn('textfile_directory', self.daemon.log.read_text())


class CollectorTest(test_collector.MariaDBCase):
    def setUp(self):
        super().setUp()
        port = free_port()
        self.address = f'127.0.0.1:{port}'
        self.served = self.collector(started=False, metrics_port=port)
        self.served.sync()

    def scrape(self):
        return get(f'http://{self.address}/metrics')

    def prometheus(self):
        return self.useFixture(Prometheus({'collector': [self.address]}))

    def counted(self, prometheus, **wanted):
        """Wait until so many nodes are in these states, and none in others."""
        full = {state: float(wanted.get(state, 0)) for state in STATES}

        def found():
            series = prometheus.query('nested_collector_nodes')
            return {labels['state']: count for labels, count in series} == full

        wait_for(lambda: f'{wanted}: {self.scrape()}', found)

    def test_what_prometheus_is_told(self):
        self.served.start()
        prometheus = self.prometheus()
        self.counted(prometheus)
        self.assertEqual('', promtool('check', 'metrics', stdin=self.scrape()))
        last = 'nested_collector_last_write_timestamp_seconds'
        self.assertEqual([], prometheus.query(last))
        self.cast(
            self.served,
            plain(host='node1', state='compliant', sequence=1),
            plain(host='node2', state='drifted', sequence=1),
            plain(host='node3', state='half-mended', sequence=1),
            {'host': 'no report'},
        )
        self.counted(prometheus, compliant=1, drifted=1, unknown=1)
        refused = 'nested_collector_reports_total{result="refused"} == 1'
        prometheus.wait_for(refused)
        prometheus.wait_for('nested_collector_reports_total{result="accepted"} == 3')
        prometheus.wait_for('nested_collector_events_total{kind="state"} == 3')
        prometheus.wait_for('nested_collector_reports_pending == 0')
        prometheus.wait_for('nested_collector_write_duration_seconds_count > 0')
        self.assertEqual(180.0, prometheus.value('nested_collector_agent_down_time_seconds'))
        self.assertLess(abs(time.time() - prometheus.value(last)), 600)
        self.assertEqual('', promtool('check', 'metrics', stdin=self.scrape()))
        self.assertTrue(prometheus.healthy('collector'))
        self.assertEqual(0, self.served.stop())

    def test_the_database_gone_and_back(self):
        self.served.start()
        self.cast(self.served, plain(host='node1', state='compliant', sequence=1))
        prometheus = self.prometheus()
        self.counted(prometheus, compliant=1)
        self.server.stop()
        prometheus.wait_for('nested_collector_database_up == 0')
        self.assertEqual([], prometheus.query('nested_collector_nodes'))
        self.assertEqual(1.0, prometheus.value('up{job="collector"}'))
        self.cast(self.served, plain(host='node2', state='compliant', sequence=1))
        prometheus.wait_for('nested_collector_reports_pending == 1')
        self.server.start()
        prometheus.wait_for('nested_collector_database_up == 1')
        self.counted(prometheus, compliant=2)
        prometheus.wait_for('nested_collector_reports_pending == 0')

    def test_a_database_that_says_nothing_holds_up_no_scrape(self):
        self.served.start()
        wait_for(self.scrape, lambda: 'nested_collector_database_up 1.0' in self.scrape())
        os.kill(self.server._server.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.server._server.pid, signal.SIGCONT)
        wait_for(self.scrape, lambda: 'nested_collector_database_up 0.0' in self.scrape())
        self.assertNotIn('nested_collector_nodes{', self.scrape())
        os.kill(self.server._server.pid, signal.SIGCONT)
        wait_for(self.scrape, lambda: 'nested_collector_database_up 1.0' in self.scrape())

    def test_while_it_waits_for_the_database_at_the_start(self):
        self.server.stop()
        self.served.start(listening=False)
        prometheus = self.prometheus()
        prometheus.wait_for('nested_collector_database_up == 0')
        self.server.start()
        self.counted(prometheus)

    def test_two_cannot_have_one_port(self):
        self.served.start()
        other = self.useFixture(
            Collector(self.broker.url, self.database, metrics_port=self.address.split(':')[1])
        )
        other.start(listening=False)
        self.assertEqual(exit_codes.USAGE, other.process.wait(test_collector.GENEROUS))
        self.assertIn(f'metrics_port: 127.0.0.1, port {self.address[10:]}', other.said())
        self.assertNotIn('Traceback', other.said())


class OffTest(test_collector.CollectorCase):
    def test_nobody_listens(self):
        found = self.collector()
        lines = Path('/proc/net/tcp').read_text() + Path('/proc/net/tcp6').read_text()
        listening = {line.split()[9] for line in lines.splitlines() if line.split()[3] == '0A'}
        sockets = {
            str(each.readlink())
            for each in Path(f'/proc/{found.process.pid}/fd').iterdir()
            if each.is_symlink()
        }
        self.assertEqual(set(), {f'socket:[{inode}]' for inode in listening} & sockets)
