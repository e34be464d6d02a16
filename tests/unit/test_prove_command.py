"""``nested-agentctl prove``: output, exit codes, what is kept."""

import json
from unittest import mock

from nested_agent.cmd import prove as command
from nested_agent.proof import result
from nested_agent.proof.finding import Finding, Outcome
from nested_agent.proof.result import Proof
from tests.unit.test_check import CommandTestCase


class ProveTest(CommandTestCase):
    def prove(self, outcome, *arguments, load='7', conf=''):
        """Run the command where a proof comes to ``outcome``."""
        finding = Finding(outcome, 'AsTold', 'what was seen', 13)
        proof = Proof(finding, 1.5, 'boot', 'kvm_amd', load)
        options = f'[agent]\nstate_dir = {self.base}/state\nrun_dir = {self.base}/run\n'
        with mock.patch.object(command.prove, 'prove', return_value=proof) as self.asked:
            return self.run_main('prove', *arguments, conf=f'{options}{conf}')

    def kept(self):
        return result.read(self.base / 'state')

    def test_exit_codes(self):
        for outcome, code in (('proved', 0), ('refused', 1), ('failed', 2), ('not tried', 4)):
            found, out, err = self.prove(Outcome(outcome), '-f', 'json')
            self.assertEqual((code, ''), (found, err))
            self.assertEqual(outcome, json.loads(out)['outcome'])

    def test_every_part_is_shown(self):
        data = json.loads(self.prove(Outcome.REFUSED, '-f', 'json')[1])
        self.assertEqual(
            {
                'outcome': 'refused',
                'reason': 'AsTold',
                'message': 'what was seen',
                'exception': 13,
                'time': 1.5,
                'boot_id': 'boot',
                'module': 'kvm_amd',
                'load': '7',
            },
            data,
        )
        self.assertIn('what was seen', self.prove(Outcome.REFUSED)[1])

    def test_limits_are_options(self):
        self.prove(Outcome.PROVED, conf='[prove]\ntimeout = 7\nlock_timeout = 0\n')
        _, _, state_dir, limits = self.asked.call_args.args
        self.assertEqual(self.base / 'state', state_dir)
        self.assertEqual((7, 0), (limits.timeout, limits.lock_timeout))

    def test_what_was_not_tried_leaves_what_is_kept(self):
        self.prove(Outcome.PROVED)
        self.assertEqual(Outcome.PROVED, self.kept().finding.outcome)
        self.prove(Outcome.NOT_TRIED)
        self.assertEqual(Outcome.PROVED, self.kept().finding.outcome)

    def test_a_load_without_identity_is_told(self):
        code, _, err = self.prove(Outcome.PROVED, load=None)
        self.assertEqual(0, code)
        self.assertIn('not kept', err)
        self.assertIsNone(self.kept())

    def test_a_result_that_cannot_be_kept_is_one_all_the_same(self):
        (self.base / 'state').write_text('a file')
        code, _, err = self.prove(Outcome.FAILED)
        self.assertEqual(2, code)
        self.assertIn('prove.json', err)

    def test_off_by_option(self):
        code, out, _ = self.prove(Outcome.PROVED, '-f', 'json', conf='[prove]\nenabled = false\n')
        self.assertEqual((4, 'SwitchedOff'), (code, json.loads(out)['reason']))
        self.asked.assert_not_called()
        self.assertIsNone(self.kept())
