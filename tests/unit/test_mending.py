"""Fixes as the daemon's loop makes them."""

import threading

import fixtures
from oslotest import base

from nested_agent.agent import Agent, Timing
from nested_agent.exceptions import RemediationError
from nested_agent.mending import Mending
from nested_agent.model import Result, Run, State, Trigger
from tests.unit.test_agent import report

DEADLINE = 60.0
NEVER = 86400.0


def run(**changes):
    parts = {
        'id': 'run',
        'trigger': Trigger.RPC,
        'who': '',
        'began': 1.0,
        'ended': 2.0,
        'boot_id': None,
        'result': Result.APPLIED,
        'message': '',
        'outcomes': (),
        'before': {},
        'after': {},
        'state_before': State.DRIFTED,
        'state_after': State.COMPLIANT,
    }
    return Run(**{**parts, **changes})


class Hands:
    """Remediator and schedule: what happened, in order, and what is to happen."""

    def __init__(self):
        self.log = []
        self.waits = None
        self.soon = None
        self.error = None
        self.others = 0
        self.acted = threading.Event()

    def recover(self):
        self.log.append('recover')

    def under_way(self):
        self.others -= 1
        return self.others >= 0

    def remediate(self, trigger, who='', *, noop=False):
        self.log.append(f'remediate {who} {noop}')
        if self.error:
            raise self.error
        return run(trigger=trigger, who=who)

    def failed(self, error):
        self.log.append(f'failed {error}')

    def due(self, report):
        return self.waits

    def act(self, report):
        self.log.append('act')
        self.waits = None
        self.acted.set()
        if self.error:
            raise self.error

    def retry_soon(self, report):
        return self.soon


class MendingTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.hands = Hands()
        self.alive = 0
        self.mending = Mending(self.hands, self.hands, self.sign)

    def sign(self):
        self.alive += 1

    def loop(self):
        """Run a loop with it until the test ends."""

        def verify(previous):
            self.hands.log.append('verify')
            return report()

        agent = Agent(
            verify, (), lambda _: (), lambda: Timing(NEVER), mending=self.mending, alive=self.sign
        )
        thread = threading.Thread(target=agent.run)
        thread.start()
        self.addCleanup(thread.join, DEADLINE)
        self.addCleanup(agent.stop)
        return agent

    def test_nothing_is_due(self):
        self.assertFalse(self.mending.mend(report()))
        self.assertEqual([], self.mending.seconds(report()))

    def test_what_is_due_is_done_and_then_looked_at(self):
        self.hands.waits = 0.0
        agent = self.loop()
        self.assertTrue(self.hands.acted.wait(DEADLINE))
        agent.verify_now(DEADLINE)
        self.assertEqual(['recover', 'verify', 'act', 'recover', 'verify'], self.hands.log[:5])

    def test_what_is_due_later_is_waited_for(self):
        self.hands.waits = 0.05
        self.assertFalse(self.mending.mend(report()))
        self.assertEqual([0.05], self.mending.seconds(report()))
        self.loop()
        waits = iter([0.05, 0.05, 0.0])
        self.hands.due = lambda report: next(waits, None)
        self.assertTrue(self.hands.acted.wait(DEADLINE))

    def test_what_waits_for_an_idle_moment_is_looked_at_again_soon(self):
        self.hands.soon = 30.0
        self.assertEqual([30.0], self.mending.seconds(report()))

    def test_a_request_is_answered_with_the_run(self):
        agent = self.loop()
        found = agent.remediate(noop=True, who='me at here')
        self.assertEqual((Trigger.RPC, 'me at here'), (found.trigger, found.who))
        self.assertIn('remediate me at here True', self.hands.log)

    def test_a_refused_request_says_why_and_the_loop_goes_on(self):
        agent = self.loop()
        for error in (RemediationError('not now'), ZeroDivisionError('a defect')):
            self.hands.error = error
            self.assertRaisesRegex(type(error), str(error), agent.remediate, noop=False, who='')
        agent.verify_now(DEADLINE)

    def test_a_defect_while_fixing_is_a_failed_attempt(self):
        self.hands.waits = 0.0
        self.hands.error = ZeroDivisionError('a defect')
        agent = self.loop()
        self.assertTrue(self.hands.acted.wait(DEADLINE))
        agent.verify_now(DEADLINE)
        self.assertIn('failed a defect', self.hands.log)

    def test_it_stands_aside_for_another_process(self):
        self.useFixture(fixtures.MonkeyPatch('nested_agent.mending.ASIDE_SECONDS', 0.0))
        self.hands.others = 3
        self.mending.stand_aside(lambda: False)
        self.assertEqual(3, self.alive)
        self.hands.others = 10**9
        self.mending.stand_aside(lambda: True)

    def test_a_recovery_that_fails_does_not_keep_from_verifying(self):
        self.hands.recover = lambda: 1 / 0
        agent = self.loop()
        self.assertEqual(State.COMPLIANT, agent.verify_now(DEADLINE).state)

    def test_what_is_asked_for_at_the_end_is_refused(self):
        answer = self.mending.ask('me', noop=False)
        self.mending.close()
        self.assertRaisesRegex(RemediationError, 'stopped', answer.result, DEADLINE)
        self.assertRaisesRegex(RemediationError, 'stopped', self.mending.ask, 'me', noop=False)
