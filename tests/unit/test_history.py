"""What follows from the history, and the files it is kept in."""

import dataclasses
import json
from pathlib import Path

import fixtures
from oslotest import base

from nested_agent.exceptions import RecordError
from nested_agent.model import (
    Action,
    ActionKind,
    Disruption,
    Outcome,
    Pause,
    Result,
    Run,
    State,
    Trigger,
)
from nested_agent.remediation import history
from nested_agent.remediation.history import Control, History
from nested_agent.remediation.options import Options
from nested_agent.remediation.status import status

NOW = 1_700_000_000.0
OPTIONS = Options(attempts=3, backoff=60.0, backoff_limit=200.0)


def action(after='kvm', kind=ActionKind.SET_NOVA_OPTION):
    return Action(kind, '/etc/nova/nova.conf libvirt.virt_type', None, after, '', Disruption.NONE)


def run(number, result, ended=NOW, actions=()):
    return Run(
        f'run-{number}',
        Trigger.AUTONOMOUS,
        '',
        ended - 1,
        ended,
        'boot',
        result,
        f'message {number}',
        tuple(Outcome(each, result, 'told') for each in actions),
        {'GuestCPU': 'False/ModeNone'},
        {'GuestCPU': 'True/HostPassthrough'},
        State.DRIFTED,
        State.COMPLIANT,
    )


class HistoryTestCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path)
        self.history = History(self.directory)

    def status(self, now=NOW, interrupted=None, **changes):
        options = dataclasses.replace(OPTIONS, **changes)
        return status(self.history, options, now, interrupted)

    def add(self, *results, ended=NOW):
        for result in results:
            self.history.add(run(len(self.history.runs()), result, ended))


class HistoryTest(HistoryTestCase):
    def test_it_is_kept_the_last_first(self):
        self.assertEqual((), self.history.runs())
        runs = [run(0, Result.APPLIED, actions=[action()]), run(1, Result.FAILED)]
        for each in runs:
            self.history.add(each)
            self.history.add(each)
        self.assertEqual(tuple(runs[::-1]), self.history.runs())
        self.assertEqual(tuple(runs[::-1]), History(self.directory).runs())

    def test_it_is_bounded(self):
        self.history.add(run(0, Result.APPLIED))
        data = json.loads(self.history.path.read_text())
        many = [{**data['runs'][0], 'id': f'{number}'} for number in range(history.LIMIT)]
        self.history.path.write_text(json.dumps({'runs': many}))
        self.history.add(run('last', Result.APPLIED))
        self.assertEqual(history.LIMIT, len(self.history.runs()))
        self.assertEqual('run-last', self.history.runs()[0].id)

    def test_what_was_only_shown_is_forgotten_first(self):
        self.add(Result.FAILED)
        data = json.loads(self.history.path.read_text())
        shown = [
            {**data['runs'][0], 'id': f'{number}', 'result': 'noop'}
            for number in range(history.LIMIT - 1)
        ]
        self.history.path.write_text(json.dumps({'runs': shown + data['runs']}))
        for number in range(3):
            self.history.add(run(f'new-{number}', Result.NOOP))
        ids = [each.id for each in self.history.runs()]
        self.assertEqual(history.LIMIT, len(ids))
        self.assertEqual(('run-new-2', 'run-0'), (ids[0], ids[-1]))

    def test_what_was_forgiven_stays_so(self):
        self.add(Result.FAILED, Result.FAILED, Result.FAILED, Result.SKIPPED)
        self.assertIsNotNone(self.status().gave_up)
        self.history.set_control(lambda before: Control(None, self.history.runs()[0].id))
        data = json.loads(self.history.path.read_text())
        more = [{**data['runs'][0], 'id': f'{number}'} for number in range(history.LIMIT - 5)]
        self.history.path.write_text(json.dumps({'runs': more + data['runs']}))
        for number in range(3):
            self.history.add(run(f'new-{number}', Result.SKIPPED))
            self.assertIsNone(self.status().gave_up)
        self.assertEqual(history.LIMIT, len(self.history.runs()))

    def test_what_is_damaged_is_said_and_not_overwritten(self):
        for text in ('', '{', '[]', '{"runs": [{}]}', '{"runs": 5}', '[1]', '{"runs": ["x"]}'):
            self.history.path.write_text(text)
            self.assertRaisesRegex(RecordError, str(self.history.path), self.history.runs)
            self.assertRaises(RecordError, self.history.add, run(1, Result.APPLIED))
            self.assertEqual(text, self.history.path.read_text())

    def test_it_does_not_follow_what_is_no_file(self):
        self.history.path.mkdir()
        self.assertRaisesRegex(RecordError, str(self.history.path), self.history.runs)


class StatusTest(HistoryTestCase):
    def test_nothing_happened_yet(self):
        found = self.status()
        self.assertEqual('noop', found.mode)
        self.assertEqual(
            (None, 0, None, None, (), None, None, None), dataclasses.astuple(found)[1:]
        )

    def test_a_pause_ends_by_itself(self):
        self.history.set_control(lambda before: Control(Pause(NOW, NOW + 60, 'maintenance', 'me')))
        self.assertEqual('maintenance', self.status(NOW + 59).pause.reason)
        self.assertIsNone(self.status(NOW + 60).pause)

    def test_a_pause_for_ever(self):
        self.history.set_control(lambda before: Control(Pause(NOW, None, 'maintenance', 'me')))
        self.assertEqual('me', self.status(NOW + 1e9).pause.who)

    def test_what_cannot_be_read_stands_in_the_way(self):
        self.history.control_path.write_text('{')
        self.assertIn(str(self.history.control_path), self.status().pause.reason)
        self.history.path.write_text('{')
        self.assertIn(str(self.history.path), self.status().gave_up)

    def test_each_failure_doubles_the_wait_up_to_a_limit(self):
        for count, delay in ((1, 60), (2, 120), (3, 200), (4, 200)):
            self.add(Result.ROLLED_BACK)
            found = self.status(attempts=100)
            self.assertEqual((count, NOW + delay), (found.failures, found.next_attempt))
            self.assertIsNone(found.gave_up)

    def test_the_wait_is_no_longer_when_the_clock_was_set_back(self):
        self.add(Result.FAILED)
        self.assertEqual(NOW - 1e6 + 60, self.status(NOW - 1e6).next_attempt)

    def test_after_so_many_failures_it_gives_up(self):
        self.add(Result.FAILED, Result.ROLLED_BACK)
        self.assertIsNone(self.status().gave_up)
        self.add(Result.FAILED)
        self.assertEqual('3 attempts in a row failed, the last: message 2', self.status().gave_up)

    def test_a_success_begins_the_count_anew_a_skip_does_not(self):
        self.add(Result.FAILED, Result.FAILED, Result.SKIPPED, Result.NOOP)
        self.assertEqual(2, self.status().failures)
        self.add(Result.APPLIED)
        self.assertEqual(0, self.status().failures)
        self.assertIsNone(self.status().next_attempt)

    def test_a_recovery_of_what_failed_already_is_no_other_failure(self):
        self.add(Result.FAILED)
        for about, count in (('run-0', 1), ('an interrupted one', 2)):
            recovery = run(about, Result.ROLLED_BACK)
            recovery = dataclasses.replace(recovery, trigger=Trigger.RECOVERY, about=about)
            self.history.add(recovery)
            self.assertEqual(count, self.status().failures)

    def test_a_revert_is_no_attempt(self):
        self.history.add(dataclasses.replace(run(0, Result.FAILED), trigger=Trigger.REVERT))
        self.assertEqual(0, self.status().failures)

    def test_resume_forgives(self):
        self.add(Result.FAILED, Result.FAILED, Result.FAILED)
        self.history.set_control(lambda before: Control(None, 'run-2'))
        self.assertEqual((0, None), (self.status().failures, self.status().gave_up))
        self.add(Result.FAILED)
        self.assertEqual(1, self.status().failures)

    def test_the_last_run_is_none_that_only_showed(self):
        self.add(Result.APPLIED, Result.NOOP)
        self.assertEqual('run-0', self.status().last_run.id)


class ContestTest(HistoryTestCase):
    def fix(self, number, ended, **changes):
        self.history.add(run(number, Result.APPLIED, ended, [action(**changes)]))

    def test_the_same_fix_again_and_again(self):
        for number in range(2):
            self.fix(number, NOW - 100 + number)
        self.assertEqual((), self.status().contests)
        self.fix(3, NOW)
        (found,) = self.status().contests
        self.assertEqual((3, NOW - 100), (found.times, found.since))
        self.assertTrue(found.about(action()))
        self.assertFalse(found.about(action(after='qemu')))

    def test_long_ago_does_not_count(self):
        for number in range(3):
            self.fix(number, NOW)
        self.assertEqual(1, len(self.status(NOW + 86400).contests))
        self.assertEqual((), self.status(NOW + 86401).contests)

    def test_what_a_wrong_clock_wrote_does_not_count(self):
        for number in range(3):
            self.fix(number, NOW + 1e7)
        self.assertEqual((), self.status().contests)

    def test_another_value_is_another_fix(self):
        for number, value in enumerate(('kvm', 'qemu', 'kvm')):
            self.fix(number, NOW, after=value)
        self.assertEqual((), self.status().contests)

    def test_a_restart_is_no_contest(self):
        for number in range(5):
            self.fix(number, NOW, kind=ActionKind.RESTART_NOVA_COMPUTE)
        self.assertEqual((), self.status().contests)

    def test_resume_forgives(self):
        for number in range(3):
            self.fix(number, NOW)
        self.history.set_control(lambda before: Control(None, 'run-2'))
        self.assertEqual((), self.status().contests)
