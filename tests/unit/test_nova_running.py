"""What nova-compute is known to run with, from report to report."""

import errno
import json
import os
import time
from unittest import mock

import fixtures

from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.intel import IntelDriver
from nested_agent.model import Report
from nested_agent.node import nova_config
from nested_agent.node.observe import Sources
from nested_agent.policy import Nested, Policy
from nested_agent.report import make_report
from tests.unit.nodes import amd, nova_process
from tests.unit.test_nova_process import ID
from tests.unit.test_verify import LATER, NodeTestCase

DRIVERS = loader.Loaded((AMDDriver(), IntelDriver()), ())
CONF = '/etc/nova/nova.conf'
GOOD = '[libvirt]\nvirt_type = kvm\ncpu_mode = host-passthrough\n'
FLAG = '[libvirt]\ncpu_mode = host-model\ncpu_model_extra_flags = svm\n'
#: After the start of the process: a year from now.
CHANGED = 365 * 86400


class RunningTest(NodeTestCase):
    def setUp(self):
        super().setUp()
        nova_config._Memory.last = None
        self.node = amd(files=nova_process(ticks=LATER))
        self.tree = self.node.root(self)

    def again(self, previous=None, policy=None):
        """Return the next report, given the last one as a state file brings it back."""
        if previous is not None:
            previous = Report.from_dict(json.loads(json.dumps(previous.to_dict())))
        return make_report(self.tree, DRIVERS, Sources(), policy or Policy(), previous)

    def write(self, text, path=CONF):
        file = self.tree.path(path)
        file.write_text(text)
        moment = file.stat().st_mtime + CHANGED
        os.utime(file, (moment, moment))

    def write_process(self, ticks):
        for name, content in nova_process(ticks=ticks).items():
            if not content.startswith('-> '):
                self.tree.path(name).write_text(content)

    def judged(self, report, type_='NovaConfigCurrent'):
        condition = self.conditions(report)[type_]
        return f'{condition.status}/{condition.reason}'

    def test_a_file_written_with_the_same_values(self):
        first = self.again()
        self.assertEqual(700, first.nova_running.pid)
        self.assertEqual('host-passthrough', first.nova_running.settings['libvirt.cpu_mode'])
        self.write(f'# a comment\n\n{GOOD}')
        second = self.again(first)
        self.assertEqual('True/SameValues', self.judged(second))
        self.assertEqual(('compliant', ()), (second.state, second.plan))
        self.assertEqual(first.nova_running, second.nova_running)

    def test_other_values_need_a_restart(self):
        first = self.again()
        self.write(FLAG)
        second = self.again(first)
        self.assertEqual('False/RestartNeeded', self.judged(second))
        self.assertEqual('drifted', second.state)
        self.assertEqual(['restart-nova-compute'], [each.kind for each in second.plan])
        self.assertIn(
            'libvirt.cpu_mode, libvirt.cpu_model_extra_flags of the running one differ',
            self.conditions(second)['NovaConfigCurrent'].message,
        )
        # It still runs with the old ones.
        third = self.again(second)
        self.assertEqual('False/RestartNeeded', self.judged(third))
        self.assertEqual(first.nova_running, third.nova_running)

    def test_no_restart_while_the_module_does_not_nest(self):
        first = self.again()
        self.write(FLAG)
        self.tree.path('/sys/module/kvm_amd/parameters/nested').write_text('0\n')
        report = self.again(first)
        self.assertEqual('Unknown/WitnessesDisagree', self.judged(report, 'NestedRuntime'))
        self.assertEqual('False/RestartNeeded', self.judged(report))
        self.assertEqual((), report.plan)

    def test_nothing_is_known_without_a_baseline(self):
        self.write(GOOD)
        report = self.again()
        self.assertEqual('Unknown/ChangedSinceStart', self.judged(report))
        self.assertEqual(('unknown', ()), (report.state, report.plan))
        self.assertEqual({}, report.nova_running.settings)

    def test_another_process_is_known_by_its_own_files(self):
        first = self.again()
        self.write(FLAG)
        self.write_process(ticks=LATER + 500)
        report = self.again(first)
        self.assertEqual('Unknown/ChangedSinceStart', self.judged(report))
        self.assertEqual({}, report.nova_running.settings)
        self.write_process(ticks=LATER + 2 * CHANGED * 100)
        report = self.again(first)
        self.assertEqual('True/StartedAfterChange', self.judged(report))
        self.assertEqual('host-model', report.nova_running.settings['libvirt.cpu_mode'])

    def test_another_pid_forgets(self):
        first = self.again()
        self.write(FLAG)
        self.tree.path('/proc/700').rename(self.tree.base / 'proc/701')
        self.assertEqual({}, self.again(first).nova_running.settings)

    def test_what_was_known_first_stays(self):
        # As if a file had been taken away without a trace: none is younger than the process.
        first = self.again()
        path = self.tree.path('/etc/nova/nova-compute.conf')
        path.write_text('[DEFAULT]\ncompute_driver=libvirt.LibvirtDriver\n[libvirt]\n' + FLAG[10:])
        report = self.again(first)
        self.assertEqual('False/RestartNeeded', self.judged(report))
        self.assertEqual(first.nova_running, report.nova_running)

    def step(self, seconds):
        """Set the clock, by so much."""
        now = time.time
        self.useFixture(fixtures.MonkeyPatch('time.time', lambda: now() + seconds))

    def test_a_clock_set_forward_hides_no_change(self):
        first = self.again()
        self.write(FLAG)
        second = self.again(first)
        self.step(2 * CHANGED)
        third = self.again(second)
        self.assertEqual('False/RestartNeeded', self.judged(third))
        self.assertEqual(first.nova_running, third.nova_running)

    def test_a_clock_set_forward_makes_nothing_known(self):
        self.write(FLAG)
        first = self.again()
        self.step(2 * CHANGED)
        second = self.again(first)
        self.assertEqual('Unknown/ChangedSinceStart', self.judged(second))
        message = self.conditions(second)['NovaConfigCurrent'].message
        self.assertIn('files of nova-compute (pid 700) were changed or taken away', message)

    def test_a_clock_set_back_forgets_nothing(self):
        first = self.again()
        self.step(-CHANGED)
        second = self.again(first)
        self.assertEqual('True/SameValues', self.judged(second))
        self.assertEqual(first.nova_running, second.nova_running)

    def test_another_boot_forgets(self):
        first = self.again()
        self.write(FLAG)
        self.tree.path('/proc/sys/kernel/random/boot_id').write_text('another\n')
        self.assertEqual('Unknown/ChangedSinceStart', self.judged(self.again(first)))

    def test_a_report_of_an_older_release(self):
        first = self.again()
        plain = first.to_dict()
        del plain['nova_running']['ticks']
        self.write(FLAG)
        report = self.again(Report.from_dict({**plain, 'schema_version': '1.2'}))
        self.assertEqual('False/RestartNeeded', self.judged(report))
        self.assertEqual(first.nova_running.ticks, report.nova_running.ticks)
        plain['nova_running']['started'] -= 3600
        report = self.again(Report.from_dict({**plain, 'schema_version': '1.2'}))
        self.assertEqual('Unknown/ChangedSinceStart', self.judged(report))

    def test_an_invalid_file(self):
        first = self.again()
        self.write('[libvirt\n')
        report = self.again(first)
        self.assertEqual('Unknown/ConfigInvalid', self.judged(report))
        self.assertEqual(['by-hand'], [each.kind for each in report.plan])
        self.assertEqual(first.nova_running, report.nova_running)

    def test_an_invalid_option_is_not_restarted_into(self):
        first = self.again()
        self.write(f'{FLAG}virt_type = KVM\n')
        report = self.again(first)
        self.assertEqual('Unknown/ConfigInvalid', self.judged(report))
        self.assertEqual(['by-hand'], [each.kind for each in report.plan])

    def test_settings_that_nova_refuses_are_not_restarted_into(self):
        self.tree.path('/proc/700/environ').write_text('OS_LIBVIRT__CPU_MODELS=EPYC\0')
        self.tree.path(CONF).write_text(FLAG.replace('host-model', 'custom'))
        first = self.again()
        self.assertEqual('True/FlagRequired', self.judged(first, 'GuestCPU'))
        self.write(FLAG)
        report = self.again(first)
        self.assertEqual('False/ModelsLeftBehind', self.judged(report, 'GuestCPU'))
        self.assertEqual('False/RestartNeeded', self.judged(report))
        self.assertEqual(['by-hand'], [each.kind for each in report.plan])

    def test_a_nova_compute_without_libvirt_is_left_alone(self):
        first = self.again()
        self.write(
            '[DEFAULT]\ncompute_driver = ironic.IronicDriver\n', '/etc/nova/nova-compute.conf'
        )
        report = self.again(first)
        self.assertEqual('Unknown/NotLibvirt', self.judged(report, 'GuestCPU'))
        self.assertEqual((), report.plan)

    def test_an_option_that_cannot_be_resolved_is_not_the_same(self):
        first = self.again()
        self.write(f'{GOOD}cpu_model_extra_flags = $my_ip\n')
        self.assertEqual('Unknown/ChangedSinceStart', self.judged(self.again(first)))

    def test_an_unreadable_environment_compares_with_nothing(self):
        first = self.again()
        self.write(FLAG)
        real = self.tree.read_bytes

        def refusing(name, *limit):
            if name == '/proc/700/environ':
                raise PermissionError(errno.EACCES, 'Permission denied')
            return real(name, *limit)

        with mock.patch.object(self.tree, 'read_bytes', refusing):
            report = self.again(first)
            self.assertEqual('Unknown/ChangedSinceStart', self.judged(report))
            self.assertIsNone(self.again().nova_running)
        self.assertEqual(first.nova_running, report.nova_running)

    def test_a_process_title_hides_the_environment(self):
        self.tree.path('/proc/700/cmdline').write_text('nova-compute: worker(0)\0')
        self.tree.path('/proc/700/environ').write_text('orker(0)' + '\0' * 36)
        report = self.again()
        for type_ in ('GuestCPU', 'VirtType'):
            self.assertEqual('Unknown/Unreadable', self.judged(report, type_))
            self.assertIn('process title', self.conditions(report)[type_].message)
        self.assertEqual(('unknown', ()), (report.state, report.plan))
        self.assertIsNone(report.nova_running)

    def test_a_file_taken_out_of_a_directory(self):
        drop_in = '/etc/nova/nova.conf.d/10.conf'
        self.tree.path('/etc/nova/nova.conf.d').mkdir()
        self.write(FLAG, drop_in)
        os.utime(self.tree.path(drop_in), (1, 1))
        first = self.again()
        self.assertEqual('True/StartedAfterChange', self.judged(first))
        directory = self.tree.path('/etc/nova/nova.conf.d')
        self.tree.path(drop_in).unlink()
        moment = directory.stat().st_mtime + CHANGED
        os.utime(directory, (moment, moment))
        alone = self.again()
        self.assertEqual('Unknown/ChangedSinceStart', self.judged(alone))
        message = self.conditions(alone)['NovaConfigCurrent'].message
        self.assertIn('/etc/nova/nova.conf.d was changed', message)

    def test_files_that_are_all_gone(self):
        argv = '/usr/bin/nova-compute\0'
        self.tree.path('/proc/700/cmdline').write_text(argv)
        for path in (CONF, '/etc/nova/nova-compute.conf'):
            self.tree.path(path).unlink()
        self.tree.path('/etc/nova').rmdir()
        self.assertEqual('Unknown/FilesGone', self.judged(self.again()))

    def test_no_restart_for_another_one_too(self):
        first = self.again()
        self.write(FLAG)
        for name, content in nova_process(800, ticks=LATER).items():
            file = self.tree.base / name.lstrip('/')
            file.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith('-> '):
                file.symlink_to(content[3:])
            else:
                file.write_text(content)
        report = self.again(first)
        self.assertEqual('Unknown/SeveralRunning', self.judged(report))
        self.assertEqual((), report.plan)

    def test_disabled_restarts_too(self):
        self.tree.path('/sys/module/kvm_amd/parameters/nested').write_text('0\n')
        first = self.again()
        self.write('[libvirt]\ncpu_mode = host-model\n')
        report = self.again(first, Policy(Nested.DISABLED))
        self.assertIn('restart-nova-compute', [each.kind for each in report.plan])


class StartScriptTest(NodeTestCase):
    """A container whose start script copies the files and then becomes nova-compute, as Kolla's."""

    #: Half a minute ago, on a node that is up 5000 s; the files were written since.
    JUST_NOW = 497000
    LONG_AGO = 490000

    def setUp(self):
        super().setUp()
        nova_config._Memory.last = None

    def container(self, ticks, run_command='/run_command'):
        return {
            **nova_process(ticks=ticks),
            '/proc/700/cgroup': f'0::/system.slice/docker-{ID}.scope\n',
            '/proc/700/root': '-> /merged',
            '/etc/nova/nova.conf': None,
            '/etc/nova/nova-compute.conf': None,
            '/merged/etc/nova/nova.conf': GOOD,
            '/merged/etc/nova/nova-compute.conf': '',
            f'/merged{run_command}': 'nova-compute',  # the last it writes
        }

    def known(self, root):
        """Return the verdict on NovaConfigCurrent, and what nova-compute is known to run with."""
        report = make_report(root, DRIVERS, Sources(), Policy())
        condition = self.conditions(report)['NovaConfigCurrent']
        return f'{condition.status}/{condition.reason}', report.nova_running.settings

    def assert_not_known(self, root):
        self.assertEqual(('Unknown/ChangedSinceStart', {}), self.known(root))

    def test_files_that_were_copied_before_it_became_nova_compute(self):
        judged, settings = self.known(amd(files=self.container(self.JUST_NOW)).root(self))
        self.assertEqual('True/StartedAfterChange', judged)
        self.assertEqual('host-passthrough', settings['libvirt.cpu_mode'])

    def test_a_later_copy_was_not_read(self):
        self.assert_not_known(amd(files=self.container(self.LONG_AGO)).root(self))

    def test_a_container_without_such_a_script(self):
        files = self.container(self.JUST_NOW, run_command='/another_command')
        self.assert_not_known(amd(files=files).root(self))

    def test_a_file_that_was_changed_after_the_copy(self):
        root = amd(files=self.container(self.JUST_NOW)).root(self)
        file = root.path('/merged/etc/nova/nova.conf')
        moment = file.stat().st_mtime + 1
        os.utime(file, (moment, moment))
        self.assert_not_known(root)

    def test_a_host_has_no_such_script(self):
        files = {**nova_process(ticks=self.JUST_NOW), '/run_command': 'nova-compute'}
        self.assert_not_known(amd(files=files).root(self))
