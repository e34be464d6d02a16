"""Notifications: what is told of reports and runs, how it waits for the broker, what is logged."""

import dataclasses
import io
import json
import logging
import re
import ssl
import threading
from pathlib import Path
from unittest import mock

import fixtures
from oslo_config import cfg
from oslotest import base

from nested_agent.cmd import agent
from nested_agent.conf import libraries, load, notifications
from nested_agent.exceptions import ConfigurationError, RemediationError
from nested_agent.model import (
    Condition,
    ConditionType,
    Remediation,
    Result,
    State,
    Status,
    Trigger,
)
from nested_agent.reporting import notify_outbox, notify_payload, notify_transport
from nested_agent.reporting.notify import Notify
from nested_agent.reporting.notify_outbox import Message, Outbox
from nested_agent.reporting.notify_payload import END, ERROR, START, STATE_CHANGED, Priority
from tests.unit.fakes import make_tree
from tests.unit.test_agent import report
from tests.unit.test_mending import run
from tests.unit.test_remediator import RIGHT, RemediatorTestCase

DEADLINE = 60.0
SECRET = 's3cret-payload'


class Posted:
    """In place of oslo.messaging: what was to be sent."""

    def __init__(self):
        self.all = []

    def start(self):
        pass

    def stop(self, timeout):
        pass

    def post(self, host, notification):
        json.dumps(notification.payload)
        self.all.append(notification)

    def take(self):
        taken, self.all = self.all, []
        return taken


def brief(notification):
    """Return the event, and of a remediation its id and result."""
    payload = notification.payload
    told = (payload.get('id'), payload.get('result'))
    return (notification.event.rpartition('nested_agent.')[2], *(each for each in told if each))


def seen(last, **changes):
    """Return a report that shows a last run."""
    return report(remediation=Remediation('enforce', last_run=last), **changes)


class StateTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.posted = Posted()
        self.notify = Notify(self.posted)

    def test_only_a_change_is_told(self):
        first, drifted = report(), report(state=State.DRIFTED)
        self.notify(first, None)
        self.notify(first, first)
        self.notify(drifted, first)
        self.notify(drifted, drifted)
        told = self.posted.take()
        self.assertEqual([STATE_CHANGED] * 2, [each.event for each in told])
        states = [(each.payload['state_before'], each.payload['state']) for each in told]
        self.assertEqual([(None, 'compliant'), ('compliant', 'drifted')], states)

    def test_priorities(self):
        for state in State:
            priority = notify_payload.state_changed(report(state=state), None).priority
            good, bad = state is State.COMPLIANT, state is State.BLOCKED
            wanted = Priority.INFO if good else Priority.ERROR if bad else Priority.WARN
            self.assertEqual(wanted, priority)
        for result in Result:
            told = notify_payload.ended('node1', 'run', run(result=result))
            bad = result in (Result.FAILED, Result.ROLLED_BACK)
            self.assertEqual(ERROR if bad else END, told.event)
            wanted = {Result.SKIPPED: Priority.WARN}.get(result, Priority.INFO)
            self.assertEqual(Priority.ERROR if bad else wanted, told.priority)

    def test_it_is_compact(self):
        conditions = (
            Condition(ConditionType.GUEST_CPU, Status.FALSE, 'Bad', 'it is', 'observed', 5.0),
            Condition(ConditionType.KVM_USABLE, Status.TRUE, 'Good', 'it is', 'observed', 5.0),
        )
        full = report(conditions=conditions, observation={'file': SECRET})
        payload = notify_payload.state_changed(full, None).payload
        self.assertEqual(['GuestCPU'], [each['type'] for each in payload['conditions']])
        self.assertNotIn(SECRET, json.dumps(payload))
        self.assertNotIn('observed', json.dumps(payload))


class OthersTest(base.BaseTestCase):
    """Runs of other processes, and of other daemons, as reports show them."""

    def setUp(self):
        super().setUp()
        self.posted = Posted()
        self.notify = Notify(self.posted)
        self.old = run(id='old', trigger=Trigger.COMMAND)

    def told(self, report_, previous):
        self.notify(report_, previous)
        return [brief(each) for each in self.posted.take() if each.event != STATE_CHANGED]

    def test_one_by_root_is_told_when_it_is_seen(self):
        before = seen(None)
        self.assertEqual([], self.told(before, before))
        new = run(id='new', trigger=Trigger.COMMAND, began=5.0, ended=9.0)
        after = seen(new)
        wanted = [('remediation.start', 'new'), ('remediation.end', 'new', 'applied')]
        self.assertEqual(wanted, self.told(after, before))
        self.assertEqual([], self.told(after, after))
        # And so it is after a restart.
        self.notify = Notify(self.posted)
        self.assertEqual(wanted, self.told(after, before))
        start = notify_payload.started_before('node1', new)
        self.assertEqual((5.0, 5.0), (start.payload['time'], start.payload['began']))

    def test_nothing_is_news_where_nothing_was_known(self):
        self.assertEqual([], self.told(seen(self.old), None))
        self.notify = Notify(self.posted)
        self.assertEqual([], self.told(seen(self.old), report(remediation=None)))
        self.assertEqual([], self.told(seen(None), seen(self.old)))

    def test_what_a_daemon_did_it_has_told(self):
        for trigger in (Trigger.AUTONOMOUS, Trigger.RPC):
            last = run(id='new', trigger=trigger)
            self.assertEqual([], self.told(seen(last), seen(self.old)))

    def test_a_recovery_ends_what_was_interrupted(self):
        recovery = run(id='r', trigger=Trigger.RECOVERY, about='x', result=Result.ROLLED_BACK)
        # Before the first report nobody knows of which host.
        self.notify.ended(recovery)
        self.assertEqual([], self.posted.all)
        told = self.told(seen(recovery), seen(self.old))
        self.assertEqual([('remediation.error', 'x', 'rolled_back')], told)

    def test_a_second_recovery_is_one_of_its_own(self):
        first = run(id='r1', trigger=Trigger.RECOVERY, about='x', result=Result.FAILED)
        second = run(id='r2', trigger=Trigger.RECOVERY, about='x', result=Result.APPLIED)
        wanted = [('remediation.start', 'r2'), ('remediation.end', 'r2', 'applied')]
        for restarted in (False, True):
            self.notify = self.onlooker = Notify(self.posted)
            self.notify(seen(self.old), seen(self.old))
            told = self.told(seen(first), seen(self.old))
            self.assertEqual([('remediation.error', 'x', 'failed')], told)
            if restarted:
                self.notify = self.onlooker = Notify(self.posted)
            self.assertEqual(wanted, self.told(seen(second), seen(first)))


class RunsTest(RemediatorTestCase):
    """What this daemon itself does, on a simulated node."""

    def setUp(self):
        super().setUp()
        self.posted = Posted()
        self.notify = self.onlooker = Notify(self.posted)

    def have(self, *arguments, **changes):
        super().have(*arguments, **changes)
        self.notify(self.look(), None)
        self.posted.take()
        return self.node

    def told(self):
        return [brief(each) for each in self.posted.take()]

    def test_it_is_fixed(self):
        self.have()
        done = self.fix()
        begun, ended = self.posted.all
        self.assertEqual((START, END), (begun.event, ended.event))
        self.assertEqual({done.id}, {each.payload['id'] for each in (begun, ended)})
        self.assertEqual(('command', 'me'), (begun.payload['trigger'], begun.payload['who']))
        kinds = [each['kind'] for each in begun.payload['actions']]
        self.assertEqual([each.action.kind.value for each in done.outcomes], kinds)
        self.assertEqual(kinds, [each['kind'] for each in ended.payload['outcomes']])
        self.assertEqual('compliant', ended.payload['state_after'])
        self.assertEqual(Priority.INFO, ended.priority)

    def test_there_is_nothing_to_do_or_it_is_only_shown(self):
        self.have()
        self.fix(noop=True)
        self.have(RIGHT)
        self.fix()
        self.assertEqual([], self.told())

    def test_it_fails(self):
        self.have()
        self.node.hangs.add('load')
        done = self.fix()
        self.assertIn(done.result, (Result.FAILED, Result.ROLLED_BACK))
        wanted = [('remediation.start', done.id), ('remediation.error', done.id, done.result)]
        self.assertEqual(wanted, self.told())

    def test_it_is_refused(self):
        self.have()
        with mock.patch(
            'nested_agent.remediation.remediator.Steps', side_effect=OSError('no such thing')
        ):
            done = self.fix()
        wanted = [('remediation.start', done.id), ('remediation.error', done.id, 'failed')]
        self.assertEqual(wanted, self.told())

    def test_a_defect_ends_it_and_the_recovery_is_one_of_its_own(self):
        self.have()
        with mock.patch(
            'nested_agent.remediation.transaction.Transaction.run', side_effect=ZeroDivisionError
        ):
            error = self.assertRaises(ZeroDivisionError, self.fix)
        ((event, id_),) = self.told()
        self.assertEqual('remediation.start', event)
        self.remediator.failed(error)
        self.assertEqual([('remediation.error', id_, 'failed')], self.told())
        recovery = self.remediator.recover()
        self.assertEqual(id_, recovery.about)
        self.assertEqual(['remediation.start', 'remediation.error'], [x[0] for x in self.told()])

    def test_after_a_defect_that_nobody_wrote_down_the_recovery_ends_it(self):
        self.have()
        with mock.patch(
            'nested_agent.remediation.transaction.Transaction.run', side_effect=ZeroDivisionError
        ):
            self.assertRaises(ZeroDivisionError, self.fix)
        ((_, id_),) = self.told()
        self.remediator.recover()
        self.assertEqual([('remediation.error', id_, 'rolled_back')], self.told())

    def test_killed_anywhere_there_is_one_end_to_one_start(self):
        places = 0
        for place in range(1, 1000, 11):
            self.have()
            before = self.look()
            if not self.interrupt(place):
                break
            places += 1
            told = self.told()
            # The next daemon: its first report comes after the recovery.
            self.notify = self.onlooker = Notify(self.posted)
            self.remediator = self.another()
            recovery = self.remediator.recover()
            self.notify(self.look(), before)
            told += [each for each in self.told() if each != ('state.changed',)]
            starts = [each[1] for each in told if each[0] == 'remediation.start']
            ends = [each[1] for each in told if each[0] != 'remediation.start']
            self.assertLessEqual(len(ends), 1, (place, told))
            if starts:
                self.assertEqual(starts, ends, (place, told))
            elif ends:
                # Killed between the journal and its telling.
                self.assertEqual([recovery.about], ends)
        self.assertGreater(places, 3)

    def test_who_looks_on_cannot_stop_it(self):
        self.have()
        self.posted.post = mock.Mock(side_effect=ZeroDivisionError)
        with self.assertLogs('nested_agent.remediation', logging.ERROR):
            self.assertEqual(Result.APPLIED, self.fix().result)

    def test_a_run_that_never_began_is_none(self):
        self.have()
        self.remediator.pause(None, 'a reason')
        self.posted.take()
        self.assertRaises(RemediationError, self.remediator.remediate, Trigger.RPC)
        self.assertEqual([], self.told())


class OutboxTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(f'{notify_outbox.__name__}.FIRST_PAUSE', 0.001))
        self.useFixture(fixtures.MonkeyPatch(f'{notify_outbox.__name__}.LONGEST_PAUSE', 0.002))
        # What another test has said is news all the same.
        for each in notify_outbox.LOG.filters:
            each._passed.clear()
        self.log = self.useFixture(fixtures.FakeLogger(notify_outbox.__name__))
        self.sent = []
        self.tries = []
        self.more = threading.Condition()
        self.error = None
        self.gate = threading.Event()
        self.gate.set()

    def outbox(self, limit=5):
        outbox = Outbox(limit)
        outbox.start()
        self.addCleanup(outbox.stop, DEADLINE)
        self.addCleanup(self.gate.set)
        return outbox

    def message(self, number, retries=None):
        def send():
            with self.more:
                self.tries.append(number)
                self.more.notify_all()
            self.gate.wait(DEADLINE)
            error = self.error
            if error:
                raise error
            with self.more:
                self.sent.append(number)
                self.more.notify_all()

        return Message(send, retries)

    def wait_for(self, fact):
        with self.more:
            self.assertTrue(self.more.wait_for(fact, DEADLINE), (self.tries, self.sent))

    def test_in_order_and_again_until_they_are_sent(self):
        self.error = OSError('no broker')
        outbox = self.outbox()
        for number in range(3):
            outbox.put(self.message(number))
        self.wait_for(lambda: self.tries.count(0) > 3)
        self.assertEqual({0}, set(self.tries))
        self.error = None
        self.wait_for(lambda: len(self.sent) == 3)
        self.assertEqual([0, 1, 2], self.sent)
        self.assertEqual(0, outbox.dropped)
        self.assertEqual(1, self.log.output.count('was not sent: no broker'))

    def test_nobody_waits_and_the_oldest_goes_first(self):
        self.gate.clear()
        self.error = OSError('no broker')
        outbox = self.outbox()
        for number in range(1000):
            outbox.put(self.message(number))
        self.assertEqual(995, outbox.dropped)
        self.error = None
        self.gate.set()
        self.wait_for(lambda: 999 in self.sent)
        self.assertEqual([995, 996, 997, 998, 999], self.sent[-5:])
        outbox.stop(DEADLINE)
        self.assertEqual(1000 - len(self.sent), outbox.dropped)
        self.assertEqual(1, self.log.output.count('the oldest are dropped'))
        self.assertEqual(1, self.log.output.count(f'sent again; {outbox.dropped} were dropped'))

    def test_as_often_as_the_operator_wants(self):
        self.error = OSError('no broker')
        outbox = self.outbox()
        for number, retries in enumerate((0, 2)):
            outbox.put(self.message(number, retries))
        self.wait_for(lambda: len(self.tries) == 4)
        self.error = None
        outbox.put(self.message(2, 0))
        self.wait_for(lambda: self.sent)
        self.assertEqual([0, 1, 1, 1, 2], self.tries)
        outbox.stop(DEADLINE)
        self.assertEqual(2, outbox.dropped)
        self.assertIn('sent again; 2 were dropped', self.log.output)

    def test_a_certificate_is_the_broker_s_fault(self):
        self.error = ssl.SSLCertVerificationError('expired')
        outbox = self.outbox()
        outbox.put(self.message(0))
        self.wait_for(lambda: len(self.tries) > 2)
        self.error = None
        self.wait_for(lambda: self.sent == [0])

    def test_what_never_can_be_sent_holds_up_nothing(self):
        self.error = TypeError(SECRET)
        outbox = self.outbox()
        outbox.put(self.message(0))
        self.wait_for(lambda: self.tries == [0])
        outbox.put(self.message(1))
        self.wait_for(lambda: self.tries == [0, 1])
        self.error = None
        outbox.put(self.message(2))
        self.wait_for(lambda: self.sent == [2])
        self.assertEqual(2, outbox.dropped)
        self.assertIn('never be sent: TypeError', self.log.output)
        self.assertNotIn(SECRET, self.log.output)

    def test_the_end_is_waited_for_no_longer_than_allowed_and_what_is_lost_is_counted(self):
        self.gate.clear()
        outbox = self.outbox()
        for number in range(3):
            outbox.put(self.message(number))
        self.wait_for(lambda: self.tries)
        outbox.stop(0.01)
        self.assertIn('3 notifications were not sent: the agent ends', self.log.output)

    def test_at_the_end_what_there_is_is_sent(self):
        outbox = self.outbox()
        for number in range(5):
            outbox.put(self.message(number))
        outbox.stop(DEADLINE)
        self.assertEqual([0, 1, 2, 3, 4], self.sent)
        Outbox().stop(DEADLINE)  # never started


class ConfigurationTest(base.BaseTestCase):
    def load(self, text):
        directory = make_tree({'/nested-agent.conf': text})
        self.addCleanup(directory.cleanup)
        conf = cfg.ConfigOpts()
        load.load(conf, [f'{directory.name}/nested-agent.conf'])
        return conf

    def wanted(self, text):
        return notifications.options(self.load(text))

    def group(self, text):
        return f'[{notifications.GROUP}]\n{text}\n'

    def test_off_unless_a_driver_is_named(self):
        for text in (
            '',
            self.group('topics = x'),
            self.group('driver ='),
            self.group('driver = noop'),
        ):
            self.assertFalse(self.wanted(text).wanted, text)
            self.assertIsNone(agent.notifier(self.load(text)))
        self.assertTrue(self.wanted(self.group('driver = noop\ndriver = log')).wanted)

    def refused(self, text):
        return str(self.assertRaises(ConfigurationError, agent.notifier, self.load(text)))

    def test_no_broker_is_refused(self):
        for driver in ('messaging', 'messagingv2'):
            said = self.refused(self.group(f'driver = {driver}'))
            self.assertIn('[oslo_messaging_notifications] driver: ', said)
            self.assertIn(f'{driver} needs a broker', said)

    def test_so_is_what_cannot_be_used_and_no_password_is_shown(self):
        for text, word in (
            (
                'driver = messagingv2\ntransport_url = rabbit://u:s3cret@h:port/',
                'transport_url: it is',
            ),
            ('driver = messagingv2\ntransport_url = pigeon://u:s3cret@h/', 'transport_url: '),
            ('driver = messagingv3\ntransport_url = fake://', "driver: 'messagingv3' is none of "),
            ('driver = log\ndriver = lgo', "driver: 'lgo' is none of "),
            ('driver = log\ntransport_url = here', 'transport_url: it is not'),
        ):
            said = self.refused(self.group(text))
            self.assertIn(f'[{notifications.GROUP}] {word}', said)
            self.assertNotIn('s3cret', said)
        said = self.refused(
            '[DEFAULT]\ntransport_url = rabbit://u:s3cret@h:port/\n'
            + self.group('driver = messaging')
        )
        self.assertIn('[DEFAULT] transport_url: it is', said)

    def test_the_log_needs_no_broker(self):
        notify = agent.notifier(self.load(self.group('driver = log')))
        notify.start()
        self.addCleanup(notify.stop, DEADLINE)
        log = self.useFixture(fixtures.FakeLogger('oslo.messaging.notification'))
        notify(report(), None)
        (line,) = log.output.splitlines()
        told = json.loads(line)
        self.assertEqual('nested_agent.node1', told['publisher_id'])
        self.assertEqual(STATE_CHANGED, told['event_type'])

    def test_a_broker_of_its_own(self):
        text = self.group('driver = messagingv2\ntransport_url = fake://')
        self.assertTrue(self.wanted(text).own_broker)
        self.assertIsNotNone(agent.notifier(self.load(text)))


class LogTest(base.BaseTestCase):
    def test_what_oslo_messaging_could_not_send_is_not_in_the_log(self):
        notify_transport._install_filter()
        notify_transport._install_filter()
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        for name in notify_transport.TALKATIVE:
            logger = logging.getLogger(name)
            found = [each for each in logger.filters if type(each).__name__ == 'WithoutPayload']
            self.assertEqual(1, len(found))
            logger.addHandler(handler)
            self.addCleanup(logger.removeHandler, handler)
        import oslo_messaging

        transport = mock.Mock(spec=oslo_messaging.transport.NotificationTransport)
        transport.conf = cfg.ConfigOpts()
        transport._send_notification.side_effect = OSError('no broker')
        oslo_messaging.Notifier(transport, 'x', driver='messagingv2').info({}, 'e', {'k': SECRET})
        broken = oslo_messaging.Notifier(transport, 'x', driver='messagingv2')
        broken._driver_mgr.extensions[0].obj = None
        broken.info({}, 'e', {'k': SECRET})
        self.assertEqual(2, stream.getvalue().count('Payload=(not shown)'))
        self.assertNotIn(SECRET, stream.getvalue())


class DocumentationTest(RemediatorTestCase):
    """The examples have the form of what is really told."""

    PAGE = Path(__file__).parents[2] / 'doc/source/reference/notifications.rst'

    def really(self):
        """Return what is told of a drift and its fix, by event."""
        posted = Posted()
        notify = self.onlooker = Notify(posted)
        self.have()
        drifted = dataclasses.replace(self.look(), sequence=17)
        conditions = tuple(dataclasses.replace(each, since=1.0) for each in drifted.conditions)
        drifted = dataclasses.replace(drifted, conditions=conditions)
        notify(drifted, dataclasses.replace(drifted, state=State.COMPLIANT))
        self.fix()
        return {each.event: each for each in posted.all}

    def form(self, value):
        if isinstance(value, dict):
            return {key: self.form(each) for key, each in value.items()}
        if isinstance(value, list):
            # Of actions, one that sets something: others have no value before.
            known = [each for each in value if None not in each.values()]
            return [self.form(known[0])]
        return type(value).__name__

    def test_examples(self):
        told = self.really()
        blocks = re.findall(r'.. code-block:: json\n\n((?:   .*\n|\n)+)', self.PAGE.read_text())
        examples = [json.loads(each) for each in blocks]
        self.assertEqual(sorted(told), sorted(each['event_type'] for each in examples))
        for example in examples:
            really = told[example['event_type']]
            payload = json.loads(json.dumps(really.payload))
            self.assertEqual(self.form(payload), self.form(example['payload']))
            self.assertEqual(list(payload), list(example['payload']))
            self.assertEqual(really.priority.value.upper(), example['priority'])
            self.assertEqual(f'nested_agent.{example["payload"]["host"]}', example['publisher_id'])

    def test_every_event_and_number(self):
        text = self.PAGE.read_text()
        for event in (STATE_CHANGED, START, END, ERROR):
            self.assertIn(f'   * - ``{event}``\n', text)
        self.assertIn(f'``schema_version`` ({notify_payload.SCHEMA_VERSION})', text)
        self.assertIn(f'up to {notify_outbox.LIMIT} messages', text)
        first, longest = notify_outbox.FIRST_PAUSE, notify_outbox.LONGEST_PAUSE
        self.assertIn(f'after {first:g} to {longest:g} s', text)

    def test_the_options_are_those_of_oslo_messaging(self):
        theirs = dict(libraries.options(messaging=True))[notifications.GROUP]
        names = {each.dest: type(each) for each in theirs}
        for ours in notifications.OPTS:
            self.assertEqual(type(ours), names[ours.dest])
