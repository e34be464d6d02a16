"""nested-agent as a process on this host, standalone: no broker, nothing else needed."""

import signal
import socket
from pathlib import Path

from oslotest import base

from tests.functional.daemon import Daemon, wait_for

CPU_MODE = 'libvirt.cpu_mode'


class DaemonTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.daemon = self.useFixture(Daemon())

    def test_the_state_file_and_the_command_say_the_same(self):
        report = self.daemon.start_and_settle()
        done = self.daemon.control('status', '-f', 'value', '-c', 'state')
        self.assertEqual(f'{report.state}\n', done.stdout)
        self.assertEqual('', done.stderr)
        self.assertIn(done.returncode, range(5))

    def test_sigterm_is_a_clean_end_and_the_file_tells(self):
        self.daemon.start_and_settle()
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(0, self.daemon.wait())
        self.assertFalse(self.daemon.stored().running)
        done = self.daemon.control('status')
        self.assertEqual(4, done.returncode)
        self.assertIn('the agent was stopped', done.stdout + done.stderr)
        self.assertNotIn('Traceback', self.daemon.log.read_text())

    def test_a_changed_nova_conf_is_seen_at_once(self):
        report = self.daemon.start_and_settle()
        for mode in ('custom', 'none', 'host-passthrough'):
            # As an editor or Ansible does it: a new file in its place.
            new = self.daemon.base / 'nova.conf.new'
            new.write_text(f'[libvirt]\ncpu_mode = {mode}\n')
            new.replace(self.daemon.nova_conf)
            report = self.daemon.report_after(report.sequence)
            settings = report.observation['nova']['settings']
            self.assertEqual(mode, settings[CPU_MODE]['value'])

    def test_a_good_reload_takes_effect(self):
        report = self.daemon.start_and_settle()
        self.assertEqual('enabled', report.policy['nested'])
        self.daemon.configure('[policy]\nnested = disabled\n')
        self.daemon.signal(signal.SIGHUP)
        self.daemon.says('configuration reloaded')
        report = self.daemon.report_after(report.sequence)
        self.assertEqual('disabled', report.policy['nested'])

    def test_a_bad_reload_is_told_and_changes_nothing(self):
        report = self.daemon.start_and_settle()
        for text, word in (
            ('[policy]\nnested = maybe\n', '[policy] nested'),
            ('[agent]\ninterval = soon\n', '[agent] interval'),
            ('no option\n', 'nested-agent.conf'),
        ):
            self.daemon.configure(text)
            self.daemon.signal(signal.SIGHUP)
            wait_for(
                lambda word=word: any(
                    'the old configuration stays in force' in line and word in line
                    for line in self.daemon.log.read_text().splitlines()
                ),
                word,
            )
        self.daemon.nova_conf.write_text('[libvirt]\ncpu_mode = none\n')
        report = self.daemon.report_after(report.sequence)
        self.assertEqual('enabled', report.policy['nested'])
        self.daemon.configure('[policy]\nnested = disabled\n')
        self.daemon.signal(signal.SIGHUP)
        self.daemon.says('configuration reloaded')
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(0, self.daemon.wait())

    def test_a_bad_option_is_refused_at_the_start(self):
        self.daemon.configure('[policy]\nnested = maybe\n')
        self.daemon.start()
        self.assertEqual(64, self.daemon.wait())
        said = self.daemon.log.read_text()
        self.assertIn(f'{self.daemon.config}: [policy] nested', said)
        self.assertNotIn('Traceback', said)

    def test_a_directory_that_cannot_be_made_is_refused(self):
        self.daemon.state_dir.write_text('in the way')
        self.daemon.start()
        self.assertEqual(64, self.daemon.wait())
        self.assertIn('[agent] state_dir', self.daemon.log.read_text())

    def test_one_daemon_per_node(self):
        self.daemon.start_and_settle()
        second = self.useFixture(Daemon())
        second.config.write_text(self.daemon.config.read_text())
        second.start()
        self.assertEqual(64, second.wait())
        self.assertIn('another nested-agent runs', second.log.read_text())

    def test_after_kill_9_it_goes_on_where_it_was(self):
        before = self.daemon.start_and_settle()
        self.daemon.signal(signal.SIGKILL)
        self.daemon.wait()
        after = self.daemon.start_and_settle()
        self.assertGreater(after.sequence, before.sequence)
        for old, new in zip(before.conditions, after.conditions, strict=True):
            self.assertEqual(old.since, new.since)
            self.assertIsNotNone(new.since)

    def test_the_interval_verifies_too(self):
        self.daemon.configure(interval=1)
        report = self.daemon.start_and_settle()
        self.daemon.report_after(report.sequence + 1)

    def test_the_log_has_no_line_per_verification(self):
        self.daemon.configure(interval=1)
        report = self.daemon.start_and_settle()
        lines = len(self.daemon.log.read_text().splitlines())
        self.daemon.report_after(report.sequence + 2)
        self.assertEqual(lines, len(self.daemon.log.read_text().splitlines()))

    def test_a_state_of_affairs_on_sigusr2(self):
        report = self.daemon.start_and_settle()
        self.daemon.signal(signal.SIGUSR2)
        self.daemon.says('Guru Meditation')
        self.daemon.nova_conf.write_text('[libvirt]\ncpu_mode = none\n')
        self.daemon.report_after(report.sequence)

    def test_the_password_is_nowhere(self):
        url = 'rabbit://agent:topsecret@127.0.0.1:1/'
        self.daemon.configure(f'[DEFAULT]\ntransport_url = {url}\ndebug = true\n')
        self.daemon.start_and_settle()
        self.daemon.says('RPC: connecting to 127.0.0.1:1')
        self.daemon.signal(signal.SIGHUP)
        self.daemon.says('configuration reloaded')
        self.daemon.signal(signal.SIGUSR2)
        self.daemon.says('Guru Meditation')
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(0, self.daemon.wait())
        self.assertNotIn('topsecret', self.daemon.log.read_text())
        self.assertNotIn('topsecret', (self.daemon.state_dir / 'report.json').read_text())

    def test_one_process_without_eventlet(self):
        self.daemon.start_and_settle()
        proc = Path('/proc', str(self.daemon.process.pid))
        self.assertNotIn('greenlet', (proc / 'maps').read_text())
        children = (proc / 'task' / proc.name / 'children').read_text()
        self.assertEqual('', children)


class SystemdTest(base.BaseTestCase):
    """What systemd is told, over a real notify socket."""

    def setUp(self):
        super().setUp()
        self.daemon = self.useFixture(Daemon())
        self.listener = self.daemon.listen()

    def hear(self, word):
        """Return the messages up to the one with this word."""
        heard: list[str] = []
        try:
            while not heard or word not in heard[-1].split('\n'):
                heard.append(self.listener.recv(4096).decode())
        except TimeoutError:
            raise AssertionError(f'{word} was not heard: {heard}') from None
        return heard

    def test_from_ready_to_stopping(self):
        self.daemon.environment['WATCHDOG_USEC'] = '600000'
        report = self.daemon.start_and_settle()
        self.assertIn(f'STATUS={report.state}', self.hear('READY=1')[-1])
        for _ in range(3):
            self.hear('WATCHDOG=1')
        self.daemon.signal(signal.SIGHUP)
        self.hear('RELOADING=1')
        self.hear('READY=1')
        self.daemon.signal(signal.SIGTERM)
        self.hear('STOPPING=1')
        self.assertEqual(0, self.daemon.wait())

    def test_a_stopped_process_feeds_no_watchdog(self):
        self.daemon.environment['WATCHDOG_USEC'] = '300000'
        self.daemon.start_and_settle()
        self.daemon.signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.signal, signal.SIGCONT)
        self.listener.settimeout(0)
        stopped = Path('/proc', str(self.daemon.process.pid), 'stat')
        wait_for(lambda: stopped.read_text().rpartition(')')[2].split()[0] == 'T', 'stopped')
        while True:
            try:
                self.listener.recv(4096)
            except BlockingIOError:
                break
        self.listener.settimeout(2)
        self.assertRaises(socket.timeout, self.listener.recv, 4096)
