"""``nested-agentctl status`` of this node, and what the RPC commands refuse before they ask."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

from nested_agent.model import Condition, ConditionType, Report, State, Status
from nested_agent.reporting import state_file
from tests.unit.test_check import CommandTestCase

BOOT_ID = Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def report(state=State.COMPLIANT, **changes):
    condition = Condition(ConditionType.CPU_SUPPORTED, Status.TRUE, 'Supported', 'It is.')
    made = Report(
        'node1', time.time(), BOOT_ID, 'amd', {'nested': 'enabled'}, state, (condition,), (), {}
    )
    return dataclasses.replace(made, **changes)


class StatusTest(CommandTestCase):
    def status(self, *arguments):
        conf = f'[agent]\nstate_dir = {self.base}\n'
        return self.run_main('status', *arguments, conf=conf)

    def stored(self, *arguments, **changes):
        state_file.write(self.base, state_file.Stored(report(**changes), 60.0, *arguments))

    def test_the_table(self):
        self.stored()
        code, out, err = self.status()
        self.assertEqual((0, ''), (code, err))
        self.assertTrue(out.startswith('node1: COMPLIANT  (policy: nested enabled; driver: amd'))
        self.assertNotIn('STALE', out)

    def test_the_exit_code_is_the_state(self):
        for state, code in zip(State, (0, 1, 1, 2, 3, 4), strict=True):
            self.stored(state=state)
            self.assertEqual((code, f'{state}\n', ''), self.status('-f', 'value', '-c', 'state'))

    def test_a_stale_report_says_why_everywhere(self):
        for arguments, changes, why in (
            ((), {'time': time.time() - 181}, 'it is 181 s old'),
            ((), {'boot_id': 'another'}, 'the node was rebooted since'),
            ((False,), {}, 'the agent was stopped'),
        ):
            self.stored(*arguments, **changes)
            code, out, err = self.status()
            self.assertEqual(4, code)
            self.assertIn(f'STALE: {why}', out.splitlines()[0])
            self.assertIn(f'the report is stale: {why}', err)
            data = json.loads(self.status('-f', 'json')[1])
            self.assertEqual('compliant', data['state'])
            self.assertIn(why, data['stale'])

    def test_json_is_the_report_and_stale(self):
        self.stored()
        data = json.loads(self.status('-f', 'json')[1])
        self.assertIsNone(data.pop('stale'))
        self.assertEqual('node1', Report.from_dict(data).host)

    def test_no_report_yet(self):
        code, out, err = self.status()
        self.assertEqual((4, ''), (code, out))
        self.assertIn('no report yet: is nested-agent running?', err)

    def test_a_damaged_report_names_the_file(self):
        (self.base / 'report.json').write_text('{')
        code, out, err = self.status()
        self.assertEqual((4, ''), (code, out))
        self.assertIn(str(self.base / 'report.json'), err)

    def test_an_unknown_column(self):
        self.stored()
        code, _, err = self.status('-c', 'sate')
        self.assertEqual(64, code)
        self.assertIn('stale', err)


class RefusalTest(CommandTestCase):
    def test_without_transport_url_nobody_can_be_asked(self):
        for command in ('status', 'verify', 'ping'):
            code, out, err = self.run_main(command, 'node1')
            self.assertEqual((64, ''), (code, out))
            self.assertIn('set transport_url in [DEFAULT]', err)

    def test_an_empty_transport_url_is_none(self):
        code, _, err = self.run_main('ping', 'node1', conf='[DEFAULT]\ntransport_url =\n')
        self.assertEqual(64, code)
        self.assertIn('set transport_url', err)

    def test_a_transport_url_is_never_shown(self):
        for url in (
            'rabbit://agent:s3cret#x@broker/',
            's3cret',
            'rabbit://agent:s3cret@broker:port/',
            'nosuch://agent:s3cret@broker:5672/',
            'rabbit://agent:s3cret@broker:5672/?rabbit_interval_max=s3cret',
        ):
            conf = f'[DEFAULT]\ntransport_url = {url}\n'
            code, out, err = self.run_main('ping', 'node1', conf=conf)
            self.assertEqual((64, ''), (code, out), err)
            self.assertIn('transport_url', err)
            self.assertNotIn('s3cret', err)

    def test_bad_arguments(self):
        for arguments in (['ping'], ['ping', 'a b'], ['ping', 'x' * 300], ['ping', '']):
            self.assertEqual(64, self.run_main(*arguments)[0])
        for timeout in ('0', '-1', 'nan', 'inf', 'soon'):
            self.assertEqual(64, self.run_main('status', 'node1', '--timeout', timeout)[0])

    def test_what_needs_no_broker_does_not_import_one(self):
        """It would double the time a command takes."""
        commands = 'check, history, pause, ping, plan, remediate, resume, revert, status, verify'
        loaded = self.loaded('oslo_messaging', 'kombu', 'oslo_service', also=commands)
        self.assertEqual([], loaded)

    def test_a_command_is_imported_when_it_is_wanted(self):
        names = [f'nested_agent.cmd.{name}' for name in ('status', 'check', 'prove', 'remediate')]
        self.assertEqual(names[:1], self.loaded(*names))

    def loaded(self, *names, also='agentctl'):
        """Return which of these modules "status" has loaded."""
        (self.base / 'nested-agent.conf').write_text(f'[agent]\nstate_dir = {self.base}\n')
        script = (
            'import sys\n'
            f'from nested_agent.cmd import agentctl, {also}\n'
            f'agentctl.main(["--config-file={self.base}/nested-agent.conf", "status"])\n'
            f'print(*(name for name in {names} if name in sys.modules))\n'
        )
        done = subprocess.run(
            [sys.executable, '-c', script], capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout.split()
