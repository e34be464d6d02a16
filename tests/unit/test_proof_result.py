"""What is kept of a proof, and the lock it takes."""

import json
import threading
from pathlib import Path

import fixtures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslotest import base

from nested_agent import lock
from nested_agent.exceptions import LockTimeoutError, ProofFormatError
from nested_agent.proof import result
from nested_agent.proof.finding import Finding, Outcome
from nested_agent.proof.result import Proof

TEXT = st.text('ab "\né', max_size=5)
PROOFS = st.builds(
    Proof,
    st.builds(Finding, st.sampled_from(Outcome), TEXT, TEXT, st.none() | st.integers(0, 31)),
    st.floats(0, 1e10),
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
)
PROOF = Proof(Finding(Outcome.PROVED, 'GuestRan', 'it ran'), 1.5, 'boot', 'kvm_amd', '7')


class KeptTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.state_dir = Path(self.useFixture(fixtures.TempDir()).path, 'state')

    def test_nothing_yet(self):
        self.assertIsNone(result.read(self.state_dir))

    def test_it_is_replaced_whole(self):
        result.keep(self.state_dir, PROOF)
        self.assertEqual(PROOF, result.read(self.state_dir))
        result.keep(self.state_dir, PROOF)
        self.assertEqual(['prove.json'], [path.name for path in self.state_dir.iterdir()])
        self.assertEqual(0o644, (self.state_dir / 'prove.json').stat().st_mode & 0o777)

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(PROOFS)
    def test_there_and_back(self, proof):
        self.assertEqual(proof, Proof.from_dict(json.loads(json.dumps(proof.to_dict()))))

    def test_a_later_minor_version_is_understood(self):
        data = {**PROOF.to_dict(), 'version': '1.7', 'weather': 'fine'}
        self.damage(json.dumps(data))
        self.assertEqual(PROOF, result.read(self.state_dir))

    def damage(self, text):
        self.state_dir.mkdir(exist_ok=True)
        (self.state_dir / 'prove.json').write_text(text)

    def test_a_damaged_file_is_named(self):
        whole = {**PROOF.to_dict(), 'version': '1.0'}
        for data in (
            '',
            '[]',
            '{}',
            '[' * 100000,
            json.dumps({**whole, 'version': '2.0'}),
            json.dumps({**whole, 'outcome': 'maybe'}),
            json.dumps({**whole, 'time': None}),
            json.dumps({**whole, 'exception': 'x'}),
            json.dumps({key: value for key, value in whole.items() if key != 'load'}),
        ):
            self.damage(data)
            error = self.assertRaises(ProofFormatError, result.read, self.state_dir)
            self.assertIn('prove.json', str(error))

    def test_an_unreadable_file_is_named(self):
        (self.state_dir / 'prove.json').mkdir(parents=True)
        self.assertRaises(ProofFormatError, result.read, self.state_dir)

    def test_what_lasts(self):
        self.assertTrue(PROOF.lasting)
        for name in ('boot_id', 'module', 'load'):
            parts = {**PROOF.to_dict(), name: None}
            self.assertFalse(Proof.from_dict(parts).lasting)
        self.assertFalse(Proof.from_dict({**PROOF.to_dict(), 'outcome': 'not tried'}).lasting)


class LockTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.path = Path(self.useFixture(fixtures.TempDir()).path, 'run', lock.REMEDIATION)

    def held(self, exclusive, timeout=0):
        return lock.held(self.path, exclusive=exclusive, timeout=timeout)

    def refused(self, exclusive):
        def enter():
            with self.held(exclusive):
                pass

        self.assertRaises(LockTimeoutError, enter)

    def test_readers_together_writers_alone(self):
        with self.held(False):
            with self.held(False):
                self.refused(exclusive=True)
            self.refused(exclusive=True)
        with self.held(True):
            self.refused(exclusive=False)
            self.refused(exclusive=True)
        with self.held(False):
            pass

    def test_it_is_waited_for(self):
        entered, leave = threading.Event(), threading.Event()

        def hold():
            with self.held(True):
                entered.set()
                leave.wait(60)

        other = threading.Thread(target=hold)
        other.start()
        self.addCleanup(other.join)
        self.assertTrue(entered.wait(60))
        self.refused(exclusive=False)
        leave.set()
        with self.held(False, timeout=60):
            pass
