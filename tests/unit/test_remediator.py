"""Whole runs on a simulated node: fixed, busy, failed, interrupted, reverted."""

import dataclasses
import json
import os
from pathlib import Path

import fixtures
from oslotest import base

from nested_agent import durable
from nested_agent.exceptions import RecordError, RemediationError
from nested_agent.model import ActionKind, ConditionType, Result, State, Status, Trigger
from nested_agent.policy import FixCPUMode, Nested, Policy
from nested_agent.remediation.options import Mode, Options
from nested_agent.remediation.remediator import Remediator
from nested_agent.remediation.schedule import Schedule
from nested_agent.verify.persistent import DROPIN
from tests.unit.simulated import SimulatedNode

CONF = '/etc/nova/nova.conf'
COMPUTE = '/etc/nova/nova-compute.conf'
KVM_CONF = '/etc/modprobe.d/kvm.conf'
NOVA = '[DEFAULT]\n# a comment\n[libvirt]\ncpu_mode = custom\ncpu_models = EPYC\nrx = 1\n'
WRONG = {KVM_CONF: 'options kvm_amd nested=0\n', CONF: NOVA}
RIGHT = {KVM_CONF: 'options kvm_amd nested=1\n', CONF: '[libvirt]\ncpu_model_extra_flags = svm\n'}
TWO_FILES = {
    KVM_CONF: 'options kvm_amd nested=1\n',
    CONF: '[libvirt]\ncpu_models = EPYC\n',
    COMPUTE: '[libvirt]\ncpu_mode = custom\nvirt_type=kvm\n',
}
OPTIONS = Options(mode=Mode.ENFORCE, splay=0.0)
DISABLED = Policy(nested=Nested.DISABLED)


class Crash(BaseException):
    """The process is killed."""


class SimulatedRemediator(Remediator):
    """One whose waiting goes by the node's clock."""

    node: SimulatedNode

    def _site(self):
        node = self.node
        return dataclasses.replace(super()._site(), sleep=node.sleep, clock=lambda: node.now)


class RemediatorTestCase(base.BaseTestCase):
    policy = Policy()
    options = OPTIONS
    onlooker = None

    def setUp(self):
        super().setUp()
        # Thousands of small files, each synced: in memory, where there is such a place.
        if os.access('/dev/shm', os.W_OK):
            self.useFixture(fixtures.MonkeyPatch('tempfile.tempdir', '/dev/shm'))

    def have(self, files=WRONG, **changes):
        """Have a node, and something that remediates it."""
        self.node = SimulatedNode(self, files=dict(files), **changes)
        self.directory = self.node.state_dir
        self.remediator = self.another()
        return self.node

    def another(self):
        """Return a remediator as another process would have it."""
        made = SimulatedRemediator(
            self.node.root,
            self.node.state_dir,
            lambda: self.options,
            lambda status: self.node.look(self.policy, remediation=status),
            alive=self.node.alive,
            onlooker=self.onlooker,
        )
        made.node = self.node
        return made

    def fix(self, **arguments):
        return self.remediator.remediate(Trigger.COMMAND, 'me', **arguments)

    def look(self):
        return self.node.look(self.policy, remediation=self.remediator.status()).report

    def condition(self, type_=ConditionType.REMEDIABLE):
        return next(each for each in self.look().conditions if each.type is type_)

    def results(self, run):
        return [(each.action.kind.value, each.result.value) for each in run.outcomes]

    def files(self):
        return {name: self.node.read(name) for name in (DROPIN, KVM_CONF, CONF, COMPUTE)}

    def assert_as_before(self, before):
        """Assert that nothing of a run is left, and that guests and nova-compute can work."""
        self.assertEqual(before, self.files())
        self.assert_works()

    def assert_works(self):
        self.assertIsNotNone(self.node.parameter('nested'))
        self.assertEqual('active', self.node.systemd.active)
        self.assertFalse((self.directory / 'journal.json').exists())
        leftovers = [
            str(path)
            for path in Path(self.node.root.base, 'etc').rglob('*')
            if '.nested-agent' in str(path) and path.name != '.nested-agent'
        ]
        self.assertEqual([], leftovers)

    def interrupt(self, place, run=None):
        """Run until the ``place``-th thing happens; returns whether it came to that."""
        count = 0

        def happens(*_):
            nonlocal count
            count += 1
            if count == place:
                raise Crash

        real = durable.write_json

        def write(path, data):
            happens()
            real(path, data)
            happens()

        self.node.before = happens
        with fixtures.MonkeyPatch('nested_agent.durable.write_json', write):
            try:
                (run or self.fix)()
            except Crash:
                return True
            finally:
                self.node.before = lambda _: None
        return False


class EnablingTest(RemediatorTestCase):
    def test_all_of_it_with_one_restart(self):
        node = self.have()
        self.assertEqual(State.DRIFTED, self.look().state)
        run = self.fix()
        self.assertEqual(
            [
                ('write-modprobe-dropin', 'applied'),
                ('reload-module', 'applied'),
                ('set-nova-option', 'applied'),
                ('remove-nova-option', 'applied'),
                ('restart-nova-compute', 'applied'),
            ],
            self.results(run),
        )
        self.assertEqual((Result.APPLIED, State.COMPLIANT), (run.result, run.state_after))
        self.assertEqual('True/Enabled', run.after['NestedRuntime'])
        self.assertEqual('False/Disabled', run.before['NestedRuntime'])
        self.assertEqual((1, 1), (node.systemd.stops, len(node.starts)))
        self.assertEqual(
            NOVA.replace('custom', 'host-passthrough').replace('cpu_models = EPYC\n', ''),
            node.read(CONF),
        )
        self.assertEqual(State.COMPLIANT, self.look().state)
        self.assert_works()
        self.assertEqual((run,), self.remediator.history())
        again = self.fix()
        self.assertEqual((Result.NOOP, ()), (again.result, again.outcomes))
        self.assertEqual(1, len(node.starts))

    def test_nova_is_not_touched_where_only_the_drop_in_is_missing(self):
        node = self.have({KVM_CONF: WRONG[KVM_CONF]}, options='nested=1')
        run = self.fix()
        self.assertEqual([('write-modprobe-dropin', 'applied')], self.results(run))
        self.assertEqual((0, 0, []), (node.systemd.stops, len(node.starts), node.loads))

    def test_a_module_that_is_not_loaded(self):
        node = self.have({KVM_CONF: WRONG[KVM_CONF]}, loaded=False)
        self.assertEqual(
            [('write-modprobe-dropin', 'applied'), ('load-module', 'applied')],
            self.results(self.fix()),
        )
        self.assertEqual('1', node.parameter('nested'))
        self.assertEqual(0, node.systemd.stops)

    def test_a_nova_that_does_not_run_is_not_started(self):
        node = self.have(nova=False)
        run = self.fix()
        self.assertNotIn('restart-nova-compute', dict(self.results(run)))
        self.assertEqual([], node.starts)
        self.assertIn('host-passthrough', node.read(CONF))

    def test_on_intel(self):
        node = self.have({KVM_CONF: 'options kvm_intel nested=0\n', CONF: NOVA}, intel=True)
        self.assertEqual(State.COMPLIANT, self.fix().state_after)
        self.assertEqual('Y', node.parameter('nested'))

    def test_only_shown(self):
        node = self.have()
        before = self.files()
        run = self.fix(noop=True)
        self.assertEqual(
            (Result.NOOP, {'noop'}), (run.result, set(dict(self.results(run)).values()))
        )
        self.assert_as_before(before)
        self.assertEqual((0, []), (node.systemd.stops, node.loads))

    def test_only_shown_what_would_be_refused(self):
        self.have()
        self.node.systemd.properties['LoadState'] = 'not-found'
        run = self.fix(noop=True)
        self.assertEqual(Result.NOOP, run.result)
        self.assertIn('would be refused: ', run.message)
        self.assertEqual(0, self.remediator.status().failures)


class DisablingTest(RemediatorTestCase):
    policy = DISABLED

    def test_the_reverse(self):
        node = self.have(RIGHT)
        run = self.fix()
        self.assertEqual(State.COMPLIANT, run.state_after, run.message)
        self.assertEqual('0', node.parameter('nested'))
        self.assertEqual((1, 1), (node.systemd.stops, len(node.starts)))
        self.assertNotIn('svm', node.read(CONF))
        self.assertIn('nested=0', node.read(DROPIN))

    def test_a_nova_that_is_still_starting_keeps_the_next_load_as_it_is(self):
        node = self.have(RIGHT)
        node.systemd.properties['ActiveState'] = 'activating'
        run = self.fix()
        self.assertEqual({'skipped'}, set(dict(self.results(run)).values()))
        self.assertIsNone(node.read(DROPIN))

    def test_reverted_while_busy_nova_promises_nothing_yet(self):
        node = self.have(RIGHT)
        self.fix()
        node.hold()
        run = self.remediator.revert()
        self.assertEqual(Result.SKIPPED, run.result, run.message)
        self.assertNotIn('svm', node.read(CONF))
        node.release()
        self.assertEqual(Result.APPLIED, self.remediator.revert().result)
        self.assertEqual(RIGHT[CONF], node.read(CONF))

    def test_busy(self):
        node = self.have(RIGHT)
        node.hold()
        self.fix()
        self.assertEqual(State.PENDING, self.look().state)
        self.assertIn('nested=0', node.read(DROPIN))
        self.assertNotIn('svm', node.read(CONF))
        self.assertEqual([], node.loads)


class BusyTest(RemediatorTestCase):
    def test_what_a_guest_uses_is_left_alone(self):
        node = self.have()
        node.hold(pid=4711, guest='mine')
        run = self.fix()
        self.assertEqual([('write-modprobe-dropin', 'applied')], self.results(run))
        report = self.look()
        self.assertEqual(State.PENDING, report.state)
        runtime = self.condition(ConditionType.NESTED_RUNTIME)
        self.assertIn('mine (pid 4711)', runtime.message)
        self.assertEqual((0, [], NOVA), (node.systemd.stops, node.loads, node.read(CONF)))
        self.assertIsNone(self.schedule().due(report))
        self.assertEqual(30.0, self.schedule().retry_soon(report))
        node.release()
        self.assertEqual(State.COMPLIANT, self.fix().state_after)

    def test_a_guest_that_starts_at_the_last_moment(self):
        node = self.have()
        before = {**self.files()}

        def start(command):
            if ' stop ' in command:
                node.hold()

        node.before = start
        run = self.fix()
        self.assertEqual(
            [
                ('write-modprobe-dropin', 'applied'),
                ('reload-module', 'skipped'),
                ('set-nova-option', 'skipped'),
                ('remove-nova-option', 'skipped'),
                ('restart-nova-compute', 'applied'),
            ],
            self.results(run),
        )
        self.assertEqual(State.PENDING, run.state_after)
        self.assertEqual(before[CONF], node.read(CONF))
        self.assert_works()
        self.assertEqual(0, self.remediator.status().failures)

    def schedule(self):
        return Schedule(self.remediator, lambda: self.options)

    def test_a_nova_that_is_still_starting(self):
        node = self.have()
        before = node.read(CONF)
        node.systemd.properties['ActiveState'] = 'activating'
        run = self.fix()
        self.assertEqual(Result.SKIPPED, run.result)
        self.assertEqual(
            {'applied', 'skipped'}, set(dict(self.results(run)).values()), self.results(run)
        )
        self.assertEqual((0, [], before), (node.systemd.stops, node.loads, node.read(CONF)))
        del node.systemd.properties['ActiveState']
        self.assertEqual(State.COMPLIANT, self.fix().state_after)

    def test_a_nova_that_no_unit_of_the_host_runs(self):
        node = self.have()
        for path in Path(node.root.base, 'proc').glob('*/cgroup'):
            path.write_text(f'0::/system.slice/docker-{"a" * 64}.scope\n')
        before = node.read(CONF)
        for results in (
            {'write-modprobe-dropin': 'applied', 'reload-module': 'skipped'},
            {'reload-module': 'skipped'},
        ):
            run = self.fix()
            found = dict(self.results(run))
            self.assertEqual(results, {name: found.get(name) for name in results})
            self.assertEqual(Result.SKIPPED, run.result)
            self.assertIn('stop it by hand', run.message)
        self.assertEqual(([], before), (node.loads, node.read(CONF)))
        node.systemd.kill(node.systemd.pid)
        self.assertEqual(Result.APPLIED, self.fix().result)
        self.assertEqual('1', node.parameter('nested'))

    def test_a_restart_alone_waits_for_it_as_well(self):
        node = self.have(RIGHT, options='nested=1')
        known = self.look()
        node.write({CONF: RIGHT[CONF].replace('svm', 'svm,pcid')})
        self.remediator._look = lambda status: node.look(
            self.policy, previous=known, remediation=status
        )
        node.systemd.properties['ActiveState'] = 'activating'
        for run in (self.fix(), self.fix(noop=True)):
            self.assertEqual([('restart-nova-compute', 'skipped')], self.results(run))
            self.assertIn('still starting', run.outcomes[0].message)
        self.assertEqual(0, node.systemd.stops)
        del node.systemd.properties['ActiveState']
        self.assertEqual(Result.APPLIED, self.fix().result)

    def test_what_is_busy_only_once_nova_is_stopped_is_tried_less_and_less_often(self):
        node = self.have()
        self.options = dataclasses.replace(OPTIONS, backoff_limit=10000.0)

        def busy(command):
            if ' stop ' in command:
                node.hold()
            elif ' restart ' in command:
                node.release()

        node.before = busy
        schedule = self.schedule()
        waits = []
        for _ in range(4):
            schedule.act(self.look())
            waits.append(schedule.due(self.look()))
        for limit, wait in zip((30, 60, 120, 240), waits, strict=True):
            self.assertTrue(limit / 2 < wait <= limit, waits)


class FailureTest(RemediatorTestCase):
    def test_a_load_that_fails_has_all_as_it_was(self):
        node = self.have(options='nested=0 pause_filter_count=7')
        before = self.files()
        node.kernel.failing_loads = 1
        run = self.fix()
        self.assertEqual(Result.FAILED, run.result)
        self.assertEqual(('0', '7'), tuple(map(node.parameter, ('nested', 'pause_filter_count'))))
        self.assert_as_before(before)
        self.assertEqual('rolled_back', dict(self.results(run))['write-modprobe-dropin'])
        status = self.remediator.status()
        self.assertEqual((1, None), (status.failures, status.gave_up))
        self.assertEqual((Status.FALSE, 'Failed'), self.short(self.condition()))
        self.assertEqual(State.DRIFTED, self.look().state)

    def short(self, condition):
        return condition.status, condition.reason

    def test_a_nova_that_refuses_has_its_old_files_back(self):
        node = self.have()
        node.systemd.refuses = lambda content: 'no' if b'host-passthrough' in content else None
        run = self.fix()
        self.assertEqual(NOVA, node.read(CONF))
        self.assertEqual('1', node.parameter('nested'))
        self.assertEqual(
            [
                ('write-modprobe-dropin', 'applied'),
                ('reload-module', 'applied'),
                ('set-nova-option', 'rolled_back'),
                ('remove-nova-option', 'rolled_back'),
                ('restart-nova-compute', 'failed'),
            ],
            self.results(run),
        )
        self.assert_works()
        self.assertIn('is up (pid', run.outcomes[-1].message)
        # Once with the new files, once with the old ones.
        self.assertEqual(2, len(node.starts))

    def test_after_so_many_failures_a_person_must_come(self):
        node = self.have()
        node.kernel.failing_loads = 100

        def refuse(module, options):
            return 'no' if 'nested=1' in options else None

        node.kernel.failing_loads = 0
        node.kernel.refuse = refuse
        for _ in range(self.options.attempts):
            self.assertEqual(Result.FAILED, self.fix().result)
        report = self.look()
        self.assertEqual(State.BLOCKED, report.state)
        self.assertEqual((Status.FALSE, 'GaveUp'), self.short(self.condition()))
        self.assertIsNone(self.schedule().due(report))
        node.kernel.refuse = lambda *_: None
        self.remediator.resume('me')
        report = self.look()
        self.assertEqual(State.DRIFTED, report.state)
        self.assertEqual(0.0, self.schedule().due(report))

    def schedule(self):
        return Schedule(self.remediator, lambda: self.options)

    def test_nothing_without_a_journal(self):
        self.have()
        before = self.files()
        self.useFixture(fixtures.MonkeyPatch('nested_agent.durable.replace', self.no_space))
        self.assertRaisesRegex(RemediationError, 'without a journal', self.fix)
        self.assert_as_before(before)
        self.assertEqual((0, []), (self.node.systemd.stops, self.node.loads))

    @staticmethod
    def no_space(path, data, **options):
        raise OSError(28, 'No space left on device')

    def test_a_unit_that_is_gone_is_found_out_before_anything_is_stopped(self):
        node = self.have()
        before = self.files()
        node.systemd.properties['LoadState'] = 'not-found'
        run = self.fix()
        self.assertEqual(Result.FAILED, run.result)
        self.assertIn('nothing was changed', run.message)
        self.assert_as_before(before)
        self.assertEqual((0, []), (node.systemd.stops, node.loads))

    def test_another_tool_that_changes_it_back(self):
        node = self.have({KVM_CONF: WRONG[KVM_CONF]}, options='nested=1')
        for _ in range(self.options.contest_limit):
            self.assertEqual(Result.APPLIED, self.fix().result)
            node.write({DROPIN: 'options kvm_amd nested=0\n'})
        report = self.look()
        self.assertEqual((Status.FALSE, 'Contested'), self.short(self.condition()))
        self.assertIn(f'{DROPIN}:1', self.condition().message)
        self.assertEqual(State.BLOCKED, report.state)
        self.assertIsNone(self.schedule().due(report))
        self.remediator.resume()
        self.assertEqual(0.0, self.schedule().due(self.look()))


class PauseTest(RemediatorTestCase):
    def test_it_stops_fixes_not_verification(self):
        self.have()
        schedule = Schedule(self.remediator, lambda: self.options)
        self.assertEqual(0.0, schedule.due(self.look()))
        self.remediator.pause(60.0, 'maintenance', 'me')
        report = self.another().status()
        self.assertEqual('maintenance', report.pause.reason)
        self.assertIsNone(schedule.due(self.look()))
        self.assertEqual(('Paused', State.DRIFTED), (self.condition().reason, self.look().state))
        self.assertRaisesRegex(
            RemediationError, 'maintenance', self.remediator.remediate, Trigger.RPC, 'someone'
        )
        self.assertEqual(Result.APPLIED, self.fix().result)
        self.remediator.resume()
        self.assertIsNone(self.remediator.status().pause)


class ScheduleTest(RemediatorTestCase):
    def test_the_splay(self):
        self.have()
        self.options = dataclasses.replace(OPTIONS, splay=1000.0)
        schedules = [Schedule(self.remediator, lambda: self.options) for _ in range(20)]
        waits = [schedule.due(self.look()) for schedule in schedules]
        self.assertTrue(all(0 <= each <= 1000 for each in waits))
        self.assertGreater(len({round(each) for each in waits}), 5)
        # It is chosen once, not anew at every look.
        self.assertLessEqual(schedules[0].due(self.look()), waits[0])

    def test_only_what_the_mode_says(self):
        self.have()
        for mode, due in ((Mode.OFF, None), (Mode.NOOP, 0.0), (Mode.ENFORCE, 0.0)):
            self.options = dataclasses.replace(OPTIONS, mode=mode)
            schedule = Schedule(self.remediator, lambda: self.options)
            self.assertEqual(due, schedule.due(self.look()))

    def test_a_mode_that_is_changed_while_the_node_is_verified(self):
        for mode, runs in ((Mode.OFF, 0), (Mode.NOOP, 1)):
            node = self.have()
            self.options = OPTIONS
            report = self.look()
            self.options = dataclasses.replace(OPTIONS, mode=mode)
            before = self.files()
            Schedule(self.remediator, lambda: self.options).act(report)
            self.assertEqual(([], 0, before), (node.loads, node.systemd.stops, self.files()))
            self.assertEqual(runs, len(self.remediator.history()))

    def test_noop_shows_each_plan_once(self):
        node = self.have()
        self.options = dataclasses.replace(OPTIONS, mode=Mode.NOOP)
        schedule = Schedule(self.remediator, lambda: self.options)
        schedule.act(self.look())
        self.assertIsNone(schedule.due(self.look()))
        self.assertEqual([], node.loads)
        (run,) = self.remediator.history()
        self.assertEqual((Result.NOOP, Trigger.AUTONOMOUS), (run.result, run.trigger))
        node.write({CONF: '[libvirt]\n'})
        self.assertEqual(0.0, schedule.due(self.look()))

    def test_enforce(self):
        self.have()
        schedule = Schedule(self.remediator, lambda: self.options)
        schedule.act(self.look())
        self.assertEqual(State.COMPLIANT, self.look().state)
        self.assertIsNone(schedule.due(self.look()))

    def test_after_a_failure_it_waits(self):
        node = self.have()
        node.kernel.failing_loads = 1
        schedule = Schedule(self.remediator, lambda: self.options)
        schedule.act(self.look())
        self.assertGreater(schedule.due(self.look()), 30.0)


class InterruptedTest(RemediatorTestCase):
    def test_the_daemon_leaves_alone_what_another_is_at(self):
        self.have()
        self.interrupt(20)
        other = self.another()
        self.useFixture(fixtures.MonkeyPatch('nested_agent.remediation.lock.PATIENCE', 0.0))
        with self.remediator._lock.held():
            self.assertIsNone(other.recover())
            self.assertTrue(other.under_way())
            self.assertIsNone(other.status().interrupted)
            self.assertRaisesRegex(
                RemediationError, 'another remediation', other.remediate, Trigger.COMMAND
            )
        self.assertIsNotNone(other.recover())

    def test_a_journal_that_cannot_be_understood_stops_everything(self):
        self.have()
        path = self.directory / 'journal.json'
        path.write_text('{')
        self.assertRaisesRegex(RemediationError, str(path), self.fix)
        self.assertIsNone(self.remediator.recover())
        self.assertEqual(('Stuck', State.BLOCKED), (self.condition().reason, self.look().state))
        self.assertIn(str(path), self.condition().message)
        self.assertEqual('{', path.read_text())

    def have_stuck(self):
        """Have a node whose nova-compute was stopped, and which systemd does not start again."""
        node = self.have()
        self.options = dataclasses.replace(OPTIONS, backoff=0.0)
        node.kernel.failing_loads = 1

        def refuse(command):
            if ' restart ' in command:
                raise OSError(5, 'systemd is away')

        node.before = refuse
        run = self.fix()
        self.assertEqual(Result.FAILED, run.result)
        self.assertIn('systemd is away', run.message)
        self.assertEqual('inactive', node.systemd.active)
        return node

    def test_what_could_not_be_undone_is_not_forgotten(self):
        node = self.have_stuck()
        for _ in range(self.options.attempts):
            self.assertEqual('Interrupted', self.condition().reason)
            self.assertEqual(Result.FAILED, self.remediator.recover().result)
        self.assertEqual(('Stuck', State.BLOCKED), (self.condition().reason, self.look().state))
        self.assertIn('systemd is away', self.condition().message)
        # The first attempt and one recovery: all others said the same again.
        self.assertEqual(2, len(self.remediator.history()))
        self.assertEqual(1, self.remediator.status().failures)
        node.before = lambda _: None
        self.assertEqual(Result.ROLLED_BACK, self.remediator.recover().result)
        self.assert_works()

    def test_it_is_tried_less_and_less_often(self):
        self.have_stuck()
        self.options = dataclasses.replace(OPTIONS, backoff=60.0)
        self.assertIsNotNone(self.remediator.recover())
        self.assertIsNone(self.remediator.recover())

    def test_nothing_new_is_begun_before_it_is_put_right(self):
        node = self.have_stuck()
        for begin in (self.fix, self.remediator.revert):
            self.assertRaisesRegex(RemediationError, 'systemd is away', begin)
        node.before = lambda _: None
        self.assertEqual(State.COMPLIANT, self.fix().state_after)
        self.assert_works()

    def test_a_disk_that_is_full_while_undoing(self):
        node = self.have()
        before = self.files()
        node.kernel.failing_loads = 1
        full: list[str] = []
        node.before = lambda command: full.append(command) if ' -r ' in command else None
        replace = durable.replace

        def write(path, data, **options):
            if full:
                raise OSError(28, 'No space left on device')
            replace(path, data, **options)

        self.useFixture(fixtures.MonkeyPatch('nested_agent.durable.replace', write))
        self.assertEqual(Result.FAILED, self.fix().result)
        full.clear()
        self.remediator.recover()
        self.assert_as_before(before)

    def read_only(self):
        """Return a list: while there is anything in it the state directory cannot be written."""
        since: list[str] = []
        for name in ('write_json', 'remove'):
            real = getattr(durable, name)

            def write(path, *arguments, real=real):
                if since:
                    raise RecordError(f'{path}: Read-only file system')
                real(path, *arguments)

            self.useFixture(fixtures.MonkeyPatch(f'nested_agent.durable.{name}', write))
        return since

    def test_what_was_undone_is_not_undone_again_for_want_of_a_record(self):
        node = self.have()
        before = self.files()
        node.kernel.failing_loads = 1
        since = self.read_only()
        node.before = lambda command: since.append(command) if ' -r ' in command else None
        self.assertEqual(Result.FAILED, self.fix().result)
        node.before = lambda _: None
        starts = len(node.starts)
        for _ in range(3):
            self.assertIsNone(self.remediator.recover())
            self.assertNotEqual('Interrupted', self.condition().reason)
        self.assertRaisesRegex(RemediationError, 'Read-only', self.fix)
        since.clear()
        self.assertIsNone(self.remediator.recover())
        self.assertEqual(starts, len(node.starts))
        self.assert_as_before(before)

    def test_nor_tried_more_often(self):
        self.have_stuck()
        self.options = dataclasses.replace(OPTIONS, backoff=60.0)
        since = self.read_only()
        since.append('')
        self.assertEqual(Result.FAILED, self.remediator.recover().result)
        self.assertIsNone(self.remediator.recover())
        self.options = dataclasses.replace(OPTIONS, backoff=0.0)
        while self.condition().reason == 'Interrupted':
            self.assertEqual(Result.FAILED, self.remediator.recover().result)
        self.assertEqual(('Stuck', State.BLOCKED), (self.condition().reason, self.look().state))

    def test_a_node_that_cannot_be_verified_is_put_right_all_the_same(self):
        self.have()
        before = self.files()
        self.interrupt(25)
        other = self.another()
        other._look = lambda status: 1 / 0
        run = other.recover()
        self.assertEqual((Result.ROLLED_BACK, State.UNKNOWN), (run.result, run.state_after))
        self.assert_as_before(before)


class PowerCutTest(RemediatorTestCase):
    """A boot in the middle: by then modprobe reads what the run has written."""

    def cut_anywhere(self, files, prepare, run):
        """Return how often the boot loaded the module otherwise than before the run."""
        count = 0
        for place in range(1, 200, 4):
            node = self.have(files, options='nested=1')
            prepare()
            before, nested = self.files(), node.parameter('nested')
            if not self.interrupt(place, run):
                break
            node.reboot()
            count += node.parameter('nested') != nested
            node.before = self.only_while_nova_is_down
            found = self.another().recover()
            if found and found.result is Result.ROLLED_BACK:
                self.assert_as_before(before)
                self.assertEqual(nested, node.parameter('nested'), place)
            # What it started with is what is there now, and nothing that guests cannot have.
            self.assertEqual(node.read(CONF).encode(), node.starts[-1][CONF])
            promised = 'svm' in node.read(CONF) + node.read(COMPUTE)
            self.assertTrue(not promised or node.parameter('nested') == '1', place)
        self.assertGreater(place, 50)
        return count

    def only_while_nova_is_down(self, command):
        if 'modprobe' in command and ' -r ' in command:
            self.assertEqual('inactive', self.node.systemd.active)

    def test_while_it_is_enabled(self):
        for place in range(1, 200, 4):
            node = self.have()
            if not self.interrupt(place):
                break
            node.reboot()
            node.before = self.only_while_nova_is_down
            self.another().recover()
            self.assert_works()
            # What is right by itself may stay.
            self.assertEqual('10'[node.read(DROPIN) is None], node.parameter('nested'), place)
            self.assertEqual(node.read(CONF).encode(), node.starts[-1][CONF])
        self.assertGreater(place, 50)

    def test_while_it_is_disabled(self):
        self.policy = DISABLED
        self.assertGreater(self.cut_anywhere(RIGHT, lambda: None, self.fix), 5)

    def test_while_it_is_reverted(self):
        self.policy = Policy(fix_cpu_mode=FixCPUMode.KEEP)
        files = {**WRONG, CONF: '[libvirt]\ncpu_mode = host-model\n'}
        self.assertGreater(self.cut_anywhere(files, self.fix, lambda: self.remediator.revert()), 5)

    def test_a_recovery_is_interrupted_as_well(self):
        self.policy = DISABLED
        for place in range(1, 100, 2):
            node = self.have(RIGHT)
            before = self.files()
            self.interrupt(60)
            node.reboot()
            if not self.interrupt(place, lambda: self.another().recover()):
                break
            self.another().recover()
            self.assert_as_before(before)
            self.assertEqual('1', node.parameter('nested'), place)
        self.assertGreater(place, 15)

    def test_a_node_that_cannot_be_verified(self):
        self.policy = DISABLED
        node = self.have(RIGHT)
        before = self.files()
        self.interrupt(60)
        node.reboot()
        other = self.another()
        other._look = lambda status: 1 / 0
        self.assertEqual(Result.ROLLED_BACK, other.recover().result)
        self.assert_as_before(before)
        self.assertEqual(node.read(CONF).encode(), node.starts[-1][CONF])

    def test_where_the_module_cannot_be_loaded_anew(self):
        self.policy = DISABLED
        node = self.have(RIGHT)
        before = self.files()
        self.interrupt(60)
        node.reboot()
        node.kernel.failing_loads = 1
        self.assertEqual(Result.ROLLED_BACK, self.another().recover().result)
        self.assert_as_before(before)
        self.assertEqual('0', node.parameter('nested'))

    def test_where_guests_run_already(self):
        self.policy = DISABLED
        node = self.have(RIGHT)
        self.interrupt(60)
        node.reboot()
        node.hold()
        loads = list(node.loads)
        self.assertEqual(Result.ROLLED_BACK, self.another().recover().result)
        self.assertEqual((loads, '0'), (node.loads, node.parameter('nested')))


class TwoFilesTest(RemediatorTestCase):
    """The last two steps are of one kind."""

    def assert_both_or_neither(self):
        custom = 'custom' in self.node.read(COMPUTE)
        self.assertEqual(custom, 'cpu_models' in self.node.read(CONF))

    def interrupted_anywhere(self, run, prepare):
        for place in range(1, 200):
            self.have(TWO_FILES, nova=False, options='nested=1')
            prepare()
            if not self.interrupt(place, run):
                break
            self.another().recover()
            self.assert_both_or_neither()
            self.assertFalse((self.directory / 'journal.json').exists())
        self.assertGreater(place, 15)

    def test_a_fix(self):
        self.interrupted_anywhere(self.fix, lambda: None)

    def test_a_revert(self):
        self.interrupted_anywhere(lambda: self.remediator.revert('me'), self.fix)


class RevertTest(RemediatorTestCase):
    def test_everything_is_as_at_first(self):
        node = self.have()
        before = self.files()
        self.fix()
        self.assertNotEqual(before, self.files())
        run = self.remediator.revert('me')
        self.assertEqual((Trigger.REVERT, Result.APPLIED), (run.trigger, run.result), run.message)
        self.assert_as_before(before)
        self.assertEqual('0', node.parameter('nested'))
        current = self.condition(ConditionType.NOVA_CONFIG_CURRENT)
        self.assertEqual((Status.TRUE, 'StartedAfterChange'), (current.status, current.reason))
        self.assertEqual('Paused', self.condition().reason)
        self.assertEqual(2, len(node.starts))
        self.assertEqual(
            {ActionKind.RESTORE_FILE, ActionKind.RELOAD_MODULE, ActionKind.RESTART_NOVA_COMPUTE},
            {each.action.kind for each in run.outcomes},
        )
        again = self.remediator.revert('me')
        self.assertEqual((Result.NOOP, ()), (again.result, again.outcomes))

    def test_both_ways_and_back(self):
        self.have()
        before = self.files()
        self.fix()
        self.policy = DISABLED
        self.fix()
        self.policy = Policy()
        self.fix()
        self.remediator.revert()
        self.assert_as_before(before)

    def test_a_module_we_loaded_is_unloaded(self):
        node = self.have({KVM_CONF: WRONG[KVM_CONF]}, loaded=False)
        self.fix()
        self.assertEqual('1', node.parameter('nested'))
        self.remediator.revert()
        self.assertIsNone(node.parameter('nested'))

    def test_busy(self):
        node = self.have()
        before = self.files()
        self.fix()
        node.hold()
        run = self.remediator.revert()
        self.assertEqual('skipped', dict(self.results(run))['reload-module'])
        self.assertEqual(before, self.files())
        self.assertEqual('1', node.parameter('nested'))
        node.release()
        self.remediator.revert()
        self.assertEqual('0', node.parameter('nested'))

    def test_nova_is_not_stopped_where_it_would_not_come_back(self):
        left = {CONF: '[libvirt]\ncpu_mode = host-passthrough\ncpu_models = EPYC\n'}
        for files, broken, words in (
            (WRONG, {COMPUTE: '[libvirt]\na line\n'}, f'{COMPUTE}:2: '),
            (left, {}, 'cpu_models (EPYC) without cpu_mode custom'),
        ):
            node = self.have(files)
            before = self.files()
            self.fix()
            node.write(broken)
            now, stops = self.files(), node.systemd.stops
            run = self.remediator.revert()
            self.assertEqual(Result.FAILED, run.result)
            self.assertIn(words, run.message)
            self.assertEqual((now, stops), (self.files(), node.systemd.stops))
            self.assert_works()
            # Whoever stops it has decided.
            node.systemd.systemctl(['stop', 'nova-compute.service'], node.now)
            self.assertEqual(Result.APPLIED, self.remediator.revert().result)
            self.assertEqual({**before, **broken}, self.files())

    def test_a_file_that_nova_needs_is_gone(self):
        node = self.have()
        self.fix()
        Path(node.root.base, COMPUTE[1:]).unlink()
        run = self.remediator.revert()
        self.assertEqual(Result.FAILED, run.result)
        self.assertIn(f'not come back with its files as they were: {COMPUTE}', run.message)
        self.assertEqual('active', node.systemd.active)

    def test_models_stay_away_from_a_mode_in_another_file(self):
        node = self.have(TWO_FILES, options='nested=1')
        self.fix()
        node.write({COMPUTE: node.read(COMPUTE).replace('host-passthrough', 'host-model')})
        self.assertEqual(Result.APPLIED, self.remediator.revert().result)
        self.assertIn('host-model', node.read(COMPUTE))
        self.assertNotIn('cpu_models', node.read(CONF))
        self.assert_works()

    def test_a_nova_that_cannot_be_stopped(self):
        node = self.have()
        for path in Path(node.root.base, 'proc').glob('*/cgroup'):
            path.write_text(f'0::/system.slice/docker-{"a" * 64}.scope\n')
        self.fix()
        self.assertIsNotNone(node.read(DROPIN))
        run = self.remediator.revert()
        self.assertEqual(Result.SKIPPED, run.result)
        self.assertIn('stop it by hand', run.message)
        self.assertIsNone(node.read(DROPIN))

    def test_nova_is_not_stopped_for_what_waits(self):
        self.policy = DISABLED
        node = self.have(RIGHT)
        self.fix()
        before = (node.systemd.stops, len(node.starts))
        node.hold()
        for _ in range(2):
            run = self.remediator.revert()
            self.assertEqual(Result.SKIPPED, run.result)
            self.assertEqual(before, (node.systemd.stops, len(node.starts)))

    def test_what_people_changed_since_stays(self):
        node = self.have()
        self.fix()
        node.write({CONF: node.read(CONF).replace('rx = 1', 'rx = 2')})
        self.remediator.revert()
        self.assertIn('rx = 2', node.read(CONF))
        self.assertIn('cpu_mode = custom', node.read(CONF))
        self.assertIn('cpu_models = EPYC', node.read(CONF))


class FormatTest(RemediatorTestCase):
    def test_what_is_kept_is_plain(self):
        self.have()
        self.fix()
        data = json.loads((self.directory / 'history.json').read_text())
        self.assertEqual('applied', data['runs'][0]['result'])
        report = self.look()
        self.assertEqual(report, type(report).from_dict(json.loads(json.dumps(report.to_dict()))))
