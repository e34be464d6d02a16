"""The loop: what makes it turn, and that nothing stops it."""

import threading
from pathlib import Path

import fixtures
from oslotest import base

from nested_agent.agent import Agent, Timing
from nested_agent.model import Condition, ConditionType, Report, State, Status

NEVER = Timing(86400)
DEADLINE = 60


def report(**changes):
    parts = {
        'host': 'node1',
        'time': 1.0,
        'boot_id': 'boot1',
        'driver': 'amd',
        'policy': {},
        'state': State.COMPLIANT,
        'conditions': (),
        'plan': (),
        'observation': None,
    }
    return Report(**{**parts, **changes})


class AgentTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path)
        self.published = []
        self.count = 0
        self.more = threading.Condition()
        self.timing = NEVER

    def verify(self, previous):
        return report()

    def publish(self, new, old):
        with self.more:
            self.published.append(new)
            self.more.notify_all()

    def agent(self, verify=None, **more):
        agent = Agent(
            verify or self.verify,
            more.pop('channels', (self.publish,)),
            lambda _: {str(self.directory / 'watched')},
            lambda: self.timing,
            **more,
        )
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE)
        self.addCleanup(agent.stop)
        return agent

    def wait_for(self, fact):
        with self.more:
            self.assertTrue(self.more.wait_for(fact, DEADLINE), 'it did not come to be')

    def settled(self, agent):
        """Wait until the agent waits: at the start it looks twice."""
        self.wait_for(lambda: len(self.published) >= 2)
        return len(self.published)

    def test_it_verifies_at_once(self):
        agent = self.agent()
        self.wait_for(lambda: self.published)
        self.assertEqual('node1', agent.report().host)

    def test_a_changed_file_is_verified(self):
        before = self.settled(self.agent())
        (self.directory / 'watched').write_text('x')
        self.wait_for(lambda: len(self.published) > before)

    def test_the_interval_is_verified(self):
        self.timing = Timing(0.05)
        self.agent()
        self.wait_for(lambda: len(self.published) > 10)

    def test_a_trigger_is_verified(self):
        agent = self.agent()
        before = self.settled(agent)
        agent.trigger()
        self.wait_for(lambda: len(self.published) > before)

    def test_stop_ends_it(self):
        agent = self.agent()
        self.settled(agent)
        agent.stop()  # the clean-up joins the thread

    def test_verify_now_is_observed_after_the_call(self):
        agent = self.agent(lambda _: report(host=f'seen{self.value}'))
        self.value = 0
        self.wait_for(lambda: self.published)
        for self.value in range(1, 20):
            self.assertEqual(f'seen{self.value}', agent.verify_now(DEADLINE).host)

    value = 0

    def test_calls_that_come_together_share_a_verification(self):
        gate = threading.Event()
        begun = threading.Semaphore(0)

        def slow(previous):
            begun.release()
            gate.wait(DEADLINE)
            self.count += 1
            return report()

        agent = self.agent(slow)
        begun.acquire(timeout=DEADLINE)
        callers = [threading.Thread(target=agent.verify_now, args=(DEADLINE,)) for _ in range(50)]
        for caller in callers:
            caller.start()
        gate.set()
        for caller in callers:
            caller.join(DEADLINE)
        # One that had begun, one more for all, and those of the start.
        self.assertLessEqual(self.count, 4)

    def test_verify_now_gives_up(self):
        gate = threading.Event()

        def hangs(previous):
            gate.wait(DEADLINE)
            return report()

        agent = self.agent(hangs)
        self.addCleanup(gate.set)
        self.assertRaises(TimeoutError, agent.verify_now, 0.05)
        self.assertIsNone(agent.report())

    def test_reports_are_numbered_per_boot(self):
        agent = self.agent(last=report(sequence=41))
        self.settled(agent)
        self.assertEqual([42, 43], [each.sequence for each in self.published[:2]])

    def test_another_boot_begins_again(self):
        agent = self.agent(last=report(sequence=41, boot_id='boot0'))
        self.settled(agent)
        self.assertEqual(1, self.published[0].sequence)

    def test_a_defect_becomes_a_report_and_the_loop_goes_on(self):
        def fails(previous):
            self.count += 1
            if self.count == 1:
                raise RuntimeError('a defect')
            return report()

        self.agent(fails)
        self.wait_for(lambda: len(self.published) >= 2)
        first, second = self.published[:2]
        self.assertEqual(State.UNKNOWN, first.state)
        self.assertEqual(len(ConditionType), len(first.conditions))
        self.assertEqual({Status.UNKNOWN}, {each.status for each in first.conditions})
        self.assertIn('RuntimeError: a defect', first.conditions[0].message)
        self.assertEqual(State.COMPLIANT, second.state)

    def test_a_defect_keeps_nothing_of_the_last_report(self):
        good = Condition(ConditionType.GUEST_CPU, Status.TRUE, 'X', 'fine', 'x', 5.0)

        def fails(previous):
            raise RuntimeError('a defect')

        self.agent(fails, last=report(conditions=(good,), observation={'x': 1}))
        self.wait_for(lambda: self.published)
        self.assertIsNone(self.published[0].observation)
        self.assertNotIn(Status.TRUE, [each.status for each in self.published[0].conditions])

    def test_a_broken_channel_does_not_silence_the_others(self):
        def broken(new, old):
            raise OSError('disk full')

        self.agent(channels=(broken, self.publish))
        self.wait_for(lambda: len(self.published) >= 2)

    def test_signs_of_life_come_while_it_waits(self):
        beats = []

        def alive():
            with self.more:
                beats.append(1)
                self.more.notify_all()

        self.timing = Timing(86400, beat=0.02)
        self.agent(alive=alive)
        self.wait_for(lambda: len(beats) > 20)
        self.assertLess(len(self.published), 10)

    def test_no_sign_of_life_while_a_verification_hangs(self):
        beats = []
        gate = threading.Event()
        entered = threading.Event()

        def hangs(previous):
            entered.set()
            gate.wait(DEADLINE)
            return report()

        self.timing = Timing(86400, beat=0.01)
        self.agent(hangs, alive=lambda: beats.append(1))
        self.addCleanup(gate.set)
        entered.wait(DEADLINE)
        self.assertEqual(1, len(beats))
