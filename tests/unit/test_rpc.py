"""Server and client over oslo.messaging's driver that needs no broker."""

import io
import logging
import os
import queue
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher as rpc_dispatcher
from oslotest import base

from nested_agent import exceptions
from nested_agent.conf import load
from nested_agent.model import Condition, ConditionType, Status
from nested_agent.rpc import api, call_monitor, client, endpoint, seldom, server, workers
from tests.unit.fakes import make_tree
from tests.unit.test_remediation_commands import PAUSE, RUN
from tests.unit.test_status import report

GENEROUS = 120


class FakeAgent:
    def __init__(self):
        self.last = report()
        self.verified = 0
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()
        self.calls = []
        self.failure = None

    def report(self):
        return self.last

    def _called(self, *call):
        self.calls.append(call)
        if self.failure:
            raise self.failure

    def remediate(self, *, noop, who):
        self.asked.set()
        self.go.wait(GENEROUS)
        self._called('remediate', noop, who)
        return RUN

    def pause(self, seconds, reason, who):
        self._called('pause', seconds, reason, who)
        return PAUSE

    def resume(self, who):
        self._called('resume', who)

    def history(self):
        self._called('history')
        return (RUN, RUN, RUN)

    def verify_now(self, timeout):
        self.asked.set()
        if not self.go.wait(timeout):
            raise TimeoutError(f'no verification ended within {timeout:g} s')
        self.verified += 1
        return report(sequence=self.verified)


class ConfigurationCase(base.BaseTestCase):
    def load(self, text, name='nested-agent.conf'):
        directory = make_tree({f'/{name}': text})
        self.addCleanup(directory.cleanup)
        conf = cfg.ConfigOpts()
        load.load(conf, [str(Path(directory.name) / name)])
        return conf


class ConfiguredTest(ConfigurationCase):
    def test_set_by_the_operator(self):
        for text, found in (
            ('', False),
            ('[DEFAULT]\ntransport_url =\n', False),
            ('[DEFAULT]\ntransport_url = rabbit://\n', True),
            ('[DEFAULT]\ntransport_url = rabbit://u:p@h:1/\n', True),
        ):
            self.assertIs(found, server.configured(self.load(text)), text)

    def test_set_in_the_environment(self):
        with mock.patch.dict(os.environ, {'OS_DEFAULT__TRANSPORT_URL': 'rabbit://h/'}):
            self.assertTrue(server.configured(self.load('')))

    def test_set_in_a_directory(self):
        directory = make_tree({'/conf.d/rpc.conf': '[DEFAULT]\ntransport_url = rabbit://h/\n'})
        self.addCleanup(directory.cleanup)
        conf = cfg.ConfigOpts()
        load.load(conf, [], [f'{directory.name}/conf.d'])
        self.assertTrue(server.configured(conf))


class BrokersTest(base.BaseTestCase):
    def test_hosts_without_credentials(self):
        for text, shown in (
            ('rabbit://u:pw@one:1,u:pw@two/v', 'one:1, two:5672'),
            ('rabbit://u:p@pw@one:1/', 'one:1'),
            ('rabbit://', 'localhost:5672'),
            ('rabbit://u:pw@[::1]:7/', '::1:7'),
        ):
            url = oslo_messaging.TransportURL.parse(cfg.CONF, text)
            self.assertEqual(shown, api.brokers(url))


class AskCase(base.BaseTestCase):
    """An agent that answers over oslo.messaging's own fake driver."""

    def setUp(self):
        super().setUp()
        directory = make_tree({'/agent.conf': '[DEFAULT]\ntransport_url = fake://\n'})
        self.addCleanup(directory.cleanup)
        load.load(cfg.CONF, [f'{directory.name}/agent.conf'])
        self.addCleanup(cfg.CONF.reset)
        self.agent = FakeAgent()
        self.addCleanup(self.agent.go.set)
        self.server = server.Server(cfg.CONF, 'node1', self.agent)
        self.server.start()
        self.addCleanup(self.server.stop, GENEROUS)
        self.client = client.Client(cfg.CONF)
        self.log = io.StringIO()
        handler = logging.StreamHandler(self.log)
        for name in ('nested_agent', 'oslo_messaging', 'oslo.messaging'):
            logging.getLogger(name).addHandler(handler)
            self.addCleanup(logging.getLogger(name).removeHandler, handler)
        self.client.ping('node1', GENEROUS)

    def raw(self):
        return oslo_messaging.get_rpc_client(
            self.client._transport,
            oslo_messaging.Target(topic=api.TOPIC, server='node1', version='1.1'),
            timeout=GENEROUS,
        )


class AskTest(AskCase):
    def test_answers(self):
        pong = self.client.ping('node1', GENEROUS)
        self.assertEqual(('node1', '1.1'), (pong.host, pong.api))
        status = self.client.get_status('node1', GENEROUS)
        self.assertEqual(self.agent.last, status.report)
        self.assertEqual(60.0, status.interval)
        self.assertTrue(0 <= status.age < GENEROUS)
        self.assertEqual(1, self.client.verify('node1', GENEROUS).sequence)

    def test_no_report_yet(self):
        self.agent.last = None
        with self.assertRaisesRegex(exceptions.NoReportError, 'node1'):
            self.client.get_status('node1', GENEROUS)

    def test_a_verification_that_takes_too_long(self):
        self.agent.go.clear()
        with self.assertRaisesRegex(exceptions.NoAnswerError, 'node1'):
            self.client.verify('node1', 0.5)

    def test_an_agent_that_fails(self):
        self.agent.report = mock.Mock(side_effect=RuntimeError('broken'))
        with self.assertRaisesRegex(exceptions.RemoteError, 'node1.*RuntimeError: broken'):
            self.client.get_status('node1', GENEROUS)

    def test_a_report_of_another_time(self):
        self.agent.last = report(schema_version='9.0')
        with self.assertRaisesRegex(exceptions.IncompatibleAgentError, 'schema_version 9.0'):
            self.client.get_status('node1', GENEROUS)

    def test_an_older_agent(self):
        with mock.patch.object(api, 'VERSION', '1.0'):
            older = server.Server(cfg.CONF, 'older', self.agent)
            older.start()
            self.addCleanup(older.stop, GENEROUS)
            self.assertEqual('1.0', self.client.ping('older', GENEROUS).api)
            self.assertEqual(self.agent.last, self.client.get_status('older', GENEROUS).report)
            self.assertEqual(1, self.client.verify('older', GENEROUS).sequence)
            for ask in (
                lambda: self.client.remediate('older', GENEROUS, noop=True, who='me'),
                lambda: self.client.pause('older', GENEROUS, None, 'why', 'me'),
                lambda: self.client.resume('older', GENEROUS, 'me'),
                lambda: self.client.history('older', GENEROUS, 1),
            ):
                error = self.assertRaises(exceptions.IncompatibleAgentError, ask)
                self.assertIn('does not speak version 1.1 of the interface', str(error))
                self.assertIn('older speaks version 1.0', str(error))
        self.assertEqual([], self.agent.calls)

    def answering(self, host):
        """Ask until there is an answer: what the old server leaves this driver loses."""
        end = time.monotonic() + GENEROUS
        while True:
            try:
                return self.client.ping(host, 1.0).host
            except exceptions.NoAnswerError:
                if time.monotonic() > end:
                    raise

    def test_another_name(self):
        """It is asked by the new name alone, and takes no more threads than before."""

        def threads():
            names = [each.name for each in threading.enumerate()]
            return sorted(name for name in names if name == 'rpc' or 'rpc-worker' in name)

        before = threads()
        for number in range(2, 6):
            self.server.answer_as(f'node{number}')
        self.assertEqual('node5', self.answering('node5'))
        self.server.answer_as('node5')
        self.assertEqual(self.agent.last, self.client.get_status('node5', GENEROUS).report)
        for name in ('node1', 'node4'):
            with self.assertRaises(exceptions.NoAnswerError):
                self.client.ping(name, 0.5)
        self.assertEqual(before, threads())
        self.server.stop(GENEROUS)
        self.assertEqual([], threads())

    def test_another_name_while_there_is_no_broker(self):
        """Telling it waits for nothing; the name in force is the last one."""
        reached, back = threading.Event(), threading.Event()
        opened = api.open_transport

        def away(*arguments):
            reached.set()
            back.wait(GENEROUS)
            return opened(*arguments)

        other = server.Server(cfg.CONF, 'other', self.agent)
        self.addCleanup(other.stop, GENEROUS)
        self.addCleanup(back.set)
        with mock.patch.object(api, 'open_transport', away):
            other.start()
            self.assertTrue(reached.wait(GENEROUS))
            other.answer_as('another')
            other.answer_as('last')
            back.set()
            self.assertEqual('last', self.answering('last'))

    def test_an_older_client(self):
        """It knows no condition but those there were, and refuses a report with another."""
        conditions = tuple(Condition(each, Status.TRUE, 'Fine', 'It is.') for each in ConditionType)
        self.agent.last = report(conditions=conditions)
        raw = self.raw()
        for version, number in (('1.0', 8), ('1.1', len(ConditionType))):
            status = raw.prepare(version=version).call({}, 'get_status')
            self.assertEqual(number, len(status['report']['conditions']), version)
        found = raw.prepare(version='1.0').call({}, 'verify', timeout=GENEROUS)
        self.assertEqual(1, len(found['report']['conditions']))

    def test_refusals_are_quiet(self):
        raw = self.raw()
        for _ in range(20):
            for method, arguments in (('no_such', {}), ('ping', {'secret': 's3cret'})):
                try:
                    raw.call({}, method, **arguments)
                    self.fail(method)
                except (exceptions.NestedAgentError, oslo_messaging.RemoteError):
                    pass
        log = self.log.getvalue()
        self.assertNotIn('Traceback', log)
        self.assertNotIn('s3cret', log)

    def test_verifications_are_shared(self):
        """Forty requests while one verification runs make one more, not forty."""
        self.agent.go.clear()
        answering = endpoint.Endpoint(cfg.CONF, 'node1', self.agent)
        found = []

        def ask():
            answer = answering.verify({'received': time.monotonic()}, GENEROUS)
            found.append(answer['report']['sequence'])

        first = threading.Thread(target=ask)
        first.start()
        self.assertTrue(self.agent.asked.wait(GENEROUS))
        received = {'received': time.monotonic()}
        self.agent.go.set()
        first.join(GENEROUS)
        for _ in range(40):
            found.append(answering.verify(received, GENEROUS)['report']['sequence'])
        self.assertEqual([1] + 40 * [2], found)

    def test_a_request_nobody_waits_for_is_not_served(self):
        answering = endpoint.Endpoint(cfg.CONF, 'node1', self.agent)
        long_ago = {'received': time.monotonic() - 100}
        self.assertRaises(rpc_dispatcher.ExpectedException, answering.verify, long_ago, 60)
        self.assertEqual(0, self.agent.verified)


class RemediateTest(AskCase):
    def allow(self):
        cfg.CONF.set_override('allow_remote', True, 'remediation')
        self.addCleanup(cfg.CONF.clear_override, 'allow_remote', 'remediation')

    def remediate(self, noop=False):
        return self.client.remediate('node1', GENEROUS, noop=noop, who='alice@control')

    def test_it_takes_permission(self):
        error = self.assertRaises(exceptions.RemoteNotPermittedError, self.remediate)
        self.assertIn('[remediation] allow_remote is not set on node1', str(error))
        self.assertEqual([], self.agent.calls)
        self.assertEqual(RUN, self.remediate(noop=True))
        self.allow()
        self.assertEqual(RUN, self.remediate())
        self.assertEqual(
            [('remediate', True, 'alice@control'), ('remediate', False, 'alice@control')],
            self.agent.calls,
        )

    def test_one_at_a_time_and_others_are_answered_meanwhile(self):
        self.agent.go.clear()
        found = []
        first = threading.Thread(target=lambda: found.append(self.remediate(noop=True)))
        first.start()
        self.assertTrue(self.agent.asked.wait(GENEROUS))
        # Verifications wait until it ends: more of them than there are threads.
        waiting = [
            threading.Thread(target=lambda: self.client.verify('node1', GENEROUS))
            for _ in range(2 * server.THREADS)
        ]
        for thread in waiting:
            thread.start()
        for _ in range(2 * server.THREADS):
            error = self.assertRaises(exceptions.RemoteBusyError, self.remediate, noop=True)
            self.assertIn('a remediation is under way', str(error))
            self.assertEqual(self.agent.last, self.client.get_status('node1', GENEROUS).report)
        self.assertEqual([], found)
        self.agent.go.set()
        for thread in (first, *waiting):
            thread.join(GENEROUS)
        self.assertEqual([RUN], found)
        self.assertEqual(RUN, self.remediate(noop=True))

    def test_what_the_agent_says(self):
        for failure, kind in (
            (exceptions.RemediationBusyError('root is at it'), exceptions.RemoteBusyError),
            (exceptions.RemediationError('no journal'), exceptions.RemediationRefusedError),
            (exceptions.RecordError('no history'), exceptions.RemediationRefusedError),
            (RuntimeError('a defect'), exceptions.RemoteError),
            (TimeoutError('a defect'), exceptions.RemoteError),
        ):
            self.agent.failure = failure
            error = self.assertRaises(exceptions.RPCError, self.remediate, noop=True)
            self.assertIs(kind, type(error))
            self.assertIn(str(failure), str(error))
            error = self.assertRaises(kind, self.client.history, 'node1', GENEROUS, 5)
            self.assertIn(str(failure), str(error))

    def test_pause_resume_history(self):
        pause = self.client.pause('node1', GENEROUS, 60.0, 'disk', 'alice')
        self.assertEqual(PAUSE, pause)
        self.client.pause('node1', GENEROUS, None, 'disk', 'alice')
        self.client.resume('node1', GENEROUS, 'alice')
        self.assertEqual((RUN, RUN), self.client.history('node1', GENEROUS, 2))
        self.assertEqual(
            [
                ('pause', 60.0, 'disk', 'alice'),
                ('pause', None, 'disk', 'alice'),
                ('resume', 'alice'),
                ('history',),
            ],
            self.agent.calls,
        )

    def test_arguments_are_judged(self):
        raw = self.raw()
        secret = 's3cret'
        pause = {'seconds': 60.0, 'reason': 'disk', 'who': 'alice'}
        for method, arguments in (
            ('remediate', {}),
            ('remediate', {'noop': 1, 'who': 'alice'}),
            ('remediate', {'noop': secret, 'who': 'alice'}),
            ('remediate', {'noop': True}),
            ('remediate', {'noop': True, 'who': ''}),
            ('remediate', {'noop': True, 'who': None}),
            ('remediate', {'noop': True, 'who': f'{secret}\n'}),
            ('remediate', {'noop': True, 'who': secret * 20}),
            ('remediate', {'noop': True, 'who': 'alice', 'more': 1}),
            ('pause', {**pause, 'seconds': 0}),
            ('pause', {**pause, 'seconds': -1.0}),
            ('pause', {**pause, 'seconds': 1e12}),
            ('pause', {**pause, 'seconds': float('nan')}),
            ('pause', {**pause, 'seconds': True}),
            ('pause', {**pause, 'seconds': secret}),
            ('pause', {**pause, 'reason': ' '}),
            ('pause', {**pause, 'reason': f'{secret}\x1b[2J'}),
            ('pause', {**pause, 'reason': secret * 84}),
            ('pause', {**pause, 'reason': [secret]}),
            ('pause', {**pause, 'who': {}}),
            ('resume', {}),
            ('resume', {'who': 7}),
            ('history', {'limit': 0}),
            ('history', {'limit': 1001}),
            ('history', {'limit': 1.5}),
            ('history', {'limit': True}),
        ):
            with self.assertRaises(api.MalformedRequestError, msg=f'{method} {arguments}'):
                raw.call({}, method, **arguments)
        self.assertEqual([], self.agent.calls)
        self.assertNotIn(secret, self.log.getvalue())
        self.assertNotIn('Traceback', self.log.getvalue())


class Incoming:
    """A request as the driver hands it over."""

    def __init__(self, client_timeout):
        self.client_timeout = client_timeout
        self.beats = 0
        self.beaten = threading.Semaphore(0)
        self.failing: set[int] = set()

    def heartbeat(self):
        self.beats += 1
        self.beaten.release()
        if self.beats in self.failing:
            raise oslo_messaging.MessageDeliveryFailure('no such queue')


class CallMonitorTest(base.BaseTestCase):
    def test_signs_of_life_until_it_ends(self):
        incoming = Incoming(1)
        incoming.failing = {2, 3}
        with call_monitor.CallMonitor(incoming, time.monotonic()).kept():
            self.assertEqual(1, incoming.beats)
            # Neither of two failures ends them.
            for _ in range(5):
                self.assertTrue(incoming.beaten.acquire(timeout=GENEROUS))
        for thread in threading.enumerate():
            if thread.name == 'rpc-monitor':
                thread.join(GENEROUS)
                self.assertFalse(thread.is_alive())
        self.assertIn(incoming.beats, (5, 6))

    def test_nothing_is_begun_for_nobody(self):
        gone = Incoming(60)
        gone.failing = {1}
        late = call_monitor.CallMonitor(Incoming(60), time.monotonic() - 61)
        for monitor in (call_monitor.CallMonitor(gone, time.monotonic()), late):
            with self.assertRaises(api.NobodyWaitsError), monitor.kept():
                self.fail('it was begun')

    def test_who_did_not_ask_is_told_nothing(self):
        silly: tuple[object, ...] = (
            None,
            0,
            -1,
            0.5,
            1e9,
            float('nan'),
            True,
            '60',
            [60],
            {},
            10**400,
        )
        for timeout in silly:
            incoming = Incoming(timeout)
            before = threading.active_count()
            with call_monitor.CallMonitor(incoming, time.monotonic()).kept():
                self.assertEqual(before, threading.active_count(), timeout)
            self.assertEqual(0, incoming.beats)


class SeldomTest(base.BaseTestCase):
    def test_the_same_text_passes_once_in_a_while(self):
        now = [0.0]
        news = seldom.Seldom(600, lambda: now[0])

        def passes(text, level=logging.ERROR):
            return news.filter(logging.LogRecord('x', level, '', 0, text, None, None))

        self.assertTrue(passes('refused (retrying in 1 seconds)'))
        self.assertFalse(passes('refused (retrying in 3 seconds)'))
        self.assertTrue(passes('timed out (retrying in 3 seconds)'))
        self.assertTrue(passes('refused', logging.INFO))
        now[0] = 599.0
        self.assertFalse(passes('refused (retrying in 30 seconds)'))
        now[0] = 600.0
        self.assertTrue(passes('refused (retrying in 30 seconds)'))

    def test_it_remembers_only_so_much(self):
        news = seldom.Seldom()
        for number in range(1000):
            news.filter(logging.LogRecord('x', logging.ERROR, '', 0, 'a' * number, None, None))
        self.assertLessEqual(len(news._passed), seldom.Seldom.TEXTS)

    def test_a_traceback_is_one_line(self):
        try:
            raise RecursionError('at the length of the message')
        except RecursionError:
            told = sys.exc_info()
        record = logging.LogRecord('x', logging.ERROR, '', 1, 'not %s', ('read',), told)
        self.assertTrue(seldom.Brief().filter(record))
        self.assertEqual('not read (RecursionError)', logging.Formatter().format(record))


class WorkersTest(base.BaseTestCase):
    def test_what_is_too_much_is_dropped(self):
        crew = workers.Workers(2)
        go, done = threading.Event(), []
        self.addCleanup(go.set)

        def work(number):
            go.wait(GENEROUS)
            done.append(number)

        for number in range(2 * crew.BACKLOG):
            crew.submit(work, number)
        go.set()
        crew.shutdown()
        self.assertTrue(crew.BACKLOG <= len(done) <= crew.BACKLOG + 2)

    def test_a_failure_does_not_end_a_worker(self):
        crew = workers.Workers(1)
        done = threading.Event()
        crew.submit(lambda: 1 / 0)
        crew.submit(done.set)
        self.assertTrue(done.wait(GENEROUS))
        crew.shutdown()


class LanesTest(base.BaseTestCase):
    def test_verifications_hold_up_only_each_other(self):
        lanes = workers.Lanes(4)
        go = threading.Event()
        done: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.addCleanup(go.set)

        def work(incoming):
            message = incoming[0].message
            if message == {'method': 'verify'}:
                go.wait(GENEROUS)
            done.put(message)

        for _ in range(10):
            lanes.submit(work, [mock.Mock(message={'method': 'verify'})])
        others = [{'method': 'get_status'}, {'method': None}, {'method': ['verify']}, {}, [], None]
        for message in others:
            lanes.submit(work, [mock.Mock(message=message)])
        found = [done.get(timeout=GENEROUS) for _ in others]
        self.assertEqual(sorted(map(str, others)), sorted(map(str, found)))
        self.assertTrue(done.empty())
        go.set()
        lanes.shutdown()
        self.assertEqual(10, done.qsize())


class StopTest(base.BaseTestCase):
    def test_a_server_that_was_never_started(self):
        server.Server(cfg.CONF, 'node1', FakeAgent()).stop(1)
