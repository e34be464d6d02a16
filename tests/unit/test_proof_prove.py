"""When a proof is tried, and what the child's answer becomes."""

import json
import os
import sys
from pathlib import Path
from unittest import mock

import fixtures
from oslotest import base

from nested_agent import lock
from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.intel import IntelDriver
from nested_agent.exceptions import LockTimeoutError
from nested_agent.facts import Unread
from nested_agent.node.root import Completed
from nested_agent.proof import prove
from nested_agent.proof.finding import Outcome
from tests.unit.nodes import amd, intel

DRIVERS = loader.Loaded((AMDDriver(), IntelDriver()), ())
PROVED = Completed(0, json.dumps(['proved', 'GuestRan', 'it ran', None]), '')


class ProveTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.state_dir = Path(self.useFixture(fixtures.TempDir()).path, 'state')
        self.useFixture(fixtures.MockPatch('os.geteuid', return_value=0))

    def prove(self, node, answer=PROVED, *, kind='svm', meanwhile=lambda root: None):
        """Return the proof and the Root; ``answer`` is the child's."""
        root = node.root(self)

        def run(command, *, timeout):
            expected = [sys.executable, '-I', '-S', str(prove.CHILD), kind]
            self.assertEqual([*expected, str(root.path('/dev/kvm')), '2', '31'], command)
            self.assertEqual(30, timeout)
            root.ran.append('child')
            meanwhile(root)
            return answer

        root.run = run
        limits = prove.Limits(timeout=30, lock_timeout=0)
        return prove.prove(root, DRIVERS, self.state_dir, limits), root

    def not_tried(self, node, reason, *says, ran=False, **more):
        proof, root = self.prove(node, **more)
        self.assertEqual((Outcome.NOT_TRIED, reason), (proof.finding.outcome, proof.finding.reason))
        for text in says:
            self.assertIn(text, proof.finding.message)
        self.assertFalse(proof.lasting)
        self.assertEqual(['child'] if ran else [], root.ran)

    def test_an_answer_belongs_to_a_load(self):
        proof, root = self.prove(amd())
        self.assertEqual(Outcome.PROVED, proof.finding.outcome)
        self.assertEqual('kvm_amd', proof.module)
        self.assertEqual(str(root.stat('/sys/module/kvm_amd').st_ino), proof.load)
        self.assertEqual('3c7b0fd4-6a2a-4a4f-9d0f-4b8f8f0b3a10', proof.boot_id)
        self.assertTrue(proof.lasting)
        self.assertEqual('kvm_intel', self.prove(intel(), kind='vmx')[0].module)

    def test_an_old_kernel_s_load_cannot_be_recognised(self):
        proof, _ = self.prove(amd(release='4.13.0'))
        self.assertEqual(Outcome.PROVED, proof.finding.outcome)
        self.assertFalse(proof.lasting)

    def test_no_module(self):
        self.not_tried(amd(nested=None), 'ModuleNotLoaded', 'kvm_amd is not loaded')

    def test_another_accelerator(self):
        files = {'/sys/module/kvm_pvm/initstate': 'live\n'}
        self.not_tried(amd(nested=None, files=files), 'OtherAccelerator', 'kvm_pvm')

    def test_another_processor(self):
        self.not_tried(amd(vendor='VIA VIA VIA'), 'NoDriver', 'VIA VIA VIA')
        self.not_tried(amd(files={'/proc/cpuinfo': None}), 'Unreadable', '/proc/cpuinfo')
        self.not_tried(amd(files={'/proc/cpuinfo': 'CPU implementer : 0x41\n'}), 'Unreadable')

    def test_a_remediation_is_at_work(self):
        with lock.held(self.state_dir / lock.REMEDIATION, exclusive=True, timeout=0):
            self.not_tried(amd(), 'Remediating', 'remediation.lock')
        self.assertEqual(Outcome.PROVED, self.prove(amd())[0].finding.outcome)

    def test_a_remediation_does_not_begin_meanwhile(self):
        def begin(root):
            other = lock.held(self.state_dir / lock.REMEDIATION, exclusive=True, timeout=0)
            self.assertRaises(LockTimeoutError, other.__enter__)

        self.prove(amd(), meanwhile=begin)

    def test_no_place_for_the_lock(self):
        self.state_dir.write_text('a file')
        self.not_tried(amd(), 'NoLock', 'remediation.lock')

    def test_reloaded_meanwhile(self):
        def reload(root):
            path = root.path('/sys/module/kvm_amd')
            path.rename(path.with_name('old'))
            path.mkdir()

        self.not_tried(amd(), 'Reloaded', ran=True, meanwhile=reload)

    def test_unloaded_meanwhile(self):
        def unload(root):
            path = root.path('/sys/module/kvm_amd')
            path.rename(path.with_name('old'))

        self.not_tried(amd(), 'Reloaded', ran=True, meanwhile=unload)

    def test_the_child_s_refusal_is_passed_on(self):
        answer = Completed(0, json.dumps(['refused', 'GuestRefused', 'why', 13]), '')
        finding = self.prove(amd(), answer)[0].finding
        self.assertEqual((Outcome.REFUSED, 13), (finding.outcome, finding.exception))

    def test_a_child_without_an_answer(self):
        for answer, reason, text in (
            (Unread('x', 'Timeout', 'no answer within 30 s'), 'Timeout', 'no answer within 30 s'),
            (Unread('x', 'ENOENT', 'No such file'), 'ENOENT', 'No such file'),
            (Completed(-9, '', ''), 'ChildFailed', 'ended with -9'),
            (Completed(1, '', 'Traceback\nImportError: no'), 'ChildFailed', 'ImportError: no'),
            (Completed(0, '["proved"]', ''), 'ChildFailed', 'ended with 0'),
            (Completed(0, '["so", "la", "la", 1]', ''), 'ChildFailed', 'ended with 0'),
        ):
            self.not_tried(amd(), reason, text, answer=answer, ran=True)

    def test_without_root(self):
        answer = Completed(0, json.dumps(['not tried', 'NoMachine', 'Permission denied', None]), '')
        os.geteuid.return_value = 1000
        self.not_tried(amd(), 'NoMachine', 'denied; run as root', answer=answer, ran=True)

    def test_a_device_is_not_opened_by_the_parent(self):
        with mock.patch('nested_agent.node.root.Root.open', side_effect=self.opened):
            self.prove(amd())

    def opened(self, name, flags=os.O_RDONLY):
        self.assertNotEqual('/dev/kvm', name)
        raise FileNotFoundError(2, 'not now')
