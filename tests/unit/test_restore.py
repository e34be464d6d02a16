"""Files brought back to what they were before the agent came."""

import os

from oslotest import base
from testtools.content import text_content

from nested_agent.actions.file_step import FileStep
from nested_agent.actions.restore import RestoreFile
from nested_agent.exceptions import StepError
from nested_agent.policy import Nested, Policy
from tests.unit.edited_node import EditedNode
from tests.unit.nodes import DEBIAN_NOVA, amd, nova_process
from tests.unit.test_files import Killed, killed

CONF = '/etc/nova/nova.conf'
COMPUTE = '/etc/nova/nova-compute.conf'
DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'
BEFORE = '# a\n[libvirt]\ncpu_mode = custom\n# b\ncpu_models = A,\n B\nvirt_type=kvm'
AFTER = '# a\n[libvirt]\ncpu_mode = host-passthrough\n# b\nvirt_type=kvm'


class Dropin(FileStep):
    """A file that is all the agent's own."""

    name = 'dropin'
    text = b'options kvm_amd nested=1\n'

    def content(self, before):
        return self.text


class RestoreTestCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.node = self.edited()

    def edited(self):
        node = EditedNode(self, amd(files={**nova_process(ticks=500100), CONF: BEFORE}))
        node.kept(node.edits())
        self.assertEqual(AFTER, node.text(CONF))
        return node

    def steps(self, node):
        return [RestoreFile(node.site, (), each.path) for each in node.changes.files()]

    def restore(self):
        """Return what the steps say."""
        steps = self.steps(self.node)
        self.node.kept(steps)
        said = '; '.join(step.verify() for step in steps)
        self.assertEqual((), self.node.changes.files())
        # It is there yet: nova-compute's directory must not look changed after its start.
        self.assertEqual([], os.listdir(self.node.base / 'etc/nova/.nested-agent'))
        return said


class UntouchedTest(RestoreTestCase):
    def test_to_the_byte(self):
        self.assertIn('to the byte', self.restore())
        self.assertEqual(BEFORE, self.node.text(CONF))

    def test_over_several_changes(self):
        # Under the other policy the flag goes, under this one again the mode comes.
        self.node.policy = Policy(cpu_mode='host-model')
        self.node.kept(self.node.edits())
        self.node.policy = Policy(Nested.DISABLED)
        self.node.kept(self.node.edits())
        self.assertEqual(2, len(self.node.changes.files()))
        self.restore()
        self.assertEqual(BEFORE, self.node.text(CONF))
        self.assertEqual(DEBIAN_NOVA[COMPUTE], self.node.text(COMPUTE))

    def test_others_restored_it(self):
        self.node.write(CONF, BEFORE)
        self.assertIn('already', self.restore())
        self.assertEqual(BEFORE, self.node.text(CONF))

    def test_others_put_an_earlier_work_of_ours_back(self):
        self.node.policy = Policy(cpu_mode='host-model')
        self.node.kept(self.node.edits())
        self.node.write(CONF, AFTER)
        self.restore()
        self.assertEqual(BEFORE, self.node.text(CONF))

    def test_it_was_removed(self):
        (self.node.base / CONF[1:]).unlink()
        self.assertIn('removed by somebody else', self.restore())

    def test_undone(self):
        steps = self.steps(self.node)
        ((step, record),) = self.node.done(steps)
        self.assertEqual(BEFORE, self.node.text(CONF))
        step.undo(self.node.site, record, rebooted=False)
        self.assertEqual(AFTER, self.node.text(CONF))
        self.restore()
        self.assertEqual(BEFORE, self.node.text(CONF))

    def test_killed_anywhere(self):
        total = 0
        for method in ('apply', 'undo', 'forget'):
            for number in range(1, 100):
                node = self.edited()
                (step,) = self.steps(node)
                step.precheck()
                record = step.record()
                if method != 'apply':
                    step.apply()
                whole = True
                try:
                    with killed(number):
                        if method == 'apply':
                            step.apply()
                        elif method == 'undo':
                            step.undo(node.site, record, rebooted=False)
                        else:
                            step.forget(node.site, record)
                except Killed:
                    whole = False
                if method == 'forget':
                    step.forget(node.site, record)
                    self.assertEqual((BEFORE, ()), (node.text(CONF), node.changes.files()))
                else:
                    step.undo(node.site, record, rebooted=True)
                    self.assertEqual(AFTER, node.text(CONF))
                    ((again, record),) = node.done(self.steps(node))
                    again.forget(node.site, record)
                    self.assertEqual(BEFORE, node.text(CONF))
                total += 1
                if whole:
                    break
        self.assertGreater(total, 30)
        self.addDetail('count', text_content(f'{total} interruptions of a restore put right'))


class ChangedByOthersTest(RestoreTestCase):
    def test_our_options_alone_are_taken_back(self):
        self.node.write(CONF, AFTER.replace('# b', '# theirs') + '\ncpu_power_management = 1\n')
        said = self.restore()
        self.assertIn('libvirt.cpu_mode, libvirt.cpu_models', said)
        self.assertEqual(
            '# a\n[libvirt]\ncpu_mode = custom\n# theirs\nvirt_type=kvm\n'
            'cpu_power_management = 1\ncpu_models = A,\n B\n',
            self.node.text(CONF),
        )

    def test_not_what_others_set_since(self):
        self.node.write(CONF, AFTER.replace('host-passthrough', 'host-model'))
        said = self.restore()
        self.assertIn('libvirt.cpu_mode is left as others wrote it', said)
        self.assertIn('libvirt.cpu_models is not given back beside their cpu_mode', said)
        self.assertIn('cpu_mode = host-model\n', self.node.text(CONF))
        # With which nova would not start in that mode.
        self.assertNotIn('cpu_models', self.node.text(CONF))

    def test_others_chose_the_mode_from_before_again(self):
        self.node.write(CONF, AFTER.replace('host-passthrough', 'custom'))
        self.assertNotIn('not given back', self.restore())
        self.assertIn('cpu_mode = custom\n', self.node.text(CONF))
        self.assertIn('cpu_models = A,\n B\n', self.node.text(CONF))

    def test_another_option_that_others_set_since(self):
        self.node.write(CONF, f'{AFTER}\ncpu_models = B\n')
        self.assertIn('libvirt.cpu_models is left as others wrote it', self.restore())
        self.assertIn('cpu_mode = custom\n', self.node.text(CONF))
        self.assertIn('cpu_models = B\n', self.node.text(CONF))

    def test_changed_between_two_changes_of_ours(self):
        self.node.write(CONF, f'{AFTER}\n# theirs\n')
        self.node.policy = Policy(cpu_mode='host-model')
        self.node.kept(self.node.edits())
        self.restore()
        text = self.node.text(CONF)
        self.assertIn('cpu_mode = custom\n', text)
        self.assertIn('cpu_models = A,\n B\n', text)
        self.assertIn('# theirs\n', text)
        self.assertNotIn('svm', text)

    def test_the_original_is_lost(self):
        for path in (self.node.state / 'originals').iterdir():
            path.unlink()
        self.assertIn('is as it was', self.restore())
        self.assertIn('cpu_mode = custom\n', self.node.text(CONF))

    def test_it_is_a_link_now(self):
        self.node.write('/etc/nova/real.conf', AFTER)
        (self.node.base / CONF[1:]).unlink()
        (self.node.base / CONF[1:]).symlink_to('real.conf')
        (step,) = self.steps(self.node)
        message = str(self.assertRaises(StepError, step.precheck))
        self.assertIn(f'{CONF} is a link to /etc/nova/real.conf now', message)
        (self.node.base / CONF[1:]).unlink()
        self.restore()
        self.assertEqual(AFTER, self.node.text('/etc/nova/real.conf'))

    def test_it_cannot_be_read_any_more(self):
        self.node.write(CONF, f'{AFTER}\nhunter2\n')
        (step,) = self.steps(self.node)
        message = str(self.assertRaises(StepError, step.precheck))
        self.assertIn(f'{CONF}:6', message)
        self.assertNotIn('hunter2', message)


class OwnFileTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.node = EditedNode(self, amd())
        self.node.kept([Dropin(self.node.site, (), DROPIN)])

    def step(self):
        return RestoreFile(self.node.site, (), DROPIN)

    def test_removed(self):
        step = self.step()
        self.node.kept([step])
        self.assertIn('not there before', step.verify())
        self.assertEqual(['README'], os.listdir(self.node.base / 'etc/modprobe.d'))
        self.assertEqual((), self.node.changes.files())

    def test_refused_where_others_changed_it(self):
        self.node.write(DROPIN, 'options kvm_amd nested=1 npt=1\n')
        message = str(self.assertRaises(StepError, self.step().precheck))
        self.assertIn(DROPIN, message)
        self.assertIn('by hand', message)
        (self.node.base / DROPIN[1:]).unlink()
        self.node.kept([self.step()])
        self.assertEqual((), self.node.changes.files())

    def test_no_record(self):
        self.node.changes.clear()
        self.assertIn('no record', str(self.assertRaises(StepError, self.step().precheck)))
