"""What a proof is worth: NestedProved, the state and the plan."""

import dataclasses

from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.intel import IntelDriver
from nested_agent.facts import Unread
from nested_agent.node.observe import Sources, observe
from nested_agent.policy import Nested, Policy
from nested_agent.proof.finding import Finding, Outcome
from nested_agent.proof.result import Proof
from nested_agent.report import judge
from nested_agent.reporting import log
from tests.unit.nodes import amd, intel
from tests.unit.test_verify import RUNNING
from tests.unit.test_verify import NodeTestCase as VerifyTestCase

DRIVERS = loader.Loaded((AMDDriver(), IntelDriver()), ())
DISABLED = Policy(Nested.DISABLED)
OFF = {'/etc/modprobe.d/kvm.conf': 'options kvm_amd nested=0\n'}
MODULES = {'/sys/module/kvm_intel/initstate': 'live\n'}


class ProvedTest(VerifyTestCase):
    def judged(self, node, outcome, policy=None, change=None, previous=None):
        """Return the report of a node on which a proof came to ``outcome``."""
        node.files = {**RUNNING, **node.files}
        observation, driver = observe(node.root(self), DRIVERS, Sources())
        module = observation.modules[driver.module]
        finding = Finding(outcome, 'AsTold', 'what was seen')
        proof = Proof(finding, 1700000000.0, observation.boot_id, module.name, module.load)
        proof = dataclasses.replace(proof, **(change or {}))
        judged = judge(observation, driver, policy or Policy(), previous, proof=proof)
        return judged.report

    def check_proof(self, report, state, expected, *says, plan=None):
        found = self.conditions(report)['NestedProved']
        self.assertEqual(expected, f'{found.status}/{found.reason}', found.message)
        for text in ('what was seen', 'tried 2023-11-14 22:13:20Z', *says):
            self.assertIn(text, found.message)
        self.assertEqual(state, report.state)
        if plan is not None:
            self.assertEqual(plan, [each.kind.value for each in report.plan])

    def test_proved_as_wanted(self):
        for node in (amd(), intel(options='nested=1')):
            report = self.judged(node, Outcome.PROVED)
            self.check_proof(report, 'compliant', 'True/Proved', plan=[])
            types = [each.type.value for each in report.conditions]
            self.assertEqual('NestedRuntime', types[types.index('NestedProved') - 1])

    def test_refused_as_wanted(self):
        node = amd(nested='0', options='nested=0', files=OFF)
        self.check_proof(
            self.judged(node, Outcome.REFUSED, DISABLED), 'compliant', 'True/Refused', plan=[]
        )

    def test_what_is_offered_and_does_not_work(self):
        report = self.judged(amd(), Outcome.FAILED)
        self.check_proof(report, 'blocked', 'False/Failed', 'the firmware', plan=['by-hand'])
        self.assertIn('what was seen', report.plan[0].why)
        report = self.judged(amd(flags='fpu svm hypervisor'), Outcome.FAILED)
        self.check_proof(report, 'blocked', 'False/Failed', 'in the hypervisor below')

    def test_nova_is_not_told_to_offer_what_does_not_work(self):
        files = {'/etc/nova/nova.conf': '[libvirt]\ncpu_mode = host-model\n'}
        report = self.judged(amd(files=files), Outcome.FAILED)
        self.check_proof(report, 'blocked', 'False/Failed', plan=['by-hand'])

    def test_witnesses_and_guest_disagree(self):
        report = self.judged(amd(), Outcome.REFUSED)
        self.check_proof(report, 'blocked', 'False/Refused', 'a defect')
        node = amd(nested='0', options='nested=0', files=OFF)
        for outcome, reason in ((Outcome.PROVED, 'Proved'), (Outcome.FAILED, 'Failed')):
            report = self.judged(node, outcome, DISABLED)
            self.check_proof(report, 'blocked', f'False/{reason}', 'a defect')

    def test_where_the_module_is_wrong_it_is_reloaded(self):
        node = amd(nested='0', options='nested=1')
        report = self.judged(node, Outcome.REFUSED)
        self.check_proof(
            report, 'drifted', 'False/Refused', plan=['reload-module', 'restart-nova-compute']
        )
        for outcome, reason in ((Outcome.PROVED, 'Proved'), (Outcome.FAILED, 'Failed')):
            report = self.judged(amd(nested='1', options='nested=0'), outcome, DISABLED)
            self.assertEqual('drifted', report.state)
            found = self.conditions(report)['NestedProved']
            self.assertEqual(f'False/{reason}', f'{found.status}/{found.reason}')

    def test_witnesses_that_disagree_are_not_settled_by_it(self):
        report = self.judged(amd(offered=False), Outcome.REFUSED)
        self.check_proof(report, 'unknown', 'False/Refused')

    def absent(self, report):
        self.assertNotIn('NestedProved', self.conditions(report))
        self.assertEqual('compliant', report.state)

    def test_it_ends_with_its_load(self):
        for change in (
            {'boot_id': 'another'},
            {'boot_id': None},
            {'load': '1'},
            {'load': None},
            {'module': 'kvm_intel'},
        ):
            self.absent(self.judged(amd(), Outcome.FAILED, change=change))

    def test_not_tried_is_nothing(self):
        self.absent(self.judged(amd(), Outcome.NOT_TRIED))

    def test_a_load_without_identity_has_no_proof(self):
        node = amd(release='4.13.0')
        unread = Unread('/sys/module/kvm_amd', 'NotAvailable', 'x')
        self.absent(self.judged(node, Outcome.FAILED, change={'load': unread}))

    def test_without_a_module_there_is_none(self):
        node = amd(nested=None)
        observation, driver = observe(node.root(self), DRIVERS, Sources())
        finding = Finding(Outcome.PROVED, 'AsTold', 'x')
        proof = Proof(finding, 1.0, str(observation.boot_id), 'kvm_amd', '7')
        report = judge(observation, driver, Policy(), None, proof=proof).report
        self.assertNotIn('NestedProved', self.conditions(report))

    def test_since_when(self):
        before = self.judged(amd(), Outcome.NOT_TRIED)
        first = self.judged(amd(), Outcome.PROVED, previous=before)
        later = self.judged(amd(), Outcome.PROVED, previous=first)
        for report in (first, later):
            self.assertEqual(first.time, self.conditions(report)['NestedProved'].since)

    def test_its_end_is_logged(self):
        before = self.judged(amd(), Outcome.PROVED)
        after = self.judged(amd(), Outcome.NOT_TRIED)
        with self.assertLogs(log.LOG, 'INFO') as logged:
            log.changes(after, before)
        self.assertEqual(
            ['NestedProved: True/Proved no longer applies'],
            [record.getMessage() for record in logged.records],
        )
