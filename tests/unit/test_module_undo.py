"""A module that was being reloaded put back as it was, on a node that behaves as the real one."""

from oslotest import base

from nested_agent.actions.module_record import options
from nested_agent.exceptions import BusyError, StepError
from tests.unit.test_module_step import ModuleCase


class UndoTest(ModuleCase):
    def failed(self, **changes):
        """Return a node whose load failed after the unload, and the record."""
        node = self.off(**{'options': 'nested=0 npt=0', **changes})
        node.write({'/sys/module/kvm/parameters/halt_poll_ns': '0\n'})
        step = self.reload(node)
        record = self.begun(step)
        node.kernel.failing_loads = 1
        error = self.assertRaises(StepError, step.apply)
        self.assertIn('could not insert', str(error))
        self.assertFalse(node.kernel.loaded(node.module))
        return node, record

    def test_every_parameter_is_back(self):
        node, record = self.failed()
        said = self.undo(node, record)
        self.assertEqual(('0', 'N'), (node.parameter('nested'), node.parameter('npt')))
        self.assertEqual('0', node.parameter('halt_poll_ns', 'kvm'))
        self.assertEqual('kvm_amd is loaded again as it was', said)

    def test_every_parameter_is_back_on_intel(self):
        node, record = self.failed(intel=True, options='nested=0 ept=0')
        self.undo(node, record)
        self.assertEqual(('N', 'N'), (node.parameter('nested'), node.parameter('ept')))
        self.assertEqual('not required', node.parameter('vmentry_l1d_flush'))

    def test_it_may_be_called_again(self):
        node, record = self.failed()
        self.undo(node, record)
        loads = list(node.loads)
        self.assertEqual('kvm_amd is as it was', self.undo(node, record))
        self.assertEqual(loads, node.loads)

    def test_after_a_reload_that_went_well(self):
        node = self.off(options='nested=0 npt=0')
        record, _ = self.carried_out(self.reload(node))
        self.undo(node, record)
        self.assertEqual(('0', 'N'), (node.parameter('nested'), node.parameter('npt')))

    def test_the_load_of_one_that_was_killed_comes_in_between(self):
        node, record = self.failed()
        orphans = [['kvm_amd', 'nested=1', 'npt=1']]

        def load_first(command):
            if ' -C ' in command and ' -r ' not in command and ' kvm_amd ' in command and orphans:
                node.kernel.modprobe(orphans.pop())

        node.before = load_first
        said = self.undo(node, record)
        self.assertEqual([], orphans)
        self.assertEqual(('0', 'N'), (node.parameter('nested'), node.parameter('npt')))
        self.assertEqual('kvm_amd is loaded again as it was', said)

    def test_before_anything_was_done(self):
        node = self.off()
        record = self.begun(self.reload(node))
        self.assertEqual('kvm_amd is as it was', self.undo(node, record))
        self.assertEqual([], node.loads)

    def test_a_boot_has_loaded_it(self):
        node, record = self.failed()
        node.reboot()
        loads = list(node.loads)
        self.assertIn('boot', self.undo(node, record, rebooted=True))
        self.assertEqual(loads, node.loads)

    def test_bad_files_do_not_stop_it(self):
        for line in (
            'install kvm_amd /bin/false',
            'options kvm_amd nested=y',
            'options kvm halt_poll_ns=x',
        ):
            node, record = self.failed()
            node.write({'/etc/modprobe.d/zzz.conf': f'{line}\n'})
            self.undo(node, record)
            self.assertEqual('0', node.parameter('nested'))
            self.assertEqual([], node.kernel.commands)

    def test_the_kernel_command_line_does_not_win(self):
        node = self.off(cmdline='kvm_amd.nested=1 kvm.halt_poll_ns=3', options='nested=0')
        node.write({'/sys/module/kvm/parameters/halt_poll_ns': '0\n'})
        record, _ = self.carried_out(self.reload(node))
        self.undo(node, record)
        self.assertEqual('0', node.parameter('nested'))
        self.assertEqual('0', node.parameter('halt_poll_ns', 'kvm'))

    def test_a_parameter_that_cannot_be_given_back(self):
        node, record = self.failed()
        node.kernel.refuse = lambda name, given: 'Invalid argument' if 'npt=N' in given else None
        said = self.undo(node, record)
        self.assertEqual(('0', 'Y'), (node.parameter('nested'), node.parameter('npt')))
        self.assertIn('not with all its parameters: kvm_amd cannot be loaded', said)

    def test_as_configured_is_better_than_not_at_all(self):
        node, record = self.failed()
        node.kernel.refuse = lambda name, given: (
            'No' if given[-1:] != ('nested=1',) and name == 'kvm_amd' else None
        )
        error = self.assertRaises(StepError, self.undo, node, record)
        self.assertIn('loaded, but with nested=1 instead of 0', str(error))
        self.assertIn('not with nested alone', str(error))
        self.assertTrue(node.kernel.loaded('kvm_amd'))

    def test_nothing_works(self):
        node, record = self.failed()
        node.kernel.failing_loads = 99
        error = self.assertRaises(StepError, self.undo, node, record)
        for words in (
            'KVM is gone',
            'all its parameters',
            'nested alone',
            'as configured',
            'modprobe kvm_amd',
        ):
            self.assertIn(words, str(error))

    def test_it_is_tried_again_once_it_works(self):
        node, record = self.failed()
        node.kernel.failing_loads = 3
        self.assertRaises(StepError, self.undo, node, record)
        self.undo(node, record)
        self.assertEqual('0', node.parameter('nested'))

    def test_a_guest_that_started_meanwhile_is_left_alone(self):
        node = self.off()
        record, _ = self.carried_out(self.reload(node))
        node.hold()
        error = self.assertRaises(StepError, self.undo, node, record)
        self.assertIn('guest1', str(error))
        self.assertIn('stays loaded with nested=1', str(error))
        self.assertEqual('1', node.parameter('nested'))

    def test_an_unload_that_hangs_is_reported(self):
        node = self.off()
        step = self.reload(node)
        record = self.begun(step)
        node.hangs = {'unload'}
        error = self.assertRaises(StepError, step.apply)
        self.assertNotIsInstance(error, BusyError)
        self.assertIn('Timeout', str(error))
        node.hangs = set()
        self.assertEqual('kvm_amd is as it was', self.undo(node, record))

    def test_a_load_that_hangs(self):
        node = self.off()
        step = self.reload(node)
        record = self.begun(step)
        node.hangs = {'load'}
        self.assertRaises(StepError, step.apply)
        error = self.assertRaises(StepError, self.undo, node, record)
        self.assertIn('KVM is gone', str(error))
        node.hangs = set()
        self.undo(node, record)
        self.assertEqual('0', node.parameter('nested'))

    def test_a_module_between_two_states(self):
        node = self.off()
        record = self.begun(self.reload(node))
        node.write({'/sys/module/kvm_amd/initstate': 'going\n'})
        error = self.assertRaises(StepError, self.undo, node, record)
        self.assertIn('stuck in state "going"', str(error))


class OptionsTest(base.BaseTestCase):
    def test_what_the_kernel_prints_and_takes(self):
        given = {'a': 'Y', 'b': '0', 'c': '1,2,3', 'd': '0x0000ff', 'e': '/lib/x-1.bin', 'f': '-5'}
        self.assertEqual(tuple(f'{key}={text}' for key, text in given.items()), options(given))

    def test_what_it_prints_and_does_not_take(self):
        texts = ('(null)', '', '-1', 'not required', 'EPT disabled', '???', 'a"b', 'a\tb')
        self.assertEqual((), options({f'p{number}': text for number, text in enumerate(texts)}))

    def test_what_would_taint_the_kernel_for_nothing(self):
        self.assertEqual((), options({'force_avic': 'N', 'force_emulation_prefix': '0'}))
        self.assertEqual(('force_avic=Y',), options({'force_avic': 'Y'}))
