"""What a report makes of a node, in whatever order reports come."""

import dataclasses
import random
from typing import Any

from oslotest import base

from nested_agent.collector.digest import MESSAGE_LENGTH, digest
from nested_agent.collector.node import (
    AHEAD_SECONDS,
    LATE_SECONDS,
    REASONS_LENGTH,
    Event,
    Taken,
    joined,
    merge,
    not_ahead,
)
from nested_agent.collector.pending import PER_NODE, Pending
from tests.unit.test_collector_digest import plain

DOWN = 180.0


def told(sequence, received, *, boot='boot1', run=None, **changes):
    remediation = None
    if run:
        remediation = {
            'last_run': {
                'id': run, 'result': 'failed', 'state_before': 'drifted',
                'state_after': 'drifted', 'message': 'It is busy.',
            }
        }  # fmt: skip
    report = plain(sequence=sequence, boot_id=boot, remediation=remediation, **changes)
    return digest(report, '0.1.0', received)


class MergeTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.node: Any = None
        self.events: list[Event] = []

    def tell(self, *digests):
        for each in digests:
            merged = merge(self.node, each, DOWN)
            self.node = merged.node
            self.events += merged.events
        return merged

    def kinds(self):
        found = [each.kind for each in self.events]
        self.events.clear()
        return found

    def test_the_first_report(self):
        merged = self.tell(told(1, 10.0))
        self.assertEqual(['state'], self.kinds())
        self.assertEqual((10.0, 10.0, 1), (self.node.since, self.node.seen, self.node.sequence))
        self.assertIsNotNone(merged.text)

    def test_a_change_of_state(self):
        self.tell(told(1, 10.0), told(2, 20.0), told(3, 30.0, state='compliant'))
        first, second = self.events
        self.assertEqual((None, 'drifted', 'Disabled'), (first.before, first.after, first.reason))
        self.assertEqual(('drifted', 'compliant', 30.0), (second.before, second.after, second.time))
        self.assertEqual(30.0, self.node.since)

    def test_the_same_again_is_a_sign_of_life(self):
        self.tell(told(1, 10.0))
        before = self.node
        merged = self.tell(told(1, 70.0))
        self.assertIsNone(merged.text)
        self.assertEqual(dataclasses.replace(before, seen=70.0, confirmed=70.0), self.node)
        self.assertEqual(['state'], self.kinds())

    def test_any_order_comes_to_the_same(self):
        digests = [
            told(each, 10.0 + each, state=f'state-{chr(97 + each % 3)}') for each in range(9)
        ]
        wanted = (8, 'state-c')
        for _ in range(100):
            self.node = None
            self.tell(*random.sample(digests + digests, 18))
            self.assertEqual(wanted, (self.node.sequence, self.node.state))

    def test_a_remediation_is_told_once(self):
        self.tell(told(1, 10.0, run='run1'), told(2, 20.0, run='run1'), told(3, 30.0, run='run2'))
        self.assertEqual(['state', 'remediation', 'remediation'], [e.kind for e in self.events])
        self.assertEqual(('failed', 'It is busy.'), (self.events[1].reason, self.events[1].message))
        self.tell(told(4, 40.0))
        self.assertEqual('run2', self.node.run)

    def test_a_reboot(self):
        self.tell(told(500, 10.0), told(1, 100.0, boot='boot2'))
        self.assertEqual(['state', 'reboot'], self.kinds())
        self.assertEqual(('boot2', 'boot1', 1), (
            self.node.boot_id, self.node.boot_before, self.node.sequence,
        ))  # fmt: skip
        # What was delayed is late, whatever its number, and no event.
        self.tell(told(501, 101.0, state='compliant'))
        self.assertEqual(('boot2', 'drifted', 101.0), (
            self.node.boot_id, self.node.state, self.node.seen,
        ))  # fmt: skip
        self.assertEqual([], self.kinds())

    def test_two_machines_under_one_name(self):
        self.tell(told(500, 10.0), told(1, 100.0, boot='boot2'))
        self.kinds()
        now, number = 100.0 + LATE_SECONDS, 1
        for _ in range(20):
            now, number = now + 30.0, number + 1
            self.tell(told(number, now, boot='boot2'), told(500 + number, now + 1))
        self.assertEqual('boot2', self.node.boot_id)
        found = self.kinds()
        self.assertEqual({'contested'}, set(found))
        # At most once per agent_down_time.
        self.assertLessEqual(len(found), 20 * 30 / DOWN + 1)

    def test_an_impostor_does_not_stay(self):
        """One forged report: the node itself is believed again after the time of being down."""
        self.tell(told(500, 10.0), told(1, 100.0, boot='forged', state='compliant'))
        for number in range(20):
            self.tell(told(501 + number, 110.0 + 60 * number))
        self.assertEqual(('boot1', 'drifted'), (self.node.boot_id, self.node.state))

    def test_a_forged_number_does_not_stay(self):
        self.tell(told(5, 10.0), told(1 << 60, 20.0, state='compliant'))
        for number in range(6, 20):
            self.tell(told(number, 60.0 * number))
        self.assertEqual((19, 'drifted'), (self.node.sequence, self.node.state))
        self.assertIn('restarted', self.kinds())

    def test_a_lost_state_directory_heals(self):
        self.tell(told(500, 10.0), told(1, 70.0), told(2, 130.0))
        self.assertEqual((500, 130.0), (self.node.sequence, self.node.seen))
        self.tell(told(4, 10.0 + DOWN + 1))
        self.assertEqual(4, self.node.sequence)
        self.assertEqual(['state', 'restarted'], self.kinds())

    def test_a_lost_state_directory_heals_with_the_same_number_too(self):
        for run, changes in (
            (None, {'state': 'blocked'}),
            (None, {'conditions': [{'type': 'T', 'status': 'False', 'reason': 'Other'}]}),
            ('run2', {}),
        ):
            self.node = None
            self.tell(told(2, 10.0, run='run1'))
            before = self.node
            self.kinds()
            again = [told(2, 10.0 + each, run=run, **changes) for each in (60.0, DOWN, DOWN + 1)]
            merged = self.tell(*again[:2])
            self.assertEqual((Taken.STALE, None), (merged.taken, merged.text))
            self.assertEqual(dataclasses.replace(before, seen=10.0 + DOWN), self.node)
            self.assertEqual([], self.kinds())
            merged = self.tell(again[2])
            self.assertEqual((Taken.ACCEPTED, again[2].text), (merged.taken, merged.text))
            self.assertEqual(10.0 + DOWN + 1, self.node.confirmed)
            self.assertEqual('restarted', self.kinds()[0])

    def test_the_same_again_without_the_run_that_is_known(self):
        self.tell(told(1, 10.0, run='run1'), told(2, 20.0), told(2, 80.0))
        self.assertEqual((80.0, 'run1'), (self.node.confirmed, self.node.run))

    def test_it_was_down(self):
        self.tell(told(1, 10.0), told(2, 10.0 + DOWN + 5))
        self.assertEqual(['state', 'returned'], self.kinds())

    def test_a_clock_that_was_ahead(self):
        """What it wrote must not count until that time has come."""
        self.tell(told(1, 10.0), told(2, 1e9))
        self.node = dataclasses.replace(self.node, contested=1e9)
        now = 100.0
        self.assertIs(self.node, not_ahead(self.node, 1e9 - AHEAD_SECONDS + 1))
        self.node = not_ahead(self.node, now)
        self.assertEqual(
            (10.0, now, now, 10.0, now),
            (self.node.since, self.node.seen, self.node.confirmed, self.node.booted,
             self.node.contested),
        )  # fmt: skip
        self.tell(told(3, now + 1))
        self.assertEqual((3, now + 1), (self.node.sequence, self.node.seen))

    def test_an_event_s_message_fits(self):
        reasons = [
            {'type': 'T', 'status': 'False', 'reason': f'{"Reason" * 9}{number}'}
            for number in range(64)
        ]
        self.tell(told(1, 10.0, conditions=reasons))
        message = self.events[0].message
        self.assertLessEqual(len(message), MESSAGE_LENGTH)
        self.assertTrue(message.startswith('also ReasonReason'), message)

    def test_reasons_fit(self):
        many = tuple(f'{"Reason" * 10}{number}' for number in range(64))
        kept = joined(many)
        self.assertLessEqual(len(kept), REASONS_LENGTH)
        self.assertTrue(kept.startswith(f' {many[0]} ') and kept.endswith(' '))
        self.assertEqual('', joined(()))


class PendingTest(base.BaseTestCase):
    def test_what_repeats_takes_the_place(self):
        pending = Pending(lambda: 10)
        for number in range(100):
            pending.add(told(number, float(number)))
        ((host, reports),) = pending.take(5).items()
        self.assertEqual(('node1', [99]), (host, [each.sequence for each in reports]))
        self.assertEqual(0, len(pending))

    def test_what_changes_is_kept(self):
        pending = Pending(lambda: 10)
        for number, state in enumerate(('drifted', 'compliant', 'drifted')):
            pending.add(told(number, float(number), state=state))
        (reports,) = pending.take(5).values()
        self.assertEqual([0, 1, 2], [each.sequence for each in reports])

    def test_it_is_bounded(self):
        pending = Pending(lambda: 2)
        for number in range(1000):
            pending.add(told(number, float(number), state=f'state-{"ab"[number % 2]}'))
        self.assertTrue(pending.add(told(1, 1.0, host='node2')))
        self.assertFalse(pending.add(told(1, 1.0, host='node3')))
        taken = pending.take(5)
        self.assertEqual(PER_NODE, len(taken['node1']))
        self.assertEqual(999, taken['node1'][-1].sequence)

    def test_it_is_bounded_in_size(self):
        size = len(told(1, 1.0, message='x' * 10000).text)
        pending = Pending(lambda: 1000, bytes_most=10 * size)
        taken = [
            pending.add(told(1, 1.0, host=f'node{each}', message='x' * 10000)) for each in range(20)
        ]
        self.assertEqual((10, 10), (taken.count(True), taken.count(False)))
        # What takes the place of another is taken all the same.
        for number in range(2, 10):
            self.assertTrue(pending.add(told(number, 1.0, host='node0', message='x' * 10000)))
        self.assertFalse(pending.add(told(10, 1.0, host='node0', message='x' * 30000)))
        # What was written makes room, what is given back takes it again.
        batch = pending.take(5)
        self.assertTrue(pending.add(told(1, 1.0, host='new', message='x' * 30000)))
        pending.give_back(batch)
        self.assertFalse(pending.add(told(1, 1.0, host='newer', message='x' * 30000)))
        pending.take(1000)
        self.assertTrue(pending.add(told(1, 1.0, host='newer', message='x' * 30000)))

    def test_how_many_there_may_be_can_change(self):
        most = 1
        pending = Pending(lambda: most)
        self.assertTrue(pending.add(told(1, 1.0)))
        self.assertFalse(pending.add(told(1, 1.0, host='node2')))
        most = 2
        self.assertTrue(pending.add(told(1, 1.0, host='node2')))

    def test_given_back_is_before_what_came(self):
        pending = Pending(lambda: 10)
        pending.add(told(1, 1.0))
        pending.add(told(1, 1.0, host='node2'))
        batch = pending.take(5)
        pending.add(told(2, 2.0, state='compliant'))
        pending.add(told(1, 2.0, host='node3'))
        pending.give_back(batch)
        taken = pending.take(5)
        self.assertEqual(['node1', 'node2', 'node3'], list(taken))
        self.assertEqual([1, 2], [each.sequence for each in taken['node1']])
