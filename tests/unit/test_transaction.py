"""Steps carried out all or none, journalled, and put right after any interruption."""

import dataclasses
import os
from pathlib import Path
from typing import ClassVar

import fixtures
from oslotest import base

from nested_agent.actions.step import Step
from nested_agent.exceptions import BusyError, StepError
from nested_agent.model import Action, ActionKind, Disruption, State, Trigger
from nested_agent.remediation import undo
from nested_agent.remediation.journal import Header, Journal, Phase
from nested_agent.remediation.transaction import Part, Transaction


class Crash(BaseException):
    """The process is killed."""


@dataclasses.dataclass
class World:
    """What steps change, what they did, and where they are to fail."""

    values: dict[str, int] = dataclasses.field(default_factory=lambda: {'a': 0, 'b': 0, 'c': 0})
    log: list[str] = dataclasses.field(default_factory=list)
    fails: dict[str, BaseException] = dataclasses.field(default_factory=dict)
    kept: list[str] = dataclasses.field(default_factory=list)

    def does(self, what: str) -> None:
        self.log.append(what)
        if what in self.fails:
            raise self.fails[what]

    def alive(self) -> None:
        pass


class Toy(Step):
    """Sets one value to 1."""

    key = ''

    def precheck(self):
        self.site.does(f'precheck {self.key}')

    def record(self):
        self.site.does(f'record {self.key}')
        return {'was': self.site.values[self.key]}

    def apply(self):
        self.site.does(f'apply {self.key}')
        self.site.values[self.key] = 1
        self.site.does(f'applied {self.key}')

    def verify(self):
        self.site.does(f'verify {self.key}')
        return f'{self.key} is 1'

    @classmethod
    def undo(cls, site, record, *, rebooted):
        site.does(f'undo {cls.key}')
        site.values[cls.key] = record['was']
        return f'{cls.key} is {record["was"]}'

    @classmethod
    def forget(cls, site, record):
        site.kept.append(cls.key)


class A(Toy):
    name: ClassVar[str] = 'a'
    key = 'a'


class B(Toy):
    name: ClassVar[str] = 'b'
    key = 'b'


class C(Toy):
    name: ClassVar[str] = 'c'
    key = 'c'


ACTIONS = tuple(
    Action(ActionKind.SET_NOVA_OPTION, key, '0', '1', '', Disruption.NONE) for key in 'abc'
)
HEADER = Header('run', Trigger.COMMAND, '', 1.0, 'boot', {}, State.DRIFTED, ACTIONS)


class TransactionTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(
            fixtures.MonkeyPatch(
                'nested_agent.remediation.undo.STEPS', {each.name: each for each in (A, B, C)}
            )
        )
        self.world = World()

    def parts(self, **flags):
        a, b, c = (kind(self.world, (ACTIONS[n],)) for n, kind in enumerate((A, B, C)))
        self.steps = (a, b, c)
        needs = (b,) if flags.get('needs') else ()
        return [Part(a), Part(b, commits=bool(flags.get('commits'))), Part(c, needs)]

    def run_(self, **flags):
        self.journal = Journal(self.directory)
        self.journal.begin(HEADER)
        transaction = Transaction(
            self.world,
            self.journal,
            ACTIONS,
            lambda: undo.undo(self.world, self.journal, rebooted=False),
        )
        parts = self.parts(**flags)
        for number in flags.get('skip', ()):
            transaction.skip(self.steps[number], 'in use')
        outcomes = transaction.run(parts)
        return [(each.result.value, each.message) for _, each in sorted(outcomes.items())]

    def results(self, **flags):
        return [result for result, _ in self.run_(**flags)]

    def test_all_of_them(self):
        self.assertEqual(
            [('applied', 'a is 1'), ('applied', 'b is 1'), ('applied', 'c is 1')], self.run_()
        )
        self.assertEqual({'a': 1, 'b': 1, 'c': 1}, self.world.values)
        self.assertEqual([True] * 3, [each.done for each in self.journal.record.entries])

    def test_what_is_about_to_change_is_on_the_disk_before(self):
        seen = {}
        does = self.world.does

        def look(what):
            does(what)
            record = Journal(self.directory).read()
            seen[what] = [(each.step, each.done) for each in record.entries]

        self.world.does = look
        self.run_()
        self.assertEqual([('a', False)], seen['apply a'])
        self.assertEqual([('a', True), ('b', False)], seen['apply b'])
        self.assertEqual([('a', True)], seen['record b'])

    def test_a_failure_anywhere_undoes_all_in_reverse(self):
        for stage in ('record', 'apply', 'applied', 'verify'):
            for number, key in enumerate('abc'):
                self.world = World(fails={f'{stage} {key}': StepError('no luck')})
                results = self.results()
                self.assertEqual({'a': 0, 'b': 0, 'c': 0}, self.world.values)
                undone = [each for each in self.world.log if each.startswith('undo')]
                begun = 'abc'[: number + (stage != 'record')]
                self.assertEqual([f'undo {each}' for each in reversed(begun)], undone)
                expected = ['rolled_back'] * number + ['failed'] + ['skipped'] * (2 - number)
                self.assertEqual(expected, results)
                self.assertEqual(Phase.UNDOING, self.journal.record.phase)
                self.assertEqual((), self.journal.record.entries)

    def test_a_failure_says_what_was_wrong_and_what_was_done(self):
        self.world.fails = {'verify b': StepError('b is still 0'), 'apply c': OSError(28, 'full')}
        self.assertEqual(
            [
                ('rolled_back', 'a is 0'),
                ('failed', 'b is still 0; b is 0'),
                ('skipped', 'not reached'),
            ],
            self.run_(),
        )

    def test_what_cannot_be_undone_does_not_keep_the_rest_from_it(self):
        self.world.fails = {'apply c': StepError('c'), 'undo b': StepError('stuck')}
        self.assertEqual(
            [
                ('rolled_back', 'a is 0'),
                ('failed', 'could not be undone: stuck'),
                ('failed', 'c; c is 0'),
            ],
            self.run_(),
        )
        self.assertEqual(['b'], [each.step for each in self.journal.record.entries])

    def test_from_a_commit_on_what_was_done_stays(self):
        self.world.fails = {'apply c': StepError('c')}
        self.assertEqual(['applied', 'applied', 'failed'], self.results(commits=True))
        self.assertEqual({'a': 1, 'b': 1, 'c': 0}, self.world.values)
        undo.keep(self.world, self.journal)
        self.assertEqual(['a', 'b'], self.world.kept)

    def test_what_only_serves_others_is_undone_all_the_same(self):
        patch = 'nested_agent.remediation.transaction.TRANSIENT'
        self.useFixture(fixtures.MonkeyPatch(patch, frozenset({'a'})))
        self.world.fails = {'apply c': StepError('c')}
        self.run_(commits=True)
        self.assertEqual({'a': 0, 'b': 1, 'c': 0}, self.world.values)

    def test_busy_skips_what_needs_it_and_keeps_what_was_done(self):
        for stage in ('record', 'apply'):
            self.world = World(fails={f'{stage} b': BusyError('in use')})
            self.assertEqual(
                [
                    ('applied', 'a is 1'),
                    ('skipped', 'in use'),
                    ('skipped', 'a step before it was not done'),
                ],
                self.run_(needs=True, commits=True),
            )
            self.assertEqual(['a'], [each.step for each in self.journal.record.entries])
            self.assertTrue(self.journal.record.entries[0].kept)

    def test_busy_beforehand(self):
        self.assertEqual(['applied', 'skipped', 'skipped'], self.results(skip=[1], needs=True))
        self.assertNotIn('record b', self.world.log)

    def test_busy_where_nothing_needs_it(self):
        self.world.fails = {'apply b': BusyError('in use')}
        self.assertEqual(['applied', 'skipped', 'applied'], self.results())

    def test_a_journal_that_cannot_be_written_any_more(self):
        for count in range(2, 7):
            self.world = World()
            with fixtures.MonkeyPatch('os.fsync', self.full_after(count)):
                results = self.results()
            self.assertIn('failed', results)
            self.assertEqual({'a': 0, 'b': 0, 'c': 0}, self.world.values, count)

    def full_after(self, count):
        """Return an fsync(2) for so many files, and their directories; then the disk is full."""
        left = 2 * count
        real = os.fsync

        def fsync(descriptor):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, os.strerror(28))
            real(descriptor)

        return fsync

    def test_a_crash_anywhere_can_be_undone_afterwards(self):
        clean = World()
        self.world = clean
        self.run_()
        places = clean.log
        self.assertEqual(15 - 3, len(places))
        for place in places:
            self.world = World(fails={place: Crash()})
            self.assertRaises(Crash, self.run_)
            self.world.fails = {}
            journal = Journal(self.directory)
            self.assertIsNotNone(journal.read())
            found = undo.undo(self.world, journal, rebooted=False)
            self.assertTrue(all(each.good for each in found))
            self.assertEqual({'a': 0, 'b': 0, 'c': 0}, self.world.values, place)

    def test_a_journal_of_steps_that_are_not_known(self):
        self.run_()
        for steps in ({}, {'a': A, 'b': B}):
            self.useFixture(fixtures.MonkeyPatch('nested_agent.remediation.undo.STEPS', steps))
            journal = Journal(self.directory)
            journal.read()
            found = undo.undo(self.world, journal, rebooted=False)
            self.assertFalse(found[0].good)
            self.assertIn('cannot be understood', found[0].message)
