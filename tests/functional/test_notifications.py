"""Notifications over a real RabbitMQ: the real daemon tells, a real listener hears."""

import atexit
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import fixtures
from oslotest import base

from nested_agent.reporting import state_file
from tests.functional import broker as brokers
from tests.functional.broker import GENEROUS, PASSWORD, wait_for

TOP = Path(__file__).parents[2]
STATE, START, END, ERROR = (
    f'nested_agent.{each}'
    for each in ('state.changed', 'remediation.start', 'remediation.end', 'remediation.error')
)
DRIFT = '[libvirt]\ncpu_mode = custom\ncpu_models = EPYC\n'

_shared: list[brokers.Broker] = []


def broker(*, running=True):
    """Return the broker of this process's tests; it ends with the process."""
    if not _shared:
        _shared.append(brokers.Broker(tls=True))
        atexit.register(_shared[0].close)
    if running and not _shared[0].running:
        _shared[0].start()
    if not running:
        _shared[0].stop()
    return _shared[0]


class Heard(NamedTuple):
    priority: str
    publisher: str
    event: str
    payload: dict[str, object]
    metadata: dict[str, str]


class Process(fixtures.Fixture):
    """A module of the tests as a process of its own.

    :ivar said: what it wrote to its standard output; :ivar log: and to the other
    """

    def __init__(self, module, *arguments):
        super().__init__()
        self.command = [sys.executable, '-m', f'tests.functional.{module}', *arguments]
        self.process = None

    def _setUp(self):  # noqa: N802  # fixtures' name
        directory = Path(self.useFixture(fixtures.TempDir()).path)
        self.said, self.log = directory / 'said', directory / 'log'
        self.addCleanup(self.kill)

    def start(self):
        with self.said.open('ab') as said, self.log.open('ab') as log:
            self.process = subprocess.Popen(
                self.command, cwd=TOP, stdout=said, stderr=log, stdin=subprocess.DEVNULL
            )
        return self

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(GENEROUS)


class NotificationsTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.in_a_new_directory()

    def in_a_new_directory(self):
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.config = self.base / 'nested-agent.conf'
        self.tree = self.base / 'tree'
        # What a test left unread is not heard by the next.
        self.topic = f'notifications-{self.base.name}'

    def configure(self, text):
        self.config.write_text(
            f'[agent]\nstate_dir = {self.base}/state\nrun_dir = {self.base}/run\n'
            'interval = 86400\nreport_interval = 0\n'
            f'[oslo_messaging_notifications]\ntopics = {self.topic}\n'
            f'[remediation]\nmode = enforce\nsplay = 0\n{text}'
        )

    def agent(self, *arguments):
        self.process = self.useFixture(
            Process(
                'notify_agent', f'--config-file={self.config}', f'--tree={self.tree}', *arguments
            )
        )
        return self.process.start()

    def listen(self):
        self.listener = self.useFixture(
            Process('notify_listener', f'--url={broker().url}', f'--topic={self.topic}')
        )
        return self.listener.start()

    def heard(self):
        lines = self.listener.said.read_text().splitlines(keepends=True)
        found = [Heard(*json.loads(line)) for line in lines if line.endswith('\n')]
        # The priorities are queues of their own: which comes first is luck.
        return sorted(found, key=lambda each: each.metadata['timestamp'])

    def hear(self, *events):
        """Return what was heard, once these events have been."""

        def all_of_them():
            if self.process.process.poll() is not None:
                raise AssertionError(self.process.log.read_text())
            missing = list(events)
            for each in self.heard():
                if each.event in missing:
                    missing.remove(each.event)
            return not missing

        wait_for(lambda: f'{events}, not {self.heard()}', all_of_them)
        return self.heard()

    def state(self):
        stored = state_file.read(self.base / 'state')
        return stored.report.state.value if stored else None

    def becomes(self, state):
        wait_for(lambda: f'{state}, not {self.state()}', lambda: self.state() == state)

    def drift(self):
        """Have somebody change nova.conf, and the agent look."""
        Path(self.tree.read_text(), 'etc/nova/nova.conf').write_text(DRIFT)
        self.process.process.send_signal(signal.SIGHUP)

    def end(self):
        self.process.process.send_signal(signal.SIGTERM)
        return self.process.process.wait(GENEROUS)

    def assert_quiet(self):
        """Assert that nothing of what was told is in the log, nor the password."""
        log = self.process.log.read_text() + self.process.said.read_text()
        for word in ('schema_version', 'state_before', 'message_id', 'payload', STATE, PASSWORD):
            self.assertNotIn(word, log)

    def test_a_drift_and_its_fix_over_tls_and_a_broker_of_its_own(self):
        authority = broker().certificates.authority
        self.configure(
            f'[oslo_messaging_notifications]\ndriver = messagingv2\n'
            f'transport_url = {broker().tls_url}\n'
            f'[oslo_messaging_rabbit]\nssl = true\nssl_ca_file = {authority}\n'
        )
        self.listen()
        self.agent()
        heard = self.hear(STATE, START, END, STATE)
        drifted, start, end, compliant = heard
        self.assertEqual([STATE, START, END, STATE], [each.event for each in heard])
        self.assertEqual(['warn', 'info', 'info', 'info'], [each.priority for each in heard])
        host = drifted.payload['host']
        self.assertEqual({f'nested_agent.{host}'}, {each.publisher for each in heard})
        self.assertEqual((None, 'drifted'), self.states(drifted))
        self.assertEqual(('drifted', 'compliant'), self.states(compliant))
        self.assertEqual(start.payload['id'], end.payload['id'])
        self.assertEqual('autonomous', start.payload['trigger'])
        self.assertEqual('applied', end.payload['result'])
        self.assertEqual({'1.0'}, {each.payload['schema_version'] for each in heard})
        self.assertIn('standalone', self.process.log.read_text() + self.process.said.read_text())
        self.assertEqual(0, self.end())
        self.assert_quiet()

    def states(self, heard):
        return heard.payload['state_before'], heard.payload['state']

    def test_what_cannot_be_used_is_refused_at_the_start(self):
        group = '[oslo_messaging_notifications]\n'
        for text, option in (
            ('driver = messagingv2\n', 'driver: messagingv2 needs a broker'),
            ('driver = carrier-pigeon\n', "driver: 'carrier-pigeon' is none of "),
            ('driver = log\nretry = often\n', 'retry: '),
            (f'driver = log\ntransport_url = rabbit://u:{PASSWORD}@h:x/\n', 'transport_url: '),
        ):
            self.configure(f'{group}{text}')
            self.agent()
            self.assertEqual(64, self.process.process.wait(GENEROUS))
            said = self.process.log.read_text()
            words = f'nested-agent: {self.config}: [oslo_messaging_notifications] {option}'
            self.assertIn(words, said)
            self.assertNotIn('Traceback', said)
            self.assertNotIn(PASSWORD, said)
            self.assertFalse((self.base / 'state').exists())

    def test_a_fix_that_fails_or_is_refused(self):
        for option, word in (('--fail', 'modprobe'), ('--refuse', 'nothing was changed')):
            self.fails(option, word)

    def fails(self, option, word):
        self.in_a_new_directory()
        self.configure(
            f'[DEFAULT]\ntransport_url = {broker().url}\n'
            '[oslo_messaging_notifications]\ndriver = messaging\n'
        )
        self.listen()
        self.agent(option)
        heard = self.hear(STATE, START, ERROR)
        # What could not be undone is then tried again.
        start, error, *_ = (each for each in heard if each.event in (START, ERROR))
        self.assertEqual((START, ERROR), (start.event, error.event))
        self.assertEqual(start.payload['id'], error.payload['id'])
        self.assertEqual('error', error.priority)
        self.assertIn(error.payload['result'], ('failed', 'rolled_back'))
        self.assertIn(word, error.payload['message'])
        self.listener.kill()
        self.process.kill()

    def test_killed_in_the_middle(self):
        self.configure(
            f'[DEFAULT]\ntransport_url = {broker().url}\n'
            '[oslo_messaging_notifications]\ndriver = messagingv2\n'
        )
        self.listen()
        marker = self.base / 'held'
        self.agent(f'--hold={marker}')
        wait_for('held', marker.exists)
        (start,) = (each for each in self.hear(START) if each.event == START)
        self.process.kill()
        self.agent()
        # It is undone, told as the end of what had begun, and made once more.
        heard = self.hear(ERROR, END)
        starts = [each.payload['id'] for each in heard if each.event == START]
        ends = [each.payload['id'] for each in heard if each.event in (ERROR, END)]
        self.assertEqual(starts, ends)
        self.assertEqual(start.payload['id'], starts[0])
        (error,) = (each for each in heard if each.event == ERROR)
        self.assertEqual(('recovery', 'rolled_back'), tuple(
            error.payload[key] for key in ('trigger', 'result')
        ))  # fmt: skip

    def test_the_broker_away_at_first_and_again(self):
        url = broker(running=False).url
        self.configure(
            f'[DEFAULT]\ntransport_url = {url}\ndebug = true\n'
            '[oslo_messaging_notifications]\ndriver = messagingv2\n'
        )
        self.agent()
        self.becomes('compliant')
        self.listen()
        self.hear(STATE, START, END, STATE)
        broker(running=False)
        self.drift()
        runs = self.base / 'state/history.json'
        wait_for(runs.read_text, lambda: len(json.loads(runs.read_text())['runs']) == 2)
        self.becomes('compliant')
        broker()
        heard = self.hear(*2 * (STATE, START, END, STATE))
        self.assertEqual(2 * [STATE, START, END, STATE], [each.event for each in heard])
        ids = {each.metadata['message_id'] for each in heard}
        self.assertEqual(len(heard), len(ids))
        broker(running=False)
        self.drift()
        wait_for(runs.read_text, lambda: len(json.loads(runs.read_text())['runs']) == 3)
        self.assertEqual(0, self.end())
        self.assertIn('notifications were not sent: the agent ends', self.process.said.read_text())
        self.assert_quiet()
