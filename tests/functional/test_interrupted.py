"""A run that is killed, or loses its power, anywhere: every place, on a simulated node."""

from nested_agent.model import Result, State, Trigger
from tests.unit.test_remediator import CONF, RemediatorTestCase


class InterruptedTest(RemediatorTestCase):
    def check(self, *, rebooted):
        places = 0
        words = set()
        for place in range(1, 1000):
            self.have()
            before = self.files()
            if not self.interrupt(place):
                break
            places += 1
            begun = (self.directory / 'journal.json').exists()
            if rebooted:
                self.node.reboot()
            if begun:
                self.assertEqual('Interrupted', self.condition().reason)
            self.remediator = self.another()
            run = self.remediator.recover()
            self.assertEqual(begun, run is not None, place)
            if run:
                words.add(run.message.split()[-2])
                self.assertEqual(Trigger.RECOVERY, run.trigger)
                self.assertNotEqual(Result.FAILED, run.result, run.message)
            if self.look().state is not State.COMPLIANT:
                self.assertIn(self.files()[CONF], (before[CONF],), place)
            self.assert_works()
            self.assertEqual(State.COMPLIANT, self.fix().state_after, place)
            self.assert_works()
        self.assertGreater(places, 30)
        return words

    def test_killed_anywhere(self):
        self.assertEqual({'finished', 'undone'}, self.check(rebooted=False))

    def test_the_power_lost_anywhere(self):
        self.assertEqual({'finished', 'undone'}, self.check(rebooted=True))

    def test_a_recovery_that_is_interrupted_itself(self):
        for place in range(1, 100):
            self.have()
            before = self.files()
            self.interrupt(20)
            fix, self.fix = self.fix, self.another().recover
            again = self.interrupt(place)
            self.fix = fix
            self.another().recover()
            self.assert_as_before(before)
            if not again:
                break
        self.assertGreater(place, 5)

    def test_a_revert_killed_anywhere(self):
        for place in range(1, 1000):
            self.have()
            before = self.files()
            self.fix()
            self.fix = self.remediator.revert
            interrupted = self.interrupt(place)
            del self.fix
            self.another().recover()
            self.assert_works()
            self.another().revert()
            self.assert_as_before(before)
            if not interrupted:
                break
        self.assertGreater(place, 20)
