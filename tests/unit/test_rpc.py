"""Server and client over oslo.messaging's driver that needs no broker."""

from nested_agent import bootstrap  # noqa: F401, I001  # first, as in every command

import io
import logging
import os
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
from nested_agent.rpc import api, client, endpoint, seldom, server, workers
from tests.unit.fakes import make_tree
from tests.unit.test_status import report

GENEROUS = 120


class FakeAgent:
    def __init__(self):
        self.last = report()
        self.verified = 0
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()

    def report(self):
        return self.last

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


class AskTest(base.BaseTestCase):
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

    def test_answers(self):
        pong = self.client.ping('node1', GENEROUS)
        self.assertEqual(('node1', '1.0'), (pong.host, pong.api))
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

    def test_an_agent_of_another_version(self):
        with (
            mock.patch.object(api, 'VERSION', '1.1'),
            self.assertRaisesRegex(exceptions.IncompatibleAgentError, 'version 1.1.*RPC version'),
        ):
            self.client.ping('node1', GENEROUS)

    def test_refusals_are_quiet(self):
        raw = oslo_messaging.get_rpc_client(
            self.client._transport,
            oslo_messaging.Target(topic=api.TOPIC, server='node1'),
            timeout=GENEROUS,
        )
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


class StopTest(base.BaseTestCase):
    def test_a_server_that_was_never_started(self):
        server.Server(cfg.CONF, 'node1', FakeAgent()).stop(1)
