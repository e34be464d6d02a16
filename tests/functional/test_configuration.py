"""The daemon and the command refuse what they cannot use; the sample is as the validator wants."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import fixtures
from oslotest import base

from tests.functional.daemon import COMMANDS, Daemon

SAMPLE = Path(__file__).parents[2] / 'etc' / 'nested-agent' / 'nested-agent.conf.sample'
USAGE = 64


class RefusedTest(base.BaseTestCase):
    """The rest of what is refused is in tests/unit/test_configuration.py."""

    def setUp(self):
        super().setUp()
        self.daemon = self.useFixture(Daemon())

    def refused(self, text, *words):
        self.daemon.log.unlink(missing_ok=True)
        self.daemon.configure(text)
        self.daemon.start()
        self.assertEqual(USAGE, self.daemon.wait())
        said = self.daemon.log.read_text()
        for word in (f'nested-agent: {self.daemon.config}: ', *words):
            self.assertIn(word, said)
        self.assertNotIn('Traceback', said)
        self.assertNotIn('s3cret', said)
        # Before any work.
        self.assertFalse(self.daemon.state_dir.exists())

    def test_an_option_of_ours(self):
        self.refused('[remediation]\nmode = on\n', '[remediation] mode: ')
        done = self.daemon.control('status')
        self.assertEqual(USAGE, done.returncode)
        self.assertIn(f'{self.daemon.config}: [remediation] mode: ', done.stderr)

    def test_the_broker(self):
        for url in ('here', 'rabbit://u:s3cret@h:port/', 'pigeon://u:s3cret@h/'):
            self.refused(f'[DEFAULT]\ntransport_url = {url}\n', '[DEFAULT] transport_url: ')
        rabbit = '[DEFAULT]\ntransport_url = rabbit://u:s3cret@127.0.0.1:1/\n'
        self.refused(
            f'{rabbit}[oslo_messaging_rabbit]\nheartbeat_rate = often\n',
            '[oslo_messaging_rabbit] heartbeat_rate: ',
        )

    def test_the_log(self):
        self.refused('[DEFAULT]\nlog_dir = /nonexistent/log\n', '[DEFAULT] log_dir: ')
        self.refused('[DEFAULT]\ndefault_log_levels = amqp=LOUD\n', '[DEFAULT] default_log_levels')
        # The command line has this one too.
        self.refused('[DEFAULT]\ndebug = perhaps\n', '[DEFAULT] debug: ')

    def test_the_command_line(self):
        done = subprocess.run(
            [COMMANDS / 'nested-agent', '--bogus'], capture_output=True, text=True, check=False
        )
        self.assertEqual(USAGE, done.returncode)
        self.assertIn('--bogus', done.stderr)

    def test_what_is_no_option_is_told_and_passed_over(self):
        self.daemon.configure('[DEFAULT]\ntransport_ulr = rabbit://u:s3cret@h/\n')
        self.daemon.start_and_settle()
        self.daemon.says('[DEFAULT] has no option transport_ulr; transport_url may be meant')
        self.daemon.configure('[polices]\nnested = disabled\n')
        done = self.daemon.control('status')
        self.assertIn('nobody reads group [polices]; policy may be meant', done.stderr)
        self.daemon.signal(signal.SIGHUP)
        self.daemon.says('nobody reads group [polices]')
        self.assertNotIn('s3cret', self.daemon.log.read_text())

    def test_a_reload_survives_a_bad_option_of_the_command_line(self):
        report = self.daemon.start_and_settle()
        self.daemon.configure('[DEFAULT]\ndebug = perhaps\n')
        self.daemon.signal(signal.SIGHUP)
        self.daemon.says('the old configuration stays in force')
        self.daemon.nova_conf.write_text('[libvirt]\ncpu_mode = none\n')
        self.daemon.report_after(report.sequence)


class SampleTest(base.BaseTestCase):
    def validate(self, path):
        names = ('nested_agent', 'oslo.log', 'oslo.messaging', 'oslo.reports')
        return subprocess.run(
            [
                Path(sys.executable).with_name('oslo-config-validator'),
                *(f'--namespace={name}' for name in names),
                f'--input-file={path}',
                '--fatal-warnings',
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
        )

    def test_every_default_can_be_used_as_it_is_shown(self):
        text = SAMPLE.read_text()
        path = Path(self.useFixture(fixtures.TempDir()).path, 'nested-agent.conf')
        lines = [
            line[1:] if line.startswith('#') and not line.startswith('# ') else line
            for line in text.splitlines()
        ]
        # <None> is how the generator says that there is no default.
        path.write_text('\n'.join(line for line in lines if '<None>' not in line))
        self.assertIn('\nmode = noop\n', path.read_text())
        for each in (SAMPLE, path):
            done = self.validate(each)
            self.assertEqual(0, done.returncode, done.stderr + done.stdout)
        done = subprocess.run(
            [COMMANDS / 'nested-agentctl', f'--config-file={path}', 'check'],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertIn(done.returncode, range(5), done.stderr)
        self.assertEqual('', done.stderr)

    def test_the_validator_finds_what_is_no_option(self):
        path = Path(self.useFixture(fixtures.TempDir()).path, 'nested-agent.conf')
        path.write_text('[remediation]\nmodus = enforce\n')
        self.assertNotEqual(0, self.validate(path).returncode)
