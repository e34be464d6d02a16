"""nova-compute's files edited as the plan says, on nodes of every layout."""

import os
import stat

from oslotest import base

from nested_agent.actions import nova_file
from nested_agent.exceptions import StepError
from nested_agent.facts import Unread
from nested_agent.model import ActionKind
from nested_agent.policy import FixCPUMode, Nested, Policy
from tests.unit.edited_node import EditedNode
from tests.unit.nodes import amd, intel, nova_process

CONF = '/etc/nova/nova.conf'
COMPUTE = '/etc/nova/nova-compute.conf'
OWN = '/etc/nova/nova-compute.conf.d/zz-nested-agent.conf'
RUNNING = nova_process(ticks=500100)
DISABLED = Policy(Nested.DISABLED)
KEEP = Policy(fix_cpu_mode=FixCPUMode.KEEP)


def process(*arguments: str, **more: str | None) -> dict[str, str | None]:
    """Return the files of a nova-compute that was started with some arguments."""
    argv = ['/usr/bin/python3', '/usr/bin/nova-compute', *arguments]
    return {**RUNNING, '/proc/700/cmdline': '\0'.join([*argv, '']), **more}


class NovaFileTestCase(base.BaseTestCase):
    def node(self, files, policy=None, vendor=amd, **sources):
        return EditedNode(self, vendor(files={**RUNNING, **files}), policy, **sources)

    def edited(self, files, policy=None, vendor=amd):
        """Return a node after the edits of its plan, judged to be mended."""
        node = self.node(files, policy, vendor)
        node.kept(node.edits())
        found = {each.type.value: each for each in node.judged().report.conditions}
        for name in ('GuestCPU', 'VirtType'):
            self.assertEqual('True', found[name].status, found[name].message)
        self.assertEqual([], node.edits())
        return node


class EditTest(NovaFileTestCase):
    def test_a_mode_is_set_where_it_is_in_force(self):
        node = self.edited({CONF: '[libvirt]\ncpu_mode = host-model\n# end\n'})
        self.assertEqual('[libvirt]\ncpu_mode = host-passthrough\n# end\n', node.text(CONF))

    def test_models_left_behind_go_from_every_file(self):
        node = self.edited(
            {
                CONF: '[libvirt]\ncpu_mode = custom\ncpu_model = A\n',
                COMPUTE: '[libvirt]\nvirt_type = kvm\ncpu_models = Nehalem,\n EPYC\n',
            }
        )
        self.assertEqual('[libvirt]\ncpu_mode = host-passthrough\n', node.text(CONF))
        self.assertEqual('[libvirt]\nvirt_type = kvm\n', node.text(COMPUTE))

    def test_the_flag_is_merged(self):
        node = self.edited(
            {CONF: '[libvirt]\ncpu_mode = host-model\ncpu_model_extra_flags = pcid,+SSBD\n'}, KEEP
        )
        self.assertIn('cpu_model_extra_flags = pcid,+SSBD,svm\n', node.text(CONF))

    def test_virt_type(self):
        node = self.edited({CONF: '[libvirt]\nvirt_type = qemu\ncpu_mode=none\n'})
        self.assertEqual('[libvirt]\nvirt_type = kvm\ncpu_mode=host-passthrough\n', node.text(CONF))

    def test_disabled(self):
        flags = '[libvirt]\ncpu_mode = host-model\ncpu_model_extra_flags = '
        node = self.edited({CONF: f'{flags}vmx,pcid\n'}, DISABLED, intel)
        self.assertEqual(f'{flags}pcid\n', node.text(CONF))

    def test_links_to_one_file(self):
        text = '[libvirt]\ncpu_mode = custom\ncpu_models = A\n'
        node = self.node({CONF: text, COMPUTE: '-> nova.conf'})
        steps = node.edits()
        self.assertEqual(1, len(steps))
        node.kept(steps)
        self.assertEqual('[libvirt]\ncpu_mode = host-passthrough\n', node.text(CONF))
        self.assertEqual([CONF], [each.path for each in node.changes.files()])

    def test_what_is_said(self):
        node = self.node({CONF: '[libvirt]\ncpu_mode = custom\ncpu_models = A\n'})
        (step,) = node.edits()
        step.precheck()
        step.record()
        step.apply()
        self.assertEqual(
            f'{CONF} has libvirt.cpu_mode = host-passthrough, no libvirt.cpu_models', step.verify()
        )

    def test_undone(self):
        text = '[libvirt]\r\ncpu_mode = custom\r\ncpu_models = A'
        compute = '[libvirt]\ncpu_models = B'
        node = self.node({CONF: text, COMPUTE: compute})
        for step, record in reversed(node.done(node.edits())):
            step.undo(node.site, record, rebooted=False)
        self.assertEqual((text, compute), (node.text(CONF), node.text(COMPUTE)))

    def test_only_some_of_the_plan(self):
        node = self.node({CONF: '[libvirt]\ncpu_mode = host-model\n'})
        judged = node.judged()
        self.assertEqual([], nova_file.steps(node.site, judged, []))
        self.assertEqual(1, len(nova_file.steps(node.site, judged)))


class DirectoryTest(NovaFileTestCase):
    """An option that is set nowhere goes where the deployment keeps such things."""

    ARGUMENTS = (f'--config-file={CONF}', '--config-dir=/etc/nova/nova-compute.conf.d')
    DROP_IN = '/etc/nova/nova-compute.conf.d/20-site.conf'
    NOTHING = '[libvirt]\nvirt_type = kvm\n'

    def files(self, drop_in=DROP_IN, text='[DEFAULT]\n'):
        return process(*self.ARGUMENTS, **{CONF: self.NOTHING, drop_in: text})

    def test_a_file_of_our_own_behind_the_others(self):
        node = self.node(self.files())
        (node.base / self.DROP_IN[1:]).chmod(0o640)
        before = node.text(self.DROP_IN)
        node.kept(node.edits())
        self.assertTrue(node.text(OWN).endswith('\n[libvirt]\ncpu_mode = host-passthrough\n'))
        mode = (node.base / OWN[1:]).stat().st_mode
        self.assertEqual(0o640, stat.S_IMODE(mode))
        self.assertEqual((before, self.NOTHING), (node.text(self.DROP_IN), node.text(CONF)))
        self.assertEqual([], node.edits())

    def test_it_is_edited_again(self):
        node = self.node(self.files())
        node.kept(node.edits())
        node.policy = Policy(cpu_mode='host-model')
        node.kept(node.edits())
        self.assertIn('cpu_mode = host-model\ncpu_model_extra_flags = svm\n', node.text(OWN))

    def test_where_it_is_set_it_is_changed(self):
        node = self.node(self.files(text='[libvirt]\ncpu_mode = host-model\n'))
        node.kept(node.edits())
        self.assertFalse((node.base / OWN[1:]).exists())
        self.assertIn('host-passthrough', node.text(self.DROP_IN))

    def test_not_where_another_file_would_be_read_after_it(self):
        last = '/etc/nova/nova-compute.conf.d/zzz.conf'
        node = self.node(self.files(last))
        node.kept(node.edits())
        self.assertIn('host-passthrough', node.text(last))

    def test_not_for_a_directory_that_is_not_read_last(self):
        arguments = reversed(self.ARGUMENTS)
        files = {CONF: self.NOTHING, self.DROP_IN: '[DEFAULT]\n'}
        node = self.node(process(*arguments, **files))
        node.kept(node.edits())
        self.assertIn('host-passthrough', node.text(CONF))

    def test_not_for_a_file_that_is_named_itself(self):
        files = {CONF: self.NOTHING, self.DROP_IN: '[DEFAULT]\n'}
        arguments = (f'--config-file={CONF}', f'--config-file={self.DROP_IN}')
        node = self.node(process(*arguments, **files))
        node.kept(node.edits())
        self.assertIn('host-passthrough', node.text(self.DROP_IN))

    def test_while_nova_compute_is_stopped(self):
        files = dict.fromkeys(RUNNING) | {CONF: self.NOTHING, self.DROP_IN: '[x]\n'}
        node = self.node(
            files,
            nova_files=[CONF],
            nova_directories=['/etc/nova/nova-compute.conf.d'],
        )
        node.kept(node.edits())
        self.assertIn('host-passthrough', node.text(OWN))

    def test_undone(self):
        node = self.node(self.files())
        ((step, record),) = node.done(node.edits())
        self.assertIn('removed again', step.undo(node.site, record, rebooted=False))
        self.assertEqual(['20-site.conf'], os.listdir((node.base / OWN[1:]).parent))


class RefusedTest(NovaFileTestCase):
    GOOD = '[libvirt]\ncpu_mode = host-model\n'

    def refusal(self, node, change):
        """Return why the edits of a node are refused once something changed behind the plan."""
        steps = node.edits()
        change()
        before = node.text(CONF)
        error = self.assertRaises(StepError, steps[0].precheck)
        self.assertEqual(before, node.text(CONF))
        return str(error)

    def test_another_file_now_wins(self):
        node = self.node({CONF: self.GOOD})
        message = self.refusal(
            node, lambda: node.write(COMPUTE, '[libvirt]\ncpu_mode = custom\ncpu_models = A\n')
        )
        self.assertIn('libvirt.cpu_mode should be host-passthrough', message)
        self.assertIn(f'{COMPUTE}:2', message)

    def test_an_option_that_follows_another(self):
        node = self.node({CONF: f'{self.GOOD}images_type = raw\n'})
        message = self.refusal(
            node, lambda: node.write(CONF, f'[DEFAULT]\nhost = ${{libvirt.cpu_mode}}\n{self.GOOD}')
        )
        self.assertIn('DEFAULT.host should stay', message)

    def test_a_file_that_oslo_config_refuses(self):
        node = self.node({CONF: self.GOOD})
        message = self.refusal(node, lambda: node.write(CONF, f'{self.GOOD}hunter2\n'))
        self.assertIn(f'{CONF}:3', message)
        self.assertNotIn('hunter2', message)

    def test_another_value_that_is_none(self):
        node = self.node({CONF: self.GOOD})
        models = 'cpu_model_extra_flags = $virt_type\n hunter2 x\n'
        message = self.refusal(node, lambda: node.write(CONF, f'{self.GOOD}{models}'))
        self.assertIn(f'{CONF}:3', message)
        self.assertIn('by hand first', message)
        self.assertNotIn('hunter2', message)

    def test_a_container_s(self):
        node = self.node({CONF: self.GOOD})
        judged = node.judged()
        (step,) = nova_file.steps(node.site, judged)
        object.__setattr__(judged.observation.nova, 'root', '/proc/700/root')
        self.assertIn('container', str(self.assertRaises(StepError, step.precheck)))

    def test_an_environment_that_cannot_be_read(self):
        node = self.node({CONF: self.GOOD})
        judged = node.judged()
        (step,) = nova_file.steps(node.site, judged)
        unread = Unread('/proc/700/environ', 'EACCES', 'x')
        object.__setattr__(judged.observation.nova.process, 'environment', unread)
        self.assertIn('environ', str(self.assertRaises(StepError, step.precheck)))

    def test_changed_behind_us(self):
        node = self.node({CONF: self.GOOD})
        (step,) = node.edits()
        step.precheck()
        step.record()
        step.apply()
        node.write(COMPUTE, '[libvirt]\ncpu_mode = none\n')
        self.assertIn(f'{COMPUTE}:2', str(self.assertRaises(StepError, step.verify)))


class NotOursTest(NovaFileTestCase):
    """Who changes what the agent does not."""

    def message(self, files, policy=None):
        node = self.node(files, policy)
        judged = node.judged()
        condition = next(x for x in judged.report.conditions if x.type == 'GuestCPU')
        self.assertEqual('blocked', judged.report.state)
        self.assertEqual([], node.edits())
        (action,) = [x for x in judged.report.plan if x.target == 'GuestCPU']
        self.assertEqual(ActionKind.BY_HAND, action.kind)
        return condition.message

    def test_manage_config_is_off(self):
        text = '[libvirt]\ncpu_mode = host-model\n'
        message = self.message({CONF: text}, Policy(manage_nova=False))
        self.assertIn('[nova] manage_config is false', message)
        self.assertIn(f'where {CONF} is written from', message)

    def test_manage_config_is_off_and_the_flag_required(self):
        text = '[libvirt]\ncpu_model_extra_flags = svm\n'
        message = self.message({CONF: text}, Policy(Nested.DISABLED, manage_nova=False))
        self.assertIn('[nova] manage_config is false', message)

    def test_manage_config_is_off_where_a_tool_is_known(self):
        files = {
            CONF: '[libvirt]\ncpu_mode = host-model\n',
            '/proc/700/cgroup': '0::/system.slice/edpm_nova_compute.service\n',
        }
        message = self.message(files, Policy(manage_nova=False))
        self.assertIn('nova-extra-config', message)
