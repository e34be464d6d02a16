"""The write-ahead journal and the lock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fixtures
from oslotest import base

from nested_agent.exceptions import RecordError, RemediationError
from nested_agent.model import Action, ActionKind, Disruption, State, Trigger
from nested_agent.remediation.journal import Entry, Header, Journal, Phase
from nested_agent.remediation.lock import Lock

ACTION = Action(ActionKind.RELOAD_MODULE, 'kvm_amd', '0', '1', 'why', Disruption.KVM_RELOAD)
HEADER = Header(
    '20261123T000000Z-abcd',
    Trigger.AUTONOMOUS,
    '',
    1.5,
    'boot',
    {'NestedRuntime': 'False/Disabled'},
    State.DRIFTED,
    (ACTION,),
)
FIRST = Entry('write-modprobe-dropin', {'path': '/etc/x', 'old': None}, (0,))
SECOND = Entry('reload-module', {'parameters': {'nested': '0'}}, ())


class JournalTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path)
        self.journal = Journal(self.directory)

    def again(self):
        return Journal(self.directory).read()

    def test_what_is_written_is_what_is_read(self):
        self.assertIsNone(self.journal.read())
        self.journal.begin(HEADER)
        self.assertEqual(HEADER, self.again().header)
        self.journal.add(FIRST)
        self.assertEqual((FIRST,), self.again().entries)
        self.journal.done(last=False)
        self.assertEqual(Phase.APPLYING, self.again().phase)
        self.journal.add(SECOND)
        self.assertEqual([True, False], [each.done for each in self.again().entries])
        self.journal.keep(frozenset({FIRST.step, SECOND.step}))
        self.assertEqual([True, False], [each.kept for each in self.again().entries])
        self.journal.withdraw()
        self.assertEqual([FIRST.step], [each.step for each in self.again().entries])
        self.journal.enter(Phase.UNDOING)
        self.journal.recovering(5.0)
        self.journal.failed('stuck')
        again = self.again()
        self.assertEqual((Phase.UNDOING, 1, 5.0), (again.phase, again.recoveries, again.tried))
        self.assertEqual('stuck', again.problem)
        self.journal.undone(self.journal.record.entries[0])
        self.assertEqual((), self.again().entries)
        self.journal.end()
        self.assertIsNone(self.again())
        self.assertEqual([], os.listdir(self.directory))

    def test_the_last_step_ends_what_can_be_undone(self):
        self.journal.begin(HEADER)
        self.journal.add(FIRST)
        self.journal.done(last=True)
        self.assertEqual(Phase.KEEPING, self.again().phase)

    def test_what_is_damaged_is_said_with_its_name(self):
        self.journal.begin(HEADER)
        good = self.journal.path.read_text()
        damaged = [good[:50], '[]', '{}', '7', good.replace('"version": 1', '"version": 2')]
        damaged += [good.replace('applying', 'dancing'), good.replace('"entries": []', '"e": 1')]
        for text in damaged:
            self.journal.path.write_text(text)
            self.assertRaisesRegex(RecordError, str(self.journal.path), self.again)

    def test_a_full_disk_leaves_the_old_one(self):
        self.journal.begin(HEADER)
        self.useFixture(fixtures.MonkeyPatch('os.fsync', self.no_space))
        self.assertRaisesRegex(RecordError, 'No space', self.journal.add, FIRST)
        self.assertEqual((), self.journal.record.entries)
        self.assertEqual((), self.again().entries)
        self.assertEqual([self.journal.path.name], os.listdir(self.directory))

    def no_space(self, descriptor):
        raise OSError(28, os.strerror(28))

    def test_it_is_one_line_of_json(self):
        self.journal.begin(HEADER)
        self.assertEqual(1, json.loads(self.journal.path.read_text())['version'])


class LockTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path) / 'run'

    def another(self):
        """Start a process that holds the lock until its input ends."""
        program = (
            'import sys; from pathlib import Path; from nested_agent.remediation.lock import Lock\n'
            'with Lock(Path(sys.argv[1])).held(): print("held", flush=True); sys.stdin.read()'
        )
        process = subprocess.Popen(
            [sys.executable, '-c', program, self.directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        self.assertEqual(b'held\n', process.stdout.readline())
        return process

    def test_one_at_a_time_across_processes(self):
        self.useFixture(fixtures.MonkeyPatch('nested_agent.remediation.lock.PATIENCE', 0.1))
        lock = Lock(self.directory)
        self.assertFalse(lock.anothers())
        process = self.another()
        self.assertTrue(lock.anothers())
        with self.assertRaisesRegex(RemediationError, 'another remediation'), lock.held():
            pass
        process.kill()
        process.communicate()
        self.assertFalse(lock.anothers())
        with lock.held():
            self.assertTrue(lock.mine)
            self.assertFalse(lock.anothers())
        self.assertFalse(lock.mine)

    def test_a_directory_that_cannot_be_made(self):
        self.directory.write_text('')
        with self.assertRaisesRegex(RemediationError, str(self.directory)):
            Lock(self.directory).held().__enter__()
