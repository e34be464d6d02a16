"""The state file, the log and systemd: what each is told."""

import json
import os
import socket
from pathlib import Path
from unittest import mock

import fixtures
from oslotest import base

from nested_agent import sd_notify
from nested_agent.exceptions import ReportFormatError
from nested_agent.model import Condition, ConditionType, State, Status
from nested_agent.reporting import log, state_file
from nested_agent.reporting.state_file import Stored
from tests.unit.test_agent import report


class StateFileTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path)
        self.file = self.directory / 'report.json'

    def test_there_and_back(self):
        stored = Stored(report(sequence=3), 60.0, running=False)
        state_file.write(self.directory, stored)
        self.assertEqual(stored, state_file.read(self.directory))
        self.assertEqual(0o644, self.file.stat().st_mode & 0o777)
        self.assertEqual(['report.json'], os.listdir(self.directory))

    def test_none_yet(self):
        self.assertIsNone(state_file.read(self.directory))

    def test_a_failed_write_leaves_the_old_one(self):
        state_file.write(self.directory, Stored(report(), 60.0))
        before = self.file.read_bytes()
        with mock.patch('os.fchmod', side_effect=OSError(28, 'No space left on device')):
            self.assertRaises(OSError, state_file.write, self.directory, Stored(report(), 1.0))
        self.assertEqual(before, self.file.read_bytes())
        self.assertEqual(['report.json'], os.listdir(self.directory))

    def test_damage_names_the_file(self):
        good = {'report': report().to_dict(), 'interval': 60, 'running': True}
        for text in (
            '',
            '[]',
            '{"report": {}}',
            '[' * 200000,
            ' ' * (5 << 20),
            json.dumps({**good, 'interval': 10**400}),
            '\xff',
            json.dumps({**good, 'interval': 'x'}),
            json.dumps({'report': report().to_dict()}),
        ):
            self.file.write_text(text, encoding='latin-1')
            error = self.assertRaises(ReportFormatError, state_file.read, self.directory)
            self.assertIn(str(self.file), str(error))

    def test_a_pipe_in_its_place_does_not_block(self):
        os.mkfifo(self.file)
        self.assertRaises(ReportFormatError, state_file.read, self.directory)

    def test_what_makes_it_stale(self):
        stored = Stored(report(time=1000.0), 60.0)
        self.assertIsNone(stored.stale(1180.0, 'boot1'))
        self.assertIsNone(stored.stale(1100.0, None))
        self.assertIn('181 s old', stored.stale(1181.0, 'boot1'))
        self.assertIn('rebooted', stored.stale(1001.0, 'boot2'))
        self.assertIn('stopped', Stored(report(time=1000.0), 60.0, False).stale(1001.0, 'boot1'))


class LogTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.logger = self.useFixture(fixtures.FakeLogger())

    def lines(self, new, old):
        self.logger.reset_output()
        log.changes(new, old)
        return self.logger.output.splitlines()

    def node(self, status, message='m', state=State.COMPLIANT):
        condition = Condition(ConditionType.GUEST_CPU, status, 'R', message)
        return report(conditions=(condition,), state=state)

    def test_a_change_is_one_line(self):
        bad = self.node(Status.FALSE, 'nova.conf:3', State.DRIFTED)
        lines = self.lines(bad, self.node(Status.TRUE))
        self.assertEqual(
            ['GuestCPU: True/R -> False/R: nova.conf:3', 'node node1 is compliant -> drifted'],
            lines,
        )

    def test_no_change_is_no_line(self):
        bad = self.node(Status.FALSE, state=State.DRIFTED)
        self.assertEqual([], self.lines(bad, bad))

    def test_the_first_report_tells_what_is_wrong(self):
        self.assertEqual(['node node1 is compliant'], self.lines(self.node(Status.TRUE), None))
        self.assertEqual(2, len(self.lines(self.node(Status.FALSE), None)))


class SystemdTest(base.BaseTestCase):
    def listen(self, address):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(address.replace('@', '\0'))
        self.useFixture(fixtures.EnvironmentVariable('NOTIFY_SOCKET', address))
        return listener

    def test_a_path_and_an_abstract_name(self):
        path = f'{self.useFixture(fixtures.TempDir()).path}/notify'
        for address in (path, f'@nested-agent-test-{os.getpid()}'):
            listener = self.listen(address)
            self.assertTrue(sd_notify.notify('READY=1', 'STATUS=fine'))
            self.assertEqual(b'READY=1\nSTATUS=fine', listener.recv(100))

    def test_nobody_listens(self):
        self.useFixture(fixtures.EnvironmentVariable('NOTIFY_SOCKET'))
        self.assertFalse(sd_notify.notify('READY=1'))
        self.useFixture(fixtures.EnvironmentVariable('NOTIFY_SOCKET', '/nonexistent'))
        self.assertFalse(sd_notify.notify('READY=1'))

    def test_the_watchdog_of_another_process_is_not_ours(self):
        self.useFixture(fixtures.EnvironmentVariable('WATCHDOG_USEC', '6000000'))
        self.assertEqual(6.0, sd_notify.watchdog_seconds())
        self.useFixture(fixtures.EnvironmentVariable('WATCHDOG_PID', '1'))
        self.assertIsNone(sd_notify.watchdog_seconds())
