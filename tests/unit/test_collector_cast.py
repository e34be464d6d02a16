"""Reports to the collector: when they are sent, and that nothing waits for them."""

import dataclasses
import threading
import time

from oslotest import base

from nested_agent.model import State
from nested_agent.reporting import cast
from tests.unit.test_collector_digest import report

DEADLINE = 60


class CastTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.sent = []
        self.more = threading.Condition()
        self.interval = 86400.0
        self.failures = 0
        self.gate = threading.Event()
        self.gate.set()

    def send(self, plain):
        with self.more:
            self.sent.append(plain['sequence'])
            self.more.notify_all()
        self.gate.wait(DEADLINE)
        if self.failures:
            self.failures -= 1
            raise OSError('no broker')
        return True

    def channel(self):
        channel = cast.Cast(self.send, lambda: self.interval)
        channel.start()
        self.addCleanup(channel.stop, DEADLINE)
        self.addCleanup(self.gate.set)
        return channel

    def wait_for(self, fact):
        with self.more:
            self.assertTrue(self.more.wait_for(fact, DEADLINE), self.sent)

    def told(self, sequence, **changes):
        return dataclasses.replace(report(), sequence=sequence, **changes)

    def test_the_first_report_is_sent(self):
        self.channel()(self.told(1), self.told(0))
        self.wait_for(lambda: self.sent == [1])

    def test_a_change_is_sent_and_a_repetition_is_not(self):
        channel = self.channel()
        channel(self.told(1), None)
        self.wait_for(lambda: self.sent == [1])
        for number in range(2, 20):
            channel(self.told(number), self.told(number - 1))
        channel(self.told(20, state=State.COMPLIANT), self.told(19))
        self.wait_for(lambda: len(self.sent) > 1)
        self.assertEqual([1, 20], self.sent)

    def test_the_interval_sends_the_latest(self):
        self.interval = 0.05
        channel = self.channel()
        channel(self.told(1), None)
        self.wait_for(lambda: len(self.sent) > 2)
        channel(self.told(2), self.told(1))
        self.wait_for(lambda: 2 in self.sent)

    def test_zero_sends_nothing_until_it_is_changed(self):
        self.interval = 0.0
        channel = self.channel()
        channel(self.told(1), None)
        self.interval = 0.01
        channel(self.told(2), self.told(1))
        self.wait_for(lambda: 2 in self.sent)
        self.assertNotIn(1, self.sent)

    def test_nothing_waits_and_only_the_latest_counts(self):
        self.gate.clear()
        channel = self.channel()
        channel(self.told(1), None)
        self.wait_for(lambda: self.sent == [1])
        begun = time.monotonic()
        for number in range(2, 10000):
            state = (State.COMPLIANT, State.DRIFTED)[number % 2]
            channel(self.told(number, state=state), self.told(number - 1))
        self.assertLess(time.monotonic() - begun, DEADLINE / 2)
        self.gate.set()
        self.wait_for(lambda: len(self.sent) > 1)
        self.assertEqual([1, 9999], self.sent)

    def test_a_failure_is_tried_again(self):
        self.interval = 0.01
        self.failures = 3
        self.channel()(self.told(1), None)
        self.wait_for(lambda: len(self.sent) > 3)

    def test_stopping_does_not_wait_for_the_broker(self):
        self.gate.clear()
        channel = self.channel()
        channel(self.told(1), None)
        self.wait_for(lambda: self.sent)
        begun = time.monotonic()
        channel.stop(0.1)
        self.assertLess(time.monotonic() - begun, DEADLINE / 2)

    def test_what_counts_as_a_change(self):
        first = self.told(1)
        self.assertFalse(cast.changed(self.told(2, time=99.0, observation={'x': 1}), first))
        for changes in (
            {'state': State.COMPLIANT},
            {'boot_id': 'another'},
            {'conditions': first.conditions[:1]},
            {'policy': {'nested': 'disabled'}},
            {'remediation': None},
        ):
            self.assertTrue(cast.changed(self.told(2, **changes), first), changes)
