"""The drop-in: written whole, proved by modprobe, and taken back where something else decides."""

import json

from oslotest import base

from nested_agent.actions.modprobe_dropin import WriteDropin
from nested_agent.exceptions import StepError
from nested_agent.policy import Nested, Policy
from nested_agent.verify.persistent import DROPIN
from tests.unit.nodes import RELEASE
from tests.unit.simulated import SimulatedNode
from tests.unit.test_initramfs import archive

DISABLED = Policy(Nested.DISABLED)
# Sorts before the drop-in, and has the node drift.
FOREIGN = '/etc/modprobe.d/kvm.conf'


class DropinTest(base.BaseTestCase):
    def node(self, text='options kvm_amd nested=0\n', **changes):
        files = {FOREIGN: text, **changes.pop('files', {})}
        return SimulatedNode(self, files=files, **changes)

    def begun(self, node, wanted=True):
        site = node.site(Policy() if wanted else DISABLED)
        step = WriteDropin(site, (), node.driver, wanted)
        step.precheck()
        record = json.loads(json.dumps(step.record(), sort_keys=True))
        step.apply()
        return step, record

    def lines(self, node):
        return [line for line in node.read(DROPIN).splitlines() if not line.startswith('#')]

    def test_the_option_of_this_node_s_module(self):
        for intel, module in ((False, 'kvm_amd'), (True, 'kvm_intel')):
            for wanted in (True, False):
                node = self.node(f'options {module} nested={int(not wanted)}\n', intel=intel)
                step, _ = self.begun(node, wanted)
                said = step.verify()
                self.assertEqual([f'options {module} nested={int(wanted)}'], self.lines(node))
                self.assertIn(f'the next load of {module} has nested={int(wanted)}', said)
                self.assertNotIn('\r', node.read(DROPIN))
                self.assertTrue(node.read(DROPIN).endswith('\n'))

    def test_it_says_whose_it_is_and_how_to_be_rid_of_it(self):
        node = self.node()
        self.begun(node)
        for words in ('nested-agent', 'nested-agentctl revert'):
            self.assertIn(words, node.read(DROPIN))

    def test_what_was_in_it_does_not_matter(self):
        node = self.node(files={DROPIN: 'options kvm_amd nested=y npt=0\n'})
        step, record = self.begun(node)
        step.verify()
        self.assertEqual(['options kvm_amd nested=1'], self.lines(node))
        WriteDropin.undo(node.site(), record, rebooted=False)
        self.assertEqual('options kvm_amd nested=y npt=0\n', node.read(DROPIN))

    def fails(self, node, *words):
        step, record = self.begun(node)
        error = self.assertRaises(StepError, step.verify)
        for each in words:
            self.assertIn(each, str(error))
        WriteDropin.undo(node.site(), record, rebooted=False)
        self.assertIsNone(node.read(DROPIN))

    def test_a_later_file_wins(self):
        file = '/usr/lib/modprobe.d/zzz.conf'
        node = self.node(files={file: '# site\noptions kvm_amd nested=0\n'})
        self.fails(node, f'{file}:2', 'must be changed where it stands')

    def test_a_kernel_argument_wins(self):
        self.fails(self.node(cmdline='quiet kvm-amd.nested=0'), '/proc/cmdline:1')

    def test_an_install_line_wins(self):
        for module in ('kvm_amd', 'kvm'):
            node = self.node(f'install {module} /bin/true\n')
            self.fails(node, f'{FOREIGN}:1', '/bin/true')

    def test_a_value_that_keeps_it_from_loading(self):
        self.fails(self.node('options kvm_amd nested=y\n'), f'{FOREIGN}:1', 'nested=y')
        self.fails(self.node('options kvm_amd npt=maybe\n'), f'{FOREIGN}:1', 'npt=maybe')

    def test_a_kernel_that_refuses_the_module(self):
        self.fails(self.node(cmdline='module_blacklist=kvm_amd'), 'module_blacklist=kvm_amd')

    def test_a_blacklist_is_left_to_a_person(self):
        step, _ = self.begun(self.node('blacklist kvm_amd\n'))
        said = step.verify()
        self.assertIn('the next load of kvm_amd has nested=1, but', said)
        self.assertIn(f'{FOREIGN}:1 blacklists it', said)

    def image(self, content, **changes):
        node = self.node(**changes)
        path = node.root.base / f'boot/initrd.img-{RELEASE}'
        path.parent.mkdir()
        path.write_bytes(content)
        return node

    def stale(self):
        files = {
            f'usr/lib/modules/{RELEASE}/kernel/arch/x86/kvm/kvm-amd.ko': b'',
            'etc/modprobe.d/kvm.conf': b'options kvm_amd nested=0\n',
        }
        return archive(files)

    def test_a_stale_boot_image_is_left_to_a_person(self):
        step, _ = self.begun(self.image(self.stale()))
        said = step.verify()
        self.assertIn('the next load of kvm_amd has nested=1, but', said)
        self.assertIn('update-initramfs', said)

    def test_so_is_an_unreadable_one(self):
        step, _ = self.begun(self.image(b'no archive'))
        self.assertIn('initrd.img', step.verify())

    def test_a_stale_boot_image_does_not_hide_what_else_is_wrong(self):
        self.fails(self.image(self.stale(), cmdline='kvm_amd.nested=0'), '/proc/cmdline:1')

    def test_modprobe_that_does_not_answer(self):
        node = self.node()
        step, _ = self.begun(node)
        node.hangs = {'show'}
        error = self.assertRaises(StepError, step.verify)
        self.assertIn('Timeout', str(error))
