"""The unit and its drop-in, as systemd's own tools judge them; how they work: tests/node."""

import configparser
import re
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import Any

import fixtures
from oslotest import base

from nested_agent import bootstrap  # noqa: F401  # before oslo.service

# isort: split
from nested_agent import service
from nested_agent.cmd import exit_codes
from nested_agent.conf import agent, remediation

SYSTEMD = Path(__file__).parents[2] / 'etc' / 'systemd'
UNIT = 'nested-agent.service'
# What "systemd-analyze security" comes to, in tenths.
ENFORCING = 30
REPORT_ONLY = 18


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

    def test_no_capability_without_a_reason(self):
        wanted = {'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SYS_MODULE', 'SYS_PTRACE'}
        found = set(self.unit.words('CapabilityBoundingSet'))
        self.assertEqual({f'CAP_{name}' for name in wanted}, found)


@unittest.skipIf(shutil.which('systemd-analyze') is None, 'there is no systemd')
class AnalyzeTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)
        system = self.root / 'etc' / 'systemd' / 'system'
        self.drop_ins = system / f'{UNIT}.d'
        self.drop_ins.mkdir(parents=True)
        shutil.copy(SYSTEMD / UNIT, system)
        command = self.root / 'usr' / 'bin' / 'nested-agent'
        command.parent.mkdir(parents=True)
        command.touch(mode=0o755)
        (self.root / 'bin').symlink_to('usr/bin')
        (self.root / 'usr' / 'bin' / 'kill').touch(mode=0o755)

    def analyze(self, *arguments):
        command = ['systemd-analyze', f'--root={self.root}', '--no-pager', *arguments, UNIT]
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
