"""A report as metrics, and the file that node_exporter reads."""

import dataclasses
import os
import re
import threading
from pathlib import Path
from unittest import mock

import fixtures
from oslotest import base
from prometheus_client import parser

from nested_agent.agent import Agent, Effort, Timing
from nested_agent.drivers import loader
from nested_agent.exceptions import RecordError
from nested_agent.model import (
    SCHEMA_VERSION,
    Action,
    ActionKind,
    Condition,
    ConditionType,
    Disruption,
    Pause,
    Remediation,
    Result,
    Run,
    State,
    Status,
    Trigger,
)
from nested_agent.node.observe import Sources
from nested_agent.policy import Policy
from nested_agent.remediation.history import History
from nested_agent.report import make_report
from nested_agent.reporting import metrics, textfile
from tests.unit import nodes
from tests.unit.test_agent import report
from tests.unit.test_history import run

DEADLINE = 60
DOCUMENT = Path(__file__).parents[2] / 'doc' / 'source' / 'reference' / 'metrics.rst'
DRIVERS = loader.load()

#: What is told of the past alone.
PAST = {
    'nested_agent_build_info',
    'nested_agent_last_verification_timestamp_seconds',
    'nested_agent_verification_interval_seconds',
    'nested_agent_verification_duration_seconds',
    'nested_agent_verification_failures_total',
    'nested_agent_remediation_runs_total',
}
#: Modules as an observation has them.
IDLE = {'kvm': {'refcnt': 1}, 'kvm_amd': {'refcnt': 0}}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def documented(anchor):
    """Return the metrics of a part of the document: type and labels by name."""
    part = DOCUMENT.read_text().partition(f'.. _{anchor}:')[2].partition('\n.. _')[0]
    rows = re.findall(r'^   \* - ``(\w+)``(?: \{(.*)\})?\n     - (\w+)$', part, re.MULTILINE)
    return {name: (kind, tuple(re.findall(r'\w+', labels))) for name, labels, kind in rows}


def told(families):
    """Return the same of what was written."""
    return {
        _full(family): (family.type, tuple(sorted(_labels(family))))
        for family in families
        if family.samples
    }


def _full(family):
    return f'{family.name}_total' if family.type == 'counter' else family.name


def _labels(family):
    return {name for sample in family.samples for name in sample.labels} - {'le'}


def sorted_labels(document):
    return {name: (kind, tuple(sorted(labels))) for name, (kind, labels) in document.items()}


def full_report(**changes):
    """Return a report that leaves out nothing."""
    remediation = Remediation('enforce', Pause(1.0, 99.0, 'a disk', 'me'))
    plan = Action(ActionKind.BY_HAND, 'firmware', None, None, '', Disruption.REBOOT)
    return report(
        **{
            'time': 50.0,
            'state': State.PENDING,
            'state_since': 20.0,
            'policy': {'nested': 'enabled'},
            'conditions': (
                Condition(ConditionType.KVM_USABLE, Status.TRUE, 'Usable', ''),
                Condition(ConditionType.REMEDIABLE, Status.TRUE, 'Paused', ''),
            ),
            'plan': (plan,),
            'observation': {'modules': IDLE, 'holders': None},
            'remediation': remediation,
            **changes,
        }
    )


class MetricsCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path)
        self.file = self.directory / 'nested_agent.prom'
        self.effort = Effort(0.25, 2)
        self.runs: list[Run] = []
        self.interval = 60.0
        self.channel = textfile.Textfile(
            self.directory, '1.2.3', lambda: self.interval, self.effort, lambda: self.runs
        )

    def families(self):
        return list(parser.text_string_to_metric_families(self.file.read_text()))

    def samples(self) -> Samples:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families()
            for sample in family.samples
        }

    def tell(self, told=None):
        self.channel(told or full_report(), None)
        return self.samples()

    def value(self, name, **labels):
        return self.samples().get((f'nested_agent_{name}', frozenset(labels.items())))

    def names(self):
        return set(told(self.families()))


class DocumentTest(MetricsCase):
    def test_it_has_every_metric_and_no_other(self):
        self.tell()
        self.assertEqual(sorted_labels(documented('node-metrics')), told(self.families()))

    def test_it_has_every_word(self):
        text = DOCUMENT.read_text()
        words = (*State, *ConditionType, *Trigger, *Result, *(each.lower() for each in Status))
        self.assertEqual([], [each for each in words if f'``{each}``' not in text])

    def test_what_is_said_of_the_past_comes_first(self):
        rows = list(documented('node-metrics'))
        self.assertEqual(PAST, set(rows[: len(PAST)]))
        self.assertEqual(6, len(PAST))
        self.assertIn('the first six metrics of the table', ' '.join(DOCUMENT.read_text().split()))


class PresentTest(MetricsCase):
    def test_the_state_is_one_of_six(self):
        for state in State:
            self.tell(full_report(state=state))
            found = {each: self.value('state', state=each.value) for each in State}
            self.assertEqual({each: float(each is state) for each in State}, found)

    def test_since_when(self):
        self.tell()
        self.assertEqual(20.0, self.value('state_since_timestamp_seconds'))
        self.assertEqual(20.0, self.value('pending_since_timestamp_seconds'))
        self.tell(full_report(state=State.DRIFTED))
        self.assertEqual(20.0, self.value('state_since_timestamp_seconds'))
        self.assertIsNone(self.value('pending_since_timestamp_seconds'))

    def test_conditions(self):
        conditions = (
            Condition(ConditionType.KVM_USABLE, Status.TRUE, 'Usable', ''),
            Condition(ConditionType.GUEST_CPU, Status.UNKNOWN, 'NotInstalled', ''),
        )
        self.tell(full_report(conditions=conditions))
        found = {
            (condition, status): self.value('condition_status', condition=condition, status=status)
            for condition in ('KVMUsable', 'GuestCPU', 'Remediable')
            for status in ('true', 'false', 'unknown')
        }
        self.assertEqual(
            {('KVMUsable', 'true'): 1.0, ('GuestCPU', 'unknown'): 1.0},
            {key: value for key, value in found.items() if value},
        )
        self.assertEqual(4, list(found.values()).count(0.0))
        self.assertEqual(3, list(found.values()).count(None))
        reason = {'condition': 'GuestCPU', 'reason': 'NotInstalled'}
        self.assertEqual(1.0, self.value('condition_reason_info', **reason))

    def test_a_pause(self):
        for pause, paused, until in (
            (None, 0.0, None),
            (Pause(1.0, None, '', ''), 1.0, None),
            (Pause(1.0, 99.0, '', ''), 1.0, 99.0),
        ):
            self.tell(full_report(remediation=Remediation('noop', pause)))
            self.assertEqual(paused, self.value('paused'))
            self.assertEqual(until, self.value('pause_until_timestamp_seconds'))
            self.assertEqual(1.0, self.value('remediation_mode_info', mode='noop'))

    def test_a_tug_of_war(self):
        for status, reason, contested in (
            (Status.TRUE, 'Enforce', 0.0),
            (Status.FALSE, 'Contested', 1.0),
            (Status.FALSE, 'GaveUp', 0.0),
            (Status.UNKNOWN, 'InternalError', None),
        ):
            condition = Condition(ConditionType.REMEDIABLE, status, reason, '')
            self.tell(full_report(conditions=(condition,)))
            self.assertEqual(contested, self.value('contested'))

    def test_of_a_failed_verification_it_is_only_told_that_it_failed(self):
        self.tell(full_report(observation=None, state=State.UNKNOWN))
        claimed = {'state', 'state_since_timestamp_seconds', 'condition_status'}
        claimed.add('condition_reason_info')
        self.assertEqual({f'nested_agent_{each}' for each in claimed}, self.names() - PAST)

    def test_what_a_report_does_not_know_is_absent(self):
        self.tell(report(observation={}))
        claimed = {'nested_agent_state', 'nested_agent_planned_actions'}
        self.assertEqual(claimed, self.names() - PAST)


class HoldersTest(base.BaseTestCase):
    def test_as_far_as_they_are_known(self):
        holder = {'pid': 1, 'command': 'qemu', 'guest': None, 'files': 3}
        busy = {'kvm': {'refcnt': 1}, 'kvm_amd': {'refcnt': 9}}
        builtin = {'kvm': {'refcnt': None}, 'kvm_amd': {'refcnt': None}}
        unread = {'unread': {'source': 'x', 'error': 'EACCES', 'detail': ''}}
        for modules, found, count in (
            (busy, {'processes': [holder, holder], 'unreadable': 0}, 2),
            (busy, {'processes': [], 'unreadable': 0}, 0),
            (busy, {'processes': [holder], 'unreadable': 4}, None),
            (busy, unread, None),
            (busy, None, None),
            (IDLE, None, 0),
            ({'kvm': {'refcnt': 0}}, None, 0),
            ({}, None, 0),
            (builtin, None, None),
            ({'kvm_amd': {'refcnt': unread}}, None, None),
            (unread, None, None),
        ):
            observation = {'modules': modules, 'holders': found}
            self.assertEqual(count, metrics.holders(observation), observation)

    def test_of_nodes_as_they_are(self):
        process = {
            '/proc/700/comm': 'qemu-system-x86\n',
            '/proc/700/cmdline': 'qemu-system-x86\0-name\0guest=g1\0',
            '/proc/700/fd/10': '-> /dev/kvm',
        }
        for node, count in (
            (nodes.amd(), 0),
            (nodes.amd(refcnt=1, files=process), 1),
            (nodes.intel(nested=None), 0),
            (nodes.intel(builtin=True), None),
        ):
            found = make_report(node.root(self), DRIVERS, Sources(), Policy())
            self.assertEqual(count, metrics.holders(found.observation), node)


class RunsTest(MetricsCase):
    def count(self, result, trigger='autonomous'):
        return self.value('remediation_runs_total', trigger=trigger, result=result)

    def test_all_begin_at_0(self):
        self.tell()
        found = {(trigger, result) for trigger in Trigger for result in Result}
        self.assertEqual({0.0}, {self.count(result, trigger) for trigger, result in found})

    def test_what_the_history_gains_is_counted_once(self):
        self.runs = [run(1, Result.FAILED)]
        self.channel.start()
        self.tell()
        self.assertEqual(0.0, self.count('failed'))
        command = dataclasses.replace(run(3, Result.NOOP), trigger=Trigger.COMMAND)
        self.runs = [command, run(2, Result.FAILED), *self.runs]
        for _ in range(2):
            self.tell()
            self.assertEqual(1.0, self.count('failed'))
            self.assertEqual(1.0, self.count('noop', 'command'))
        self.runs = [run(4, Result.FAILED)]  # the others were forgotten
        self.tell()
        self.assertEqual(2.0, self.count('failed'))

    def test_those_of_another_process(self):
        history = History(self.directory)
        self.channel = textfile.Textfile(
            self.directory, '1', lambda: 60.0, self.effort, history.runs
        )
        self.channel.start()
        self.tell()
        History(self.directory).add(run(1, Result.APPLIED))
        self.tell()
        self.assertEqual(1.0, self.count('applied'))

    def test_a_history_that_cannot_be_read_costs_nothing_else(self):
        logger = self.useFixture(fixtures.FakeLogger())
        broken = mock.Mock(side_effect=RecordError('history.json cannot be understood'))
        self.channel = textfile.Textfile(self.directory, '1', lambda: 60.0, self.effort, broken)
        self.channel.start()
        self.tell()
        self.tell()
        self.assertEqual(0.0, self.count('applied'))
        self.assertEqual(1, logger.output.count('history.json'))


class TextfileTest(MetricsCase):
    def test_what_was_measured(self):
        self.tell()
        self.assertEqual(50.0, self.value('last_verification_timestamp_seconds'))
        self.assertEqual(60.0, self.value('verification_interval_seconds'))
        self.assertEqual(0.25, self.value('verification_duration_seconds'))
        self.assertEqual(2.0, self.value('verification_failures_total'))
        self.assertEqual(1.0, self.value('build_info', version='1.2.3'))
        self.assertEqual(0.0, self.value('kvm_holders'))
        self.assertEqual(1.0, self.value('planned_actions'))
        self.assertEqual(1.0, self.value('policy_info', nested='enabled'))
        self.interval = 5.0
        self.tell()
        self.assertEqual(5.0, self.value('verification_interval_seconds'))

    def test_everybody_may_read_it(self):
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        self.tell()
        self.assertEqual(0o644, self.file.stat().st_mode & 0o777)

    def test_it_is_replaced_whole(self):
        self.tell()
        with self.file.open() as opened:
            self.tell(full_report(state=State.COMPLIANT))
            old = opened.read()
        self.assertIn('nested_agent_state{state="pending"} 1.0', old)
        self.assertEqual(['nested_agent.prom'], os.listdir(self.directory))

    def test_after_the_end_nothing_is_claimed_of_the_present(self):
        self.tell()
        self.channel.stop(DEADLINE)
        self.assertEqual(PAST, self.names())
        self.assertEqual(50.0, self.value('last_verification_timestamp_seconds'))
        self.channel(full_report(), None)
        self.assertEqual(PAST, self.names())

    def test_an_end_before_the_first_report(self):
        self.channel.start()
        self.channel.stop(DEADLINE)
        self.assertEqual([], os.listdir(self.directory))

    def test_a_run_that_ends_with_the_agent_is_counted(self):
        self.channel.start()
        self.tell()
        self.runs = [run(1, Result.ROLLED_BACK)]
        self.channel.stop(DEADLINE)
        labels = {'trigger': 'autonomous', 'result': 'rolled_back'}
        self.assertEqual(1.0, self.value('remediation_runs_total', **labels))

    def test_what_cannot_be_written_is_one_line(self):
        logger = self.useFixture(fixtures.FakeLogger())
        self.tell()
        before = self.file.read_bytes()
        with mock.patch('os.fchmod', side_effect=OSError(28, 'No space left on device')):
            for _ in range(3):
                self.channel(full_report(state=State.DRIFTED), None)
            self.channel.stop(DEADLINE)
        self.assertEqual(before, self.file.read_bytes())
        self.assertEqual(['nested_agent.prom'], os.listdir(self.directory))
        wanted = f'{self.file} cannot be written: No space left on device\n'
        self.assertEqual(wanted, logger.output)

    def test_what_a_killed_agent_left_is_taken_away(self):
        for name in ('.nested_agent.prom.abc.new', '.other.prom.abc.new', 'other.prom'):
            (self.directory / name).touch()
        self.channel.start()
        self.assertEqual({'.other.prom.abc.new', 'other.prom'}, set(os.listdir(self.directory)))

    def test_no_directory(self):
        logger = self.useFixture(fixtures.FakeLogger())
        self.directory.rmdir()
        self.channel.start()
        self.channel(full_report(), None)
        self.assertIn('No such file or directory', logger.output)
        self.directory.mkdir()
        self.assertNotEqual({}, self.tell())


class AgentTest(base.BaseTestCase):
    """What the loop measures, and dates."""

    def published(self, verify, last=None):
        """Return the first two reports of an agent, and its effort at each."""
        found, effort = [], Effort()
        enough = threading.Event()

        def publish(new, old):
            found.append((new, dataclasses.replace(effort)))
            if len(found) == 2:
                enough.set()

        never = Timing(86400)
        agent = Agent(verify, (publish,), lambda _: (), lambda: never, last=last, effort=effort)
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE)
        self.addCleanup(agent.stop)
        while not enough.wait(0.05):
            agent.trigger()
        return found

    def test_a_verification_is_measured_whatever_came_of_it(self):
        slow = threading.Event()

        def verify(previous):
            slow.wait(0.02)
            if previous is None:
                raise RuntimeError('a defect')
            return report()

        first, second = self.published(verify)
        self.assertGreaterEqual(first[1].seconds, 0.02)
        self.assertGreaterEqual(second[1].seconds, 0.02)
        self.assertEqual((1, 1), (first[1].failures, second[1].failures))
        self.assertEqual(State.UNKNOWN, first[0].state)

    def test_the_state_is_dated(self):
        states = iter([State.DRIFTED, State.PENDING])
        last = report(time=7.0, state=State.DRIFTED, state_since=3.0)
        found = self.published(lambda _: report(time=9.0, state=next(states, State.PENDING)), last)
        self.assertEqual([3.0, 9.0], [each.state_since for each, _ in found])

    def test_by_the_last_report_of_a_release_that_did_not(self):
        last = report(time=7.0)
        found = self.published(lambda _: report(time=9.0), last)
        self.assertEqual([7.0, 7.0], [each.state_since for each, _ in found])

    def test_a_verification_that_fails_is_no_report_of_that_release(self):
        def verify(previous):
            raise RuntimeError('a defect')

        last = report(time=7.0, state=State.UNKNOWN, schema_version='1.1')
        (first, _), *_ = self.published(verify, last)
        self.assertEqual((SCHEMA_VERSION, 7.0), (first.schema_version, first.state_since))
