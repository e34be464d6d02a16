"""``nested-agentctl`` plan, remediate, revert, pause, resume, history: what they ask, show, return.

The Remediator is a fake: what it does to a node is not their business.
"""

import argparse
import contextlib
import csv
import dataclasses
import io
import json
import os
import re
import signal
import socket
from unittest import mock

from oslotest import base

from nested_agent import exceptions
from nested_agent.cmd import duration, remote, this_node, uninterrupted
from nested_agent.cmd.action_rows import when
from nested_agent.model import (
    Action,
    ActionKind,
    Disruption,
    Outcome,
    Pause,
    Remediation,
    Result,
    Run,
    State,
    Trigger,
)
from nested_agent.reporting import state_file
from tests.unit.nodes import amd
from tests.unit.test_check import OFF, CommandTestCase
from tests.unit.test_status import report

HERE = socket.gethostname()

DROPIN = Action(
    ActionKind.WRITE_MODPROBE_DROPIN,
    '/etc/modprobe.d/zz-nested-agent.conf',
    None,
    'options kvm_amd nested=1',
    '/etc/modprobe.d/kvm.conf:1: nested is off at the next load',
    Disruption.NONE,
)
RELOAD = Action(
    ActionKind.RELOAD_MODULE,
    'kvm_amd',
    'nested=0',
    'nested=1',
    'KVM offers svm: no',
    Disruption.KVM_RELOAD,
    now=False,
)
RUN = Run(
    id='20261123T050000-1',
    trigger=Trigger.COMMAND,
    who='alice@control',
    began=1795410000.0,
    ended=1795410012.5,
    boot_id='boot',
    result=Result.SKIPPED,
    message='kvm_amd is in use by pid 4711 (qemu)',
    outcomes=(
        Outcome(DROPIN, Result.APPLIED, 'modprobe -D shows nested=1'),
        Outcome(RELOAD, Result.SKIPPED, 'pid 4711 (qemu) uses it'),
    ),
    before={'NestedRuntime': 'False/Disabled'},
    after={'NestedRuntime': 'False/Disabled'},
    state_before=State.DRIFTED,
    state_after=State.PENDING,
)
PAUSE = Pause(1795410000.0, None, 'maintenance of the rack', 'alice@control')


class FakeRemediator:
    """Remembers what it was asked; the class is patched over the real one."""

    def __init__(self):
        self.calls = []
        self.run = RUN
        self.pause_ = None
        self.runs = (RUN,)
        self.failure = None
        self.during = lambda: None

    def _called(self, *call):
        self.calls.append(call)
        self.during()
        if self.failure:
            raise self.failure

    def status(self):
        return Remediation('noop', pause=self.pause_)

    def remediate(self, trigger, who='', *, noop=False):
        self._called('remediate', trigger, who, noop)
        return self.run

    def revert(self, who=''):
        self._called('revert', who)
        return self.run

    def pause(self, seconds, reason, who=''):
        self._called('pause', seconds, reason, who)
        return dataclasses.replace(PAUSE, reason=reason, who=who)

    def resume(self, who=''):
        self._called('resume', who)

    def history(self):
        self._called('history')
        return self.runs


class FakeClient(contextlib.AbstractContextManager['FakeClient']):
    """Answers as an agent would, or refuses."""

    def __init__(self):
        self.calls = []
        self.failure = None

    def __exit__(self, *error):
        pass

    def _asked(self, answer, *call, **named):
        self.calls.append((*call, named) if named else call)
        if self.failure:
            raise self.failure
        return answer

    def verify(self, host, deadline):
        return self._asked(
            report(state=State.PENDING, plan=(DROPIN, RELOAD)), 'verify', host, deadline
        )

    def remediate(self, host, deadline, **named):
        return self._asked(RUN, 'remediate', host, deadline, **named)

    def pause(self, host, deadline, *arguments):
        return self._asked(PAUSE, 'pause', host, deadline, *arguments)

    def resume(self, host, deadline, who):
        return self._asked(None, 'resume', host, deadline, who)

    def history(self, host, deadline, limit):
        return self._asked((RUN,), 'history', host, deadline, limit)


class RemediationCase(CommandTestCase):
    def setUp(self):
        super().setUp()
        self.remediator = FakeRemediator()
        self.replace('nested_agent.local.Remediator', lambda *_, **__: self.remediator)
        self.replace('os.geteuid', lambda: 0)
        self.replace('getpass.getuser', lambda: 'root')
        self.replace('os.environ', {**os.environ, 'SUDO_USER': 'bob'})
        self.client = FakeClient()
        self.replace('nested_agent.cmd.remote.Remote.client', lambda command: self.client)
        directories = f'state_dir = {self.base}\nrun_dir = {self.base}\n'
        self.conf = f'[DEFAULT]\nhost = node1\n[agent]\n{directories}'

    def replace(self, name, replacement):
        patcher = mock.patch(name, replacement)
        patcher.start()
        self.addCleanup(patcher.stop)

    def ctl(self, *arguments):
        return self.run_main(*arguments, conf=self.conf)

    def table(self, *arguments):
        """Return what the command writes to a terminal of 100 columns."""

        class Terminal(io.StringIO):
            def isatty(self):
                return True

        size = mock.patch('shutil.get_terminal_size', return_value=mock.Mock(columns=100))
        # The terminal is where run_main() collects what is written.
        with size, mock.patch('io.StringIO', Terminal):
            out = self.ctl(*arguments)[1]
        lines = [line for line in out.splitlines() if line.startswith(('|', '+'))]
        self.assertGreaterEqual(100, max(len(line) for line in lines), out)
        return out

    def refused(self, code, *arguments, says):
        found = self.ctl(*arguments)
        self.assertEqual((code, ''), found[:2], found[2])
        self.assertIn(says, found[2])
        self.assertNotIn('Traceback', found[2])


class PlanTest(RemediationCase):
    def here(self, **changes):
        root = amd(**changes).root(self)
        self.replace('nested_agent.local.Root', lambda: root)

    def test_what_would_be_done_here(self):
        self.here(nested='0', options='nested=0', files=OFF)
        code, out, err = self.ctl('plan', '-f', 'json')
        self.assertEqual((1, ''), (code, err))
        rows = json.loads(out)
        self.assertEqual(['write-modprobe-dropin', 'reload-module'], [row['kind'] for row in rows])
        self.assertEqual(
            {'kind', 'target', 'before', 'after', 'when', 'disruption', 'why'}, set(rows[0])
        )
        self.assertEqual(('nested=0', 'nested=1'), (rows[1]['before'], rows[1]['after']))
        self.assertEqual('now', rows[1]['when'])
        self.assertEqual([], self.remediator.calls)

    def test_the_table(self):
        self.here(nested='0', options='nested=0', files=OFF)
        out = self.table('plan')
        for word in ('KIND', 'WHEN', 'reload-', 'now', 'nested=1'):
            self.assertIn(word, out)

    def test_nothing_to_do(self):
        self.here(flags='fpu hypervisor', nested=None)
        code, out, _ = self.ctl('plan')
        self.assertEqual(3, code)
        self.assertEqual('node1: unsupported; nothing can be done, "check" tells why\n', out)
        self.conf += '[policy]\nnested = disabled\n'
        self.assertEqual((0, 'node1: compliant; nothing to do\n', ''), self.ctl('plan'))
        self.assertEqual((0, '[]\n', ''), self.ctl('plan', '-f', 'json'))

    def test_a_last_report_that_cannot_be_read_is_told(self):
        self.here(nested='0', options='nested=0', files=OFF)
        (self.base / 'report.json').write_text('{')
        code, _, err = self.ctl('plan')
        self.assertEqual(1, code)
        self.assertIn('report.json', err)

    def test_another_node_is_verified(self):
        code, out, _ = self.ctl('plan', 'node7', '-f', 'value', '-c', 'kind', '-c', 'when')
        self.assertEqual((1, 'write-modprobe-dropin now\nreload-module idle\n'), (code, out))
        self.assertEqual([('verify', 'node7', 60.0)], self.client.calls)

    def test_an_unknown_column(self):
        self.refused(64, 'plan', 'node7', '-c', 'whenever', says='whenever')


class WhenTest(base.BaseTestCase):
    def test_when(self):
        by_hand = dataclasses.replace(DROPIN, kind=ActionKind.BY_HAND)
        for action, found in (
            (DROPIN, 'now'),
            (RELOAD, 'idle'),
            (by_hand, 'by hand'),
            (dataclasses.replace(by_hand, disruption=Disruption.REBOOT), 'reboot'),
        ):
            self.assertEqual(found, when(action))


class RemediateTest(RemediationCase):
    def test_root_has_this_node_fixed(self):
        code, out, err = self.ctl('remediate')
        self.assertEqual((1, ''), (code, err))
        self.assertEqual(
            [('remediate', Trigger.COMMAND, f'bob@{HERE}', False)], self.remediator.calls
        )
        head = 'SKIPPED: kvm_amd is in use by pid 4711 (qemu)  (drifted -> pending; 20'
        self.assertTrue(out.startswith(head), out)
        self.assertIn('| applied | write-modprobe-dropin ', out)
        self.assertIn('| skipped | reload-module ', out)

    def test_it_fits_a_terminal(self):
        out = self.table('remediate')
        self.assertIn('modprobe -D', out)

    def test_the_exit_code_is_the_state_it_left(self):
        for state, code in zip(State, (0, 1, 1, 2, 3, 4), strict=True):
            self.remediator.run = dataclasses.replace(RUN, state_after=state)
            self.assertEqual(code, self.ctl('remediate')[0])

    def test_formats(self):
        self.assertEqual(RUN, Run.from_dict(json.loads(self.ctl('remediate', '-fjson')[1])))
        rows = list(csv.DictReader(io.StringIO(self.ctl('remediate', '-fcsv')[1])))
        self.assertEqual(['applied', 'skipped'], [row['result'] for row in rows])
        self.assertEqual('skipped\n', self.ctl('remediate', '-fvalue', '-cresult')[1])

    def test_others_may_only_look(self):
        self.replace('os.geteuid', lambda: 1000)
        self.refused(77, 'remediate', says='fixing this node takes root')
        self.assertEqual([], self.remediator.calls)
        self.assertEqual(1, self.ctl('remediate', '--noop')[0])
        self.assertTrue(self.remediator.calls[0][3])

    def test_refusals(self):
        for failure, code in (
            (exceptions.RemediationBusyError('another remediation is under way'), 75),
            (exceptions.RemediationError('the journal cannot be written'), 74),
            (exceptions.RecordError('history.json cannot be read'), 74),
        ):
            self.remediator.failure = failure
            self.refused(code, 'remediate', says=str(failure))

    def test_a_pause_is_told_and_does_not_matter(self):
        self.remediator.pause_ = PAUSE
        code, out, err = self.ctl('remediate')
        self.assertEqual(1, code)
        self.assertIn('fixes are paused; this one was asked for', err)
        self.assertIn('SKIPPED', out)

    def test_another_node(self):
        code, out, err = self.ctl('remediate', 'node7', '--noop', '--timeout', '7')
        self.assertEqual((1, ''), (code, err))
        who = {'noop': True, 'who': f'bob@{HERE}'}
        self.assertEqual([('remediate', 'node7', 7.0, who)], self.client.calls)
        self.assertIn('reload-module', out)
        self.ctl('remediate', 'node7')
        self.assertEqual(1800.0, self.client.calls[-1][2])
        self.assertFalse(self.client.calls[-1][3]['noop'])
        self.assertEqual([], self.remediator.calls)

    def test_nobody_has_to_wait_for_another_node(self):
        self.client.failure = KeyboardInterrupt()
        self.refused(130, 'remediate', 'node7', says='"nested-agentctl history node7" tells')

    def test_another_node_refuses(self):
        for failure, code in (
            (exceptions.RemoteNotPermittedError('allow_remote'), 77),
            (exceptions.RemoteBusyError('fixes are paused'), 75),
            (exceptions.RemediationRefusedError('no journal'), 74),
            (exceptions.NoAnswerError('see history'), 69),
        ):
            self.client.failure = failure
            self.refused(code, 'remediate', 'node7', says=str(failure))


class SignalTest(RemediationCase):
    """The handlers are real, and so are the signals: sent by the fake in the middle of a run."""

    def setUp(self):
        super().setUp()
        self.said, self.ends = os.pipe()
        self.addCleanup(os.close, self.said)
        real = os.dup(2)
        os.dup2(self.ends, 2)
        self.addCleanup(os.close, real)
        self.addCleanup(os.close, self.ends)
        self.addCleanup(os.dup2, real, 2)
        # A shell starts what it does not wait for with this one ignored.
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, inherited)

    def send(self, *numbers):
        def during():
            for number in numbers:
                os.kill(os.getpid(), number)
            self.finished = True

        self.finished = False
        self.remediator.during = during

    def test_a_run_is_not_interrupted(self):
        before = [signal.getsignal(each) for each in uninterrupted.SIGNALS]
        for command in (('remediate',), ('revert', '--yes')):
            self.send(*uninterrupted.SIGNALS)
            self.assertEqual(1, self.ctl(*command)[0])
            self.assertTrue(self.finished)
            told = os.read(self.said, 1 << 16).count(uninterrupted.FINISHING)
            self.assertEqual(len(uninterrupted.SIGNALS), told, command)
        self.assertEqual(before, [signal.getsignal(each) for each in uninterrupted.SIGNALS])

    def test_after_a_failure_signals_interrupt_again(self):
        before = signal.getsignal(signal.SIGTERM)
        self.remediator.failure = exceptions.RemediationError('why')
        self.assertEqual(74, self.ctl('remediate')[0])
        self.assertEqual(before, signal.getsignal(signal.SIGTERM))

    def test_a_terminal_that_is_gone_does_not_matter(self):
        self.send(signal.SIGHUP)
        with mock.patch('os.write', side_effect=OSError(5, 'Input/output error')):
            self.assertEqual(1, self.ctl('remediate')[0])
        self.assertTrue(self.finished)

    def test_what_changes_nothing_is_interrupted(self):
        self.send(signal.SIGINT)
        self.assertEqual(130, self.ctl('remediate', '--noop')[0])
        self.assertFalse(self.finished)


class RevertTest(RemediationCase):
    def answer(self, text, terminal=True):
        stdin = mock.Mock(isatty=lambda: terminal, readline=lambda: text)
        return mock.patch('sys.stdin', stdin)

    def test_root_who_is_sure(self):
        self.remediator.run = dataclasses.replace(
            RUN,
            trigger=Trigger.REVERT,
            result=Result.APPLIED,
            message='2 files restored',
            outcomes=RUN.outcomes[:1],
        )
        code, out, err = self.ctl('revert', '--yes')
        self.assertEqual(0, code)
        self.assertEqual([('revert', f'bob@{HERE}')], self.remediator.calls)
        self.assertIn('APPLIED: 2 files restored', out)
        self.assertIn('paused until "nested-agentctl resume"', err)

    def test_the_exit_code_tells_whether_all_is_undone(self):
        for result, code in (
            (Result.APPLIED, 0),
            (Result.NOOP, 0),
            (Result.SKIPPED, 1),
            (Result.ROLLED_BACK, 2),
            (Result.FAILED, 2),
        ):
            self.remediator.run = dataclasses.replace(RUN, result=result, outcomes=())
            self.assertEqual(code, self.ctl('revert', '--yes')[0])
        # Some is done, some waits.
        self.remediator.run = dataclasses.replace(RUN, result=Result.APPLIED)
        self.assertEqual(1, self.ctl('revert', '--yes')[0])

    def test_it_asks(self):
        for text in ('', '\n', 'n\n', 'no\n', 'what?\n'):
            with self.answer(text):
                code, out, err = self.ctl('revert')
            self.assertEqual((64, ''), (code, out))
            self.assertIn('[y/N]', err)
            self.assertIn('nothing was undone', err)
        self.assertEqual([], self.remediator.calls)
        for text in ('y\n', 'Yes\n'):
            with self.answer(text):
                self.assertEqual(1, self.ctl('revert')[0])
        self.assertEqual(2, len(self.remediator.calls))

    def test_without_a_terminal_nobody_can_be_asked(self):
        with self.answer('y\n', terminal=False):
            self.refused(64, 'revert', says='--yes')
        self.assertEqual([], self.remediator.calls)

    def test_others_may_not(self):
        self.replace('os.geteuid', lambda: 1000)
        self.refused(77, 'revert', '--yes', says='takes root')
        self.assertEqual([], self.remediator.calls)


class DurationTest(base.BaseTestCase):
    def test_durations(self):
        for text, seconds in (
            ('90s', 90),
            ('30m', 1800),
            ('2h', 7200),
            ('1d', 86400),
            ('1h30m', 5400),
            ('1d2h3m4s', 93784),
            ('366d', 366 * 86400),
            ('forever', None),
        ):
            self.assertEqual(seconds, duration.duration(text), text)

    def test_what_is_none(self):
        for text in (
            '', '0s', '0', '30', '1.5h', '-1h', 'h', '30m1h', '1h 30m', '1H', '367d', '9' * 5000,
            '9' * 5000 + 'd', '٣m', 'Forever', 's', '1w', '1h\n',
        ):  # fmt: skip
            error = self.assertRaises(argparse.ArgumentTypeError, duration.duration, text)
            self.assertIn('1h30m', str(error))
            self.assertLess(len(str(error)), 200)


class PauseTest(RemediationCase):
    def test_this_node(self):
        code, out, err = self.ctl('pause', '--for', '2h', '--reason', 'new disk', '-fjson')
        self.assertEqual((0, ''), (code, err))
        self.assertEqual([('pause', 7200.0, 'new disk', f'bob@{HERE}')], self.remediator.calls)
        data = json.loads(out)
        self.assertEqual(
            {'since': 1795410000.0, 'until': None, 'reason': 'new disk', 'who': f'bob@{HERE}'}, data
        )

    def test_people_are_shown_times(self):
        out = self.ctl('pause', '--for', 'forever', '--reason', 'new disk')[1]
        self.assertEqual([('pause', None, 'new disk', f'bob@{HERE}')], self.remediator.calls)
        self.assertRegex(out, r'since +\| 2026-11-23 \d\d:\d\d:\d\dZ')
        self.assertRegex(out, r'until +\| resume')

    def test_another_node(self):
        code, out, _ = self.ctl(
            'pause', 'node7', '--for', '30m', '--reason', 'x', '-fvalue', '-cwho'
        )
        self.assertEqual((0, 'alice@control\n'), (code, out))
        call = ('pause', 'node7', 10.0, 1800.0, 'x', f'bob@{HERE}')
        self.assertEqual([call], self.client.calls)

    def test_what_is_not_understood(self):
        for arguments in (
            ['--for', '2h'],
            ['--reason', 'x'],
            ['--for', '2 hours', '--reason', 'x'],
            ['--for', '2h', '--reason', ''],
            ['--for', '2h', '--reason', ' '],
            ['--for', '2h', '--reason', 'a\nb'],
            ['--for', '2h', '--reason', 'x' * 501],
        ):
            self.assertEqual(64, self.ctl('pause', *arguments)[0], arguments)
        self.assertEqual([], self.remediator.calls)

    def test_others_may_not(self):
        self.replace('os.geteuid', lambda: 1000)
        self.refused(77, 'pause', '--for', '2h', '--reason', 'x', says='takes root')
        self.refused(77, 'resume', says='takes root')
        self.assertEqual([], self.remediator.calls)

    def test_what_cannot_be_written_down(self):
        self.remediator.failure = exceptions.RecordError('control.json: No space left on device')
        self.refused(74, 'pause', '--for', '2h', '--reason', 'x', says='control.json')
        self.refused(74, 'resume', says='control.json')


class ResumeTest(RemediationCase):
    def test_this_node(self):
        self.assertEqual((0, f'bob@{HERE}\n', ''), self.ctl('resume', '-fvalue', '-cwho'))
        self.assertEqual([('resume', f'bob@{HERE}')], self.remediator.calls)

    def test_another_node(self):
        self.assertEqual(0, self.ctl('resume', 'node7')[0])
        self.assertEqual([('resume', 'node7', 10.0, f'bob@{HERE}')], self.client.calls)


class HistoryTest(RemediationCase):
    def test_the_table(self):
        out = self.table('history')
        self.assertIn('2026-11-', out)
        self.assertIn('drifted ->', out)
        self.assertIn('4711', out)
        self.assertNotIn('modprobe -D', out)

    def test_long(self):
        out = self.ctl('history', '--long')[1]
        self.assertIn('* applied write-modprobe-dropin /etc/modprobe.d/zz-nested-agent.conf: ', out)
        self.assertIn('* skipped reload-module kvm_amd: pid 4711 (qemu) uses it', out)
        self.assertIn(RUN.id, self.ctl('history', '--long', '-fcsv')[1])

    def test_json_and_yaml_hold_all_there_is(self):
        found = json.loads(self.ctl('history', '-fjson')[1])
        self.assertEqual([RUN], [Run.from_dict(each) for each in found])
        self.assertIn('write-modprobe-dropin', self.ctl('history', '-fyaml')[1])

    def test_a_value_for_scripts(self):
        self.assertEqual('skipped\n', self.ctl('history', '-fvalue', '-cresult')[1])

    def test_the_last_ones(self):
        self.remediator.runs = tuple(
            dataclasses.replace(RUN, id=str(number)) for number in range(30)
        )
        self.assertEqual(20, len(json.loads(self.ctl('history', '-fjson')[1])))
        found = json.loads(self.ctl('history', '-fjson', '--limit', '3')[1])
        self.assertEqual(['0', '1', '2'], [each['id'] for each in found])
        for limit in ('0', '-1', '1001', 'all', '1' * 5000, '²'):
            self.assertEqual(64, self.ctl('history', '--limit', limit)[0], limit)

    def test_nothing_yet(self):
        self.remediator.runs = ()
        self.assertEqual((0, 'nothing was done yet\n', ''), self.ctl('history'))
        self.assertEqual((0, '[]\n', ''), self.ctl('history', '-fjson'))

    def test_one_that_cannot_be_read(self):
        self.remediator.failure = exceptions.RecordError('history.json cannot be understood')
        self.refused(74, 'history', says='history.json')

    def test_what_others_wrote_cannot_speak_to_the_terminal(self):
        self.remediator.runs = (dataclasses.replace(RUN, who='evil\x1b[2J'),)
        for arguments in ((), ('--long',)):
            self.assertNotIn('\x1b', self.ctl('history', *arguments)[1])

    def test_another_node(self):
        code, out, _ = self.ctl('history', 'node7', '--limit', '5', '-fvalue', '-cwho')
        self.assertEqual((0, 'alice@control\n'), (code, out))
        self.assertEqual([('history', 'node7', 10.0, 5)], self.client.calls)


class WhoTest(base.BaseTestCase):
    def who(self, environ, getuser):
        with (
            mock.patch.dict(os.environ, environ, clear=True),
            mock.patch('getpass.getuser', side_effect=getuser),
        ):
            return this_node.who()

    def test_who(self):
        self.assertEqual(f'bob@{HERE}', self.who({'SUDO_USER': 'bob'}, ['root']))
        self.assertEqual(f'alice@{HERE}', self.who({}, ['alice']))
        self.assertEqual(f'{os.getuid()}@{HERE}', self.who({}, KeyError('uid not found')))
        self.assertEqual(f'ab@{HERE}', self.who({'SUDO_USER': 'a\x1bb\n'}, []))
        self.assertEqual(100, len(self.who({'SUDO_USER': 'x' * 500}, [])))


class ReportTableTest(RemediationCase):
    def status(self, remediation, *arguments, **changes):
        stored = state_file.Stored(report(remediation=remediation, **changes), 60.0)
        state_file.write(self.base, stored)
        return self.ctl('status', *arguments)[1]

    def test_nothing_to_say(self):
        self.assertTrue(self.status(None).endswith('+\n'))
        self.assertTrue(self.status(Remediation('noop')).endswith('+\n'))

    def test_a_pause_and_the_last_run(self):
        *_, table_end, empty, pause, run = self.status(
            Remediation('enforce', pause=PAUSE, last_run=RUN)
        ).splitlines()
        self.assertTrue(table_end.endswith('+'))
        self.assertEqual('', empty)
        self.assertEqual(
            'Paused until "nested-agentctl resume" by alice@control: maintenance of the rack', pause
        )
        self.assertTrue(re.match(r'Last run: 2026-11-\d\d .*Z, command by alice@control: sk', run))
        out = self.status(Remediation('enforce', pause=dataclasses.replace(PAUSE, until=1.8e9)))
        self.assertIn('Paused until 2027-01-15 08:00:00Z by', out)

    def test_the_plan_says_when(self):
        out = self.status(None, state=State.PENDING, plan=(DROPIN, RELOAD))
        self.assertRegex(out, r'\| now +\| write-modprobe-dropin +\|')
        self.assertRegex(out, r'\| idle +\| reload-module +\|')


class UnknownHostTest(RemediationCase):
    def test_host_names(self):
        for command in (
            ['plan'], ['remediate'], ['resume'], ['history'], ['pause', '--for=1h', '--reason=x'],
        ):  # fmt: skip
            for name in ('a b', 'x' * (remote.HOST_LENGTH + 1), ''):
                self.assertEqual(64, self.ctl(*command, name)[0], (command, name))
        self.assertEqual([], self.client.calls)
