"""The unit and its drop-in, as systemd's own tools judge them; how they work: tests/node."""

import configparser
import re
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import Any

import fixtures
from oslo_config import cfg
from oslotest import base

# isort: split
from nested_agent import service
from nested_agent.cmd import agent as command
from nested_agent.cmd import exit_codes
from nested_agent.collector import service as collector_service
from nested_agent.conf import agent, collector, load, metrics, remediation
from nested_agent.rpc import api

SYSTEMD = Path(__file__).parents[2] / 'etc' / 'systemd'
UNIT = 'nested-agent.service'
COLLECTOR = 'nested-collector.service'
# What "systemd-analyze security" comes to, in tenths.
ENFORCING = 30
REPORT_ONLY = 18
COLLECTING = 12


class Unit(configparser.RawConfigParser):
    """A unit file: a setting given more than once is a list, as systemd has it."""

    class _Several(dict[str, Any]):
        def __setitem__(self, key, value):
            if isinstance(value, list) and key in self and isinstance(self[key], list):
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    def __init__(self, path):
        super().__init__(strict=False, dict_type=self._Several, interpolation=None)
        self.optionxform = str
        self.read(path)

    def words(self, name):
        return self['Service'][name].split()


def default(options, name):
    return next(option.default for option in options if option.name == name)


def default_help(options, name):
    return next(option.help for option in options if option.name == name)


def seconds(text):
    number, unit = re.fullmatch(r'(\d+)(min|h|)', text).groups()
    return int(number) * {'': 1, 'min': 60, 'h': 3600}[unit]


class UnitFileTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.unit = Unit(SYSTEMD / UNIT)
        self.service = self.unit['Service']

    def test_its_times_fit_the_daemon_s(self):
        nova = default(remediation.OPTS, 'nova_timeout')
        stop = service.STOP_SECONDS + 5 * nova + service.TRANSACTION_SECONDS
        self.assertGreater(seconds(self.service['TimeoutStopSec']), stop)
        self.assertGreater(
            seconds(self.service['TimeoutStartSec']), seconds(self.service['TimeoutStopSec'])
        )
        self.assertGreaterEqual(seconds(self.service['WatchdogSec']) / service.BEATS, 10)

    def test_its_directories_are_the_options_defaults(self):
        name = self.service['StateDirectory']
        self.assertEqual(default(agent.OPTS, 'state_dir'), f'/var/lib/{name}')
        name = self.service['RuntimeDirectory']
        self.assertEqual(default(agent.OPTS, 'run_dir'), f'/run/{name}')

    def test_what_a_person_has_to_mend_is_not_tried_again(self):
        self.assertEqual(str(exit_codes.USAGE), self.service['RestartPreventExitStatus'])

    def test_what_it_waits_for_is_not_stopped_with_it(self):
        self.assertEqual('mixed', self.service['KillMode'])

    def test_metrics_can_be_written_where_debian_s_node_exporter_looks(self):
        path = '-/var/lib/prometheus/node-exporter'
        self.assertIn(path.removeprefix('-'), default_help(metrics.OPTS, 'textfile_directory'))
        self.assertIn(path, self.unit.words('ReadWritePaths'))
        self.assertEqual([path], Unit(SYSTEMD / 'report-only.conf').words('ReadWritePaths'))

    def test_report_only_takes_no_broker_whatever_is_configured(self):
        file = Path(self.useFixture(fixtures.TempDir()).path) / 'nested-agent.conf'
        file.write_text(
            '[DEFAULT]\ntransport_url = rabbit://controller/\n'
            '[oslo_messaging_notifications]\ndriver = messagingv2\n'
        )
        for word in Unit(SYSTEMD / 'report-only.conf').words('Environment'):
            self.useFixture(fixtures.EnvironmentVariable(*word.split('=', 1)))
        conf = cfg.ConfigOpts()
        load.load(conf, [str(file)])
        self.assertFalse(api.configured(conf))
        self.assertIsNone(command.notifier(conf))

    def test_no_capability_without_a_reason(self):
        wanted = {'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SYS_MODULE', 'SYS_PTRACE'}
        found = set(self.unit.words('CapabilityBoundingSet'))
        self.assertEqual({f'CAP_{name}' for name in wanted}, found)


@unittest.skipIf(shutil.which('systemd-analyze') is None, 'there is no systemd')
class AnalyzeCase(base.BaseTestCase):
    """:cvar unit: the agent's, or another"""

    unit = UNIT

    def setUp(self):
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)
        system = self.root / 'etc' / 'systemd' / 'system'
        self.drop_ins = system / f'{self.unit}.d'
        self.drop_ins.mkdir(parents=True)
        shutil.copy(SYSTEMD / self.unit, system)
        command = self.root / 'usr' / 'bin' / self.unit.removesuffix('.service')
        command.parent.mkdir(parents=True)
        command.touch(mode=0o755)
        (self.root / 'bin').symlink_to('usr/bin')
        (self.root / 'usr' / 'bin' / 'kill').touch(mode=0o755)

    def analyze(self, *arguments):
        command = ['systemd-analyze', f'--root={self.root}', '--no-pager', *arguments, self.unit]
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def exposed(self, limit):
        done = self.analyze('security', '--offline=yes', f'--threshold={limit}')
        self.assertEqual(0, done.returncode, done.stdout)

    def problems(self):
        """Return what was told of a line; the tree has no other units to go with this one."""
        return [
            line
            for line in self.analyze('verify', '--man=no').stdout.splitlines()
            if re.search(r':\d+: ', line)
        ]


class AnalyzeTest(AnalyzeCase):
    def test_nothing_in_it_is_unknown_or_passed_over(self):
        self.assertEqual([], self.problems())
        shutil.copy(SYSTEMD / 'report-only.conf', self.drop_ins)
        self.assertEqual([], self.problems())
        (self.drop_ins / 'wrong.conf').write_text('[Service]\nProtectHomes=yes\n')
        self.assertEqual(1, len(self.problems()))

    def test_what_it_exposes(self):
        self.exposed(ENFORCING)
        shutil.copy(SYSTEMD / 'report-only.conf', self.drop_ins)
        self.exposed(REPORT_ONLY)

    def test_the_threshold_can_fail(self):
        done = self.analyze('security', '--offline=yes', f'--threshold={ENFORCING - 1}')
        self.assertNotEqual(0, done.returncode)


class AnalyzeCollectorTest(AnalyzeCase):
    unit = COLLECTOR

    def test_nothing_in_it_is_unknown_or_passed_over(self):
        self.assertEqual([], self.problems())

    def test_what_it_exposes(self):
        self.exposed(COLLECTING)

    def test_it_fits_the_daemon(self):
        unit = Unit(SYSTEMD / COLLECTOR)['Service']
        # It takes leave of the broker twice, and waits for its beginning and for what is written.
        self.assertGreater(seconds(unit['TimeoutStopSec']), 4 * collector_service.STOP_SECONDS)
        self.assertEqual(str(exit_codes.USAGE), unit['RestartPreventExitStatus'])
        self.assertIn(f'/var/lib/{unit["StateDirectory"]}/', collector.DATABASE)
        self.assertEqual('0077', unit['UMask'])
