"""nova-compute stopped and started under a systemd that behaves as the real one."""

import dataclasses
import json
from typing import Any

from oslotest import base

from nested_agent.actions.nova_compute import StartNova, StopNova
from nested_agent.exceptions import BusyError, StepError
from tests.unit.simulated import SimulatedNode
from tests.unit.simulated_systemd import UNIT, UNIT_FILE

CONF = '/etc/nova/nova.conf'
PASSWORD = 'hunter2'


class NovaCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.node = SimulatedNode(self)
        self.process: Any = self.node.look().observation.nova.process

    def step(self, kind, **changes):
        process = dataclasses.replace(self.process, **changes)
        return kind(self.node.site(), (), process)

    def begun(self, kind):
        """Return a step about to be applied, and its record as the journal gives it back."""
        step = self.step(kind)
        step.precheck()
        return step, json.loads(json.dumps(step.record()))

    def stop(self):
        step, record = self.begun(StopNova)
        step.apply()
        return record, step.verify()

    def undo(self, record, kind=StopNova, rebooted=False):
        return kind.undo(self.node.site(), record, rebooted=rebooted)

    def refuse(self):
        self.node.systemd.refuses = lambda data: 'bad' if b'bad' in data else None
        self.node.write({CONF: f'[database]\nconnection = {PASSWORD}\nbad\n'})


class StopTest(NovaCase):
    def test_it_is_stopped(self):
        _, said = self.stop()
        self.assertEqual(f'{UNIT} is stopped', said)
        self.assertEqual('inactive', self.node.systemd.active)

    def refused(self, *words, error=StepError, **changes):
        found = self.assertRaises(error, self.step(StopNova, **changes).precheck)
        for each in words:
            self.assertIn(each, str(found))
        self.assertEqual(0, self.node.systemd.stops)
        return found

    def test_no_unit(self):
        words = (f'(pid {self.process.pid}) is not run by a systemd unit', 'by hand')
        self.refused(*words, error=BusyError, unit=None)

    def test_no_systemd(self):
        (self.node.root.base / 'usr/bin/systemctl').unlink()
        self.refused('no systemctl', 'by hand')

    def test_a_unit_file_that_is_gone(self):
        (self.node.root.base / UNIT_FILE.lstrip('/')).unlink()
        self.refused('could not be started again', UNIT_FILE)

    def test_a_unit_systemd_does_not_know_any_more(self):
        self.node.systemd.properties = {'LoadState': 'not-found', 'FragmentPath': ''}
        self.refused('LoadState=not-found')

    def test_masked_while_it_runs(self):
        self.node.systemd.properties = {'LoadState': 'masked'}
        self.refused('LoadState=masked')

    def test_masked_and_systemd_not_told(self):
        path = self.node.root.base / UNIT_FILE.lstrip('/')
        path.unlink()
        # A tree has no /dev/null; what counts is that it leads to no regular file.
        path.symlink_to('/proc')
        self.refused('could not be started again')

    def test_a_transient_unit(self):
        self.node.systemd.properties = {'Transient': 'yes'}
        self.refused('transient')

    def test_a_unit_that_refuses_manual_starts(self):
        for name in ('CanStart', 'CanStop'):
            self.node.systemd.properties = {name: 'no'}
            self.refused('refuses')

    def test_not_active(self):
        self.node.systemd.die(1, self.node.now)
        self.refused('failed (failed), not running')

    def test_still_starting_is_no_failure(self):
        self.node.systemd.properties = {'ActiveState': 'activating', 'SubState': 'start'}
        self.refused('still starting', error=BusyError)

    def test_a_unit_that_is_about_something_else(self):
        files = {'/lib/systemd/system/agent.service': '[Service]\n'}
        self.node.write(files)
        self.node.systemd.units['agent.service'] = {
            'LoadState': 'loaded',
            'ActiveState': 'active',
            'SubState': 'running',
            'MainPID': '5',
            'FragmentPath': next(iter(files)),
        }
        self.refused('agent.service', 'is not what that is for', unit='agent.service')

    def test_units_that_would_be_stopped_with_it(self):
        self.node.systemd.properties = {'RequiredBy': 'a.service', 'ConsistsOf': 'b.service'}
        self.step(StopNova).precheck()
        self.node.systemd.units['b.service'] = {'ActiveState': 'active'}
        self.refused('b.service would be stopped')

    def test_stopped_by_somebody_meanwhile(self):
        step = self.step(StopNova)
        step.precheck()
        self.node.systemd.systemctl(['stop', UNIT], self.node.now)
        error = self.assertRaises(StepError, step.record)
        self.assertIn('not stopped by us', str(error))

    def test_one_that_ends_badly_is_down_as_well(self):
        step, _ = self.begun(StopNova)
        step.apply()
        self.node.systemd.active = 'failed'
        step.verify()

    def test_a_stop_that_hangs(self):
        self.node.hangs = {'stop'}
        step, record = self.begun(StopNova)
        error = self.assertRaises(StepError, step.apply)
        self.assertIn('Timeout', str(error))
        self.node.hangs = set()
        self.assertEqual(f'{UNIT} was not stopped', self.undo(record))

    def test_a_process_that_stays_behind(self):
        step, _ = self.begun(StopNova)
        self.node.systemd.kill = lambda pid: None
        step.apply()
        error = self.assertRaises(StepError, step.verify)
        self.assertIn('still runs', str(error))

    def test_one_that_somebody_starts_at_once(self):
        step, _ = self.begun(StopNova)
        step.apply()
        self.node.systemd.spawn(self.node.now)
        error = self.assertRaises(StepError, step.verify)
        self.assertIn('although it was stopped', str(error))


class UndoStopTest(NovaCase):
    def test_it_is_started_again(self):
        record, _ = self.stop()
        said = self.undo(record)
        self.assertEqual(1, len(self.node.starts))
        self.assertEqual(f'{UNIT} is up (pid {self.node.systemd.pid}, for 30 s)', said)

    def test_it_was_not_stopped_yet(self):
        _, record = self.begun(StopNova)
        self.assertEqual(f'{UNIT} was not stopped', self.undo(record))
        self.assertEqual([], self.node.starts)

    def test_it_may_be_called_again(self):
        record, _ = self.stop()
        self.undo(record)
        self.undo(record)
        self.assertEqual('active', self.node.systemd.active)

    def test_one_started_meanwhile_reads_what_was_put_back(self):
        record, _ = self.stop()
        self.node.write({CONF: 'new'})
        self.node.systemd.spawn(self.node.now)
        self.node.write({CONF: 'old'})
        self.undo(record)
        self.assertEqual(b'old', self.node.starts[-1][CONF])

    def test_after_a_boot_one_that_runs_is_restarted(self):
        record, _ = self.stop()
        self.node.write({CONF: 'new'})
        self.node.reboot()
        self.node.write({CONF: 'old'})
        self.undo(record, rebooted=True)
        self.assertEqual(b'old', self.node.starts[-1][CONF])

    def test_after_a_boot_one_that_does_not_run_is_left_alone(self):
        record, _ = self.stop()
        self.node.reboot()
        self.node.systemd.systemctl(['stop', UNIT], self.node.now)
        starts = len(self.node.starts)
        self.undo(record, rebooted=True)
        self.assertEqual(starts, len(self.node.starts))

    def test_a_start_limit_does_not_keep_it_down(self):
        record, _ = self.stop()
        self.undo(record)
        orders = [each.split()[1] for each in self.node.root.ran if 'systemctl' in each]
        self.assertLess(orders.index('reset-failed'), orders.index('restart'))

    def test_it_does_not_come_up(self):
        record, _ = self.stop()
        self.refuse()
        error = self.assertRaises(StepError, self.undo, record)
        self.assertIn(f'journalctl -u {UNIT}', str(error))


class StartTest(NovaCase):
    def setUp(self):
        super().setUp()
        self.stop()

    def fails(self, *words):
        step, record = self.begun(StartNova)
        try:
            step.apply()
            step.verify()
        except StepError as error:
            said = str(error)
        else:
            self.fail('it came up')
        for each in (UNIT, *words):
            self.assertIn(each, said)
        self.assertNotIn(PASSWORD, said)
        return record

    def test_it_is_started_once_and_watched(self):
        before = self.node.now
        step, _ = self.begun(StartNova)
        step.apply()
        self.assertEqual(f'{UNIT} is up (pid {self.node.systemd.pid}, for 30 s)', step.verify())
        self.assertEqual(1, len(self.node.starts))
        self.assertGreaterEqual(self.node.now - before, 30)
        self.assertGreaterEqual(self.node.beats, 30)

    def test_a_configuration_it_refuses(self):
        self.refuse()
        record = self.fails('failed', 'Result=exit-code', 'exit status 1', 'journalctl -u')
        self.undo(record, StartNova)
        self.assertEqual(1, len(self.node.starts))

    def test_it_ends_late_in_the_window(self):
        self.refuse()
        self.node.systemd.dies_after = 28.0
        self.fails('exit status 1')

    def test_a_unit_that_restarts_in_a_loop(self):
        self.refuse()
        self.node.systemd.restart = 'always'
        for seconds in (0.05, 3.0, 29.95):
            self.node.systemd.dies_after = seconds
            record = self.fails('journalctl -u')
            self.undo(record, StartNova)
            self.assertEqual('inactive', self.node.systemd.active)

    def test_a_restart_to_come_is_not_waited_for(self):
        self.refuse()
        self.node.systemd.restart = 'always'
        self.node.systemd.dies_after, self.node.systemd.restart_after = 0.0, 120.0
        begun = self.node.now
        self.node.after = lambda shown: self.node.sleep(0) if ' restart ' in shown else None
        self.fails('activating (auto-restart), Result=exit-code, exit status 1')
        self.assertLess(self.node.now - begun, 30)

    def test_one_restart_in_the_window_is_one_too_many(self):
        step, _ = self.begun(StartNova)
        step.apply()
        systemd = self.node.systemd
        systemd.restart = 'always'
        systemd.dies_at = self.node.now + 2.5
        error = self.assertRaises(StepError, step.verify)
        self.assertIn('does not stay up', str(error))

    def test_one_that_ends_well_has_ended_all_the_same(self):
        step, _ = self.begun(StartNova)
        step.apply()
        self.node.systemd.die(0, self.node.now)
        error = self.assertRaises(StepError, step.verify)
        self.assertIn('inactive (dead), Result=success, exit status 0', str(error))

    def test_one_that_has_no_process(self):
        self.node.systemd.properties = {'SubState': 'exited', 'MainPID': '0'}
        self.fails('active (exited)')

    def test_it_takes_long_to_start(self):
        self.node.systemd.ready_after = 90.0
        step, _ = self.begun(StartNova)
        step.apply()
        self.assertIn('is up', step.verify())

    def test_it_takes_long_after_systemctl_has_answered(self):
        step, _ = self.begun(StartNova)
        step.apply()
        self.node.systemd.active, self.node.systemd.sub = 'activating', 'start-post'
        self.node.systemd.ready_at = self.node.now + 100
        self.assertIn('is up', step.verify())

    def test_it_refuses_while_systemd_waits_for_it(self):
        self.refuse()
        self.node.systemd.ready_after = 10.0
        self.fails('failed because the control process', 'exit status 1')

    def test_it_never_is_ready(self):
        self.node.systemd.ready_after = 1e6
        record = self.fails('Timeout', 'activating (start)')
        self.undo(record, StartNova)
        self.assertEqual('inactive', self.node.systemd.active)

    def test_a_job_that_systemd_queues_for_ever(self):
        self.node.hangs = {'restart'}
        self.fails('Timeout')

    def test_the_unit_vanished_while_it_was_stopped(self):
        (self.node.root.base / UNIT_FILE.lstrip('/')).unlink()
        self.fails('not found')

    def test_a_boot_s_start_is_not_stopped(self):
        _, record = self.begun(StartNova)
        self.node.reboot()
        self.assertIn('left to the boot', self.undo(record, StartNova, rebooted=True))
        self.assertEqual('active', self.node.systemd.active)
