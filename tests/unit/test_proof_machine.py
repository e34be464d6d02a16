"""The machine of a proof, as far as it goes without KVM."""

import json
import os
import subprocess
import sys
from pathlib import Path

from oslotest import base

from nested_agent.proof import __main__ as child
from nested_agent.proof import machine, svm
from nested_agent.proof.finding import Outcome
from nested_agent.proof.prove import CHILD


class RequestTest(base.BaseTestCase):
    def test_numbers(self):
        """As a C compiler makes them from linux/kvm.h: the sizes of the structures are in them."""
        for name, number in (
            ('CREATE_VM', 0xAE01),
            ('GET_VCPU_MMAP_SIZE', 0xAE04),
            ('GET_SUPPORTED_CPUID', 0xC008AE05),
            ('CREATE_VCPU', 0xAE41),
            ('SET_USER_MEMORY_REGION', 0x4020AE46),
            ('SET_TSS_ADDR', 0xAE47),
            ('RUN', 0xAE80),
            ('GET_REGS', 0x8090AE81),
            ('SET_REGS', 0x4090AE82),
            ('GET_SREGS', 0x8138AE83),
            ('SET_SREGS', 0x4138AE84),
            ('SET_CPUID2', 0x4008AE90),
        ):
            self.assertEqual(number, getattr(machine, f'KVM_{name}'), name)

    def test_what_is_no_kvm_refuses(self):
        error = self.assertRaises(
            machine.RequestError, machine.run, '/dev/null', svm.image(), svm.L1.address, 1
        )
        self.assertEqual('KVM_CREATE_VM: Inappropriate ioctl for device', str(error))

    def test_no_descriptor_is_left(self):
        before = os.listdir('/proc/self/fd')
        self.assertRaises(machine.RequestError, machine.run, '/dev/null', b'', 0, 1)
        self.assertEqual(before, os.listdir('/proc/self/fd'))

    def test_processor_time_runs_out(self):
        def endless():
            with machine._limited(0.05):
                while True:
                    pass

        self.assertRaises(machine.GuestTimeoutError, endless)


class ChildTest(base.BaseTestCase):
    def test_no_machine_is_no_verdict(self):
        for device, text in (('/dev/null', 'KVM_CREATE_VM'), ('/nonexistent', 'No such file')):
            found = child.main('svm', device, 1)
            self.assertEqual((Outcome.NOT_TRIED, 'NoMachine'), (found.outcome, found.reason))
            self.assertIn(text, found.message)

    def test_as_a_process(self):
        """It finds its modules without site and environment."""
        for kind in ('svm', 'vmx'):
            done = subprocess.run(
                [sys.executable, '-I', '-S', CHILD, kind, '/dev/null', '1', '60'],
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
                cwd='/',
                env={},
            )
            self.assertEqual('not tried', json.loads(done.stdout)[0])

    def test_it_ends_by_itself(self):
        """Its reader is gone and its pipe full: the alarm is what is left."""
        script = (
            'import runpy, signal, sys\n'
            'from unittest import mock\n'
            'import nested_agent.proof.machine as machine\n'
            'machine.run = lambda *arguments: signal.pause()\n'
            f'sys.argv = ["child", "svm", "/dev/null", "1", "1"]\n'
            f'runpy.run_path({str(CHILD)!r}, run_name="__main__")\n'
        )
        done = subprocess.run(
            [sys.executable, '-c', script],
            timeout=120,
            check=False,
            cwd=Path(CHILD).parents[2],
        )
        self.assertEqual(-14, done.returncode)
