"""The installed ``nested-agent-status`` with a real broker, a real daemon's state and databases."""

import atexit
import json
import subprocess
import sys
from pathlib import Path

import fixtures
from oslotest import base

from tests.functional import broker as brokers
from tests.functional.broker import GENEROUS, PASSWORD, wait_for
from tests.functional.collector import Collector
from tests.functional.daemon import COMMANDS, Daemon

TOP = Path(__file__).parents[2]
SUCCESS, WARNING, FAILURE = range(3)

_shared: list[brokers.Broker] = []


def broker():
    """Return the broker of this process's tests; it ends with the process."""
    if not _shared:
        _shared.append(brokers.Broker())
        atexit.register(_shared[0].close)
    if not _shared[0].running:
        _shared[0].start()
    return _shared[0]


def files(directory):
    """Return what a directory holds, with times; atime is no change."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino, path.lstat().st_mode)
        for path in (directory, *sorted(directory.rglob('*')))
    }


class UpgradeCheckTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.config = self.base / 'nested-agent.conf'

    def check(self, *arguments):
        """Return the exit code, and what each check found."""
        done = subprocess.run(
            [COMMANDS / 'nested-agent-status', *arguments, 'upgrade', 'check', '--json'],
            capture_output=True, text=True, timeout=GENEROUS, check=False,
        )  # fmt: skip
        self.assertEqual('', done.stderr)
        self.assertNotIn(PASSWORD, done.stdout)
        found = {each['check']: each for each in json.loads(done.stdout)['checks']}
        self.assertEqual(max(each['result'] for each in found.values()), done.returncode)
        return found

    def configured(self, text):
        self.config.write_text(f'[agent]\nstate_dir = {self.base}/state\n{text}')
        return self.check(f'--config-file={self.config}')

    def assert_found(self, result, words, found):
        self.assertEqual(result, found['result'], found)
        self.assertIn(words, found['details'])

    def test_what_a_daemon_leaves_behind_and_nothing_is_changed(self):
        daemon = self.useFixture(Daemon())
        daemon.start_and_settle()
        before = files(daemon.base)
        for _ in range(2):
            found = self.check('--config-file', str(daemon.config))
            self.assert_found(SUCCESS, 'all records can be read', found['State directory'])
            self.assert_found(SUCCESS, 'standalone', found['Message broker'])
            self.assertEqual(SUCCESS, found['Configuration']['result'])
        self.assertEqual(before, files(daemon.base))
        (daemon.state_dir / 'history.json').write_text('{}')
        found = self.check('--config-file', str(daemon.config))
        self.assert_found(FAILURE, 'history.json cannot be understood', found['State directory'])

    def test_the_broker_and_the_agent(self):
        url = broker().url
        found = self.configured(f'[DEFAULT]\ntransport_url = {url}\nhost = node-7\n')
        self.assert_found(SUCCESS, 'no agent answers for node-7', found['Message broker'])
        process = subprocess.Popen(
            [
                sys.executable, '-m', 'tests.functional.rpc_agent',
                f'--config-file={self.config}', '--host=node-7',
            ],
            cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.addCleanup(brokers.end, process)

        def answers():
            found = self.check(f'--config-file={self.config}')['Message broker']
            return found if 'the agent of node-7 answers' in found['details'] else None

        self.assertEqual(SUCCESS, wait_for('an answer', answers)['result'])

    def test_no_broker_or_none_that_lets_us_in(self):
        found = self.configured('[DEFAULT]\ntransport_url = rabbit://u:p@127.0.0.1:1/\n')
        self.assert_found(WARNING, 'no broker: 127.0.0.1:1', found['Message broker'])
        wrong = broker().url.replace(PASSWORD, 'another')
        found = self.configured(f'[DEFAULT]\ntransport_url = {wrong}\n')
        self.assertEqual(WARNING, found['Message broker']['result'])
        self.assertIn('no broker', found['Message broker']['details'])

    def test_a_file_that_is_none(self):
        found = self.configured('no option\n')
        self.assert_found(FAILURE, f'{self.config}:3', found['Configuration'])

    def test_the_collector_s_database(self):
        collector = self.useFixture(Collector('rabbit://u:p@127.0.0.1:1/'))
        named = f'--collector-config-file={collector.config}'
        before = files(collector.base)
        found = self.check(named)
        self.assert_found(FAILURE, 'nested-collector-manage db sync', found['Collector database'])
        self.assertEqual(before, files(collector.base))
        collector.sync()
        before = files(collector.base)
        found = self.check(named)
        self.assert_found(SUCCESS, 'the schema is current', found['Collector database'])
        self.assertEqual(before, files(collector.base))
