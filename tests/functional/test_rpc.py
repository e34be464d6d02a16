"""RPC over a real RabbitMQ: agents in processes of their own, the installed command, our client."""

import atexit
import json
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import oslo_messaging
from kombu import connection as amqp
from oslo_config import cfg
from oslotest import base

from nested_agent import exceptions
from nested_agent.conf import load
from nested_agent.rpc import api, client, server
from tests.functional import broker as brokers
from tests.functional.broker import GENEROUS, PASSWORD, wait_for

COMMAND = Path(sys.executable).with_name('nested-agentctl')
TOP = Path(__file__).parents[2]

# oslotest keeps every record: of ten thousand requests that takes longer than the requests.
for _name in ('amqp', 'kombu', 'oslo.messaging', 'oslo_messaging', 'stevedore'):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_shared: list[brokers.Broker] = []


def broker(*, started=True):
    """Return the broker of this process's tests; it ends with the process."""
    if not _shared:
        _shared.append(brokers.Broker(tls=True))
        atexit.register(_shared[0].close)
    if started and not _shared[0].running:
        _shared[0].start()
    return _shared[0]


class AgentProcess:
    """A running :mod:`tests.functional.rpc_agent`."""

    def __init__(self, conf, host, *arguments):
        self.log = conf.with_name(f'{host}.log')
        module = [sys.executable, '-m', 'tests.functional.rpc_agent']
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                [*module, '--config-file', conf, '--host', host, *arguments],
                cwd=TOP, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip

    def status(self, name):
        """Return a number of /proc/PID/status; sizes are in kB."""
        for line in Path(f'/proc/{self.process.pid}/status').read_text().splitlines():
            if line.startswith(f'{name}:'):
                return int(line.split()[1])
        raise AssertionError(name)

    def stop(self):
        """Return the seconds its server needed to stop, and those until the process had ended."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        out = self.process.communicate(timeout=GENEROUS)[0]
        return float(out), time.monotonic() - begun

    def close(self):
        self.process.stdout.close()
        brokers.end(self.process)


class Waiting(threading.Thread):
    """Somebody who has a node remediated and waits."""

    def __init__(self, asking, host, monitor, *, noop=True):
        super().__init__(daemon=True)
        self._ask = lambda: asking.remediate(
            host, 10 * GENEROUS, noop=noop, who='alice@control', monitor=monitor
        )
        self._found = None
        self._failure = None
        self.start()

    def run(self):
        try:
            self._found = self._ask()
        except exceptions.NestedAgentError as error:
            self._failure = error

    def run_(self):
        """Return the run, or raise what became of it."""
        self.join(GENEROUS)
        if self._failure:
            raise self._failure
        return self._found


class RPCTestCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(prefix='nested-agent-rpc-'))
        self.addCleanup(shutil.rmtree, self.directory)
        self.count = 0

    def conf(self, url, *, allow_remote=False, **options):
        """Return a configuration file."""
        self.count += 1
        file = self.directory / f'agent{self.count}.conf'
        rabbit = '\n'.join(f'{name} = {value}' for name, value in options.items())
        file.write_text(
            f'[DEFAULT]\ntransport_url = {url}\n[oslo_messaging_rabbit]\n{rabbit}\n'
            f'[remediation]\nallow_remote = {allow_remote}\n'
        )
        return file

    def agent(self, conf, host, *arguments):
        agent = AgentProcess(conf, host, *arguments)
        self.addCleanup(agent.close)
        return agent

    def client(self, conf):
        load.load(cfg.CONF, [str(conf)])
        asking = client.Client(cfg.CONF)
        self.addCleanup(asking.close)
        return asking

    def answering(self, asking, *hosts):
        for host in hosts:
            self.why = ''
            wait_for(
                lambda: f'an answer: {self.why}', lambda host=host: self._answers(asking, host)
            )

    def _answers(self, asking, host):
        try:
            return asking.ping(host, 5)
        except exceptions.RPCError as error:
            self.why = error
            return None

    def ctl(self, conf, *arguments):
        """Return exit code, output and errors of the command; the password is in neither."""
        done = subprocess.run(
            [COMMAND, '--config-file', conf, *arguments],
            capture_output=True, text=True, timeout=GENEROUS, check=False,
        )  # fmt: skip
        self.assertNotIn(PASSWORD, done.stdout + done.stderr)
        self.assertNotIn('Traceback', done.stderr)
        return done.returncode, done.stdout, done.stderr

    def refused(self, conf, *arguments, says, code=69):
        found = self.ctl(conf, *arguments)
        self.assertEqual((code, ''), found[:2], found[2])
        self.assertEqual(1, len(found[2].splitlines()), found[2])
        for word in says:
            self.assertIn(word, found[2])


class AbsentBrokerTest(RPCTestCase):
    """First by name: so the broker has to be started twice only."""

    def test_the_broker_comes_goes_and_comes_back(self):
        node = broker(started=False)
        node.stop()
        conf = self.conf(node.url)
        done = self.directory / 'done'
        agent = self.agent(conf, 'node1', '--until', done)
        other = self.agent(conf, 'node2', '--stop-timeout', '2')

        # A deadline holds although nothing listens.
        for command in (['ping', 'node1'], ['status', 'node1'], ['verify', 'node1']):
            begun = time.monotonic()
            place = f'no broker: localhost:{node.port}'
            self.refused(conf, *command, '--timeout', '3', says=[place, 'refused'])
            self.assertLess(time.monotonic() - begun, 30)

        # Stopping does not wait for the broker, and neither does the process.
        wait_for('a first try', lambda: 'Connection failed' in other.log.read_text())
        stopping, ending = other.stop()
        self.assertLess(stopping, 10)
        self.assertLess(ending, 30)
        self.assertEqual(0, other.process.returncode)

        node.start()
        asking = self.client(conf)
        self.answering(asking, 'node1')
        threads = agent.status('Threads')

        # Who waits for a remediation hears of it over the new connection.
        waiting = Waiting(asking, 'node1', monitor=GENEROUS)
        wait_for('the remediation', lambda: 'RPC: remediation' in agent.log.read_text())
        node.stop()
        self.refused(conf, 'ping', 'node1', '--timeout', '3', says=['no broker'])
        node.start()
        self.answering(asking, 'node1')
        self.assertEqual('compliant', asking.verify('node1', GENEROUS).state)
        self.assertTrue(waiting.is_alive())
        done.touch()
        self.assertEqual('It is done.', waiting.run_().message)
        self.assertLessEqual(agent.status('Threads'), threads + 2)

        log = agent.log.read_text()
        self.assertNotIn(PASSWORD, log)
        stopping, _ = agent.stop()
        self.assertLess(stopping, 10)

    def test_a_broker_that_does_not_answer(self):
        import socket

        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen(8)
            port = listener.getsockname()[1]
            conf = self.conf(f'rabbit://agent:{PASSWORD}@127.0.0.1:{port}/')
            begun = time.monotonic()
            self.refused(conf, 'ping', 'node1', '--timeout', '3', says=['no broker', f'{port}'])
            self.assertLess(time.monotonic() - begun, 30)


class AnswersTest(RPCTestCase):
    def setUp(self):
        super().setUp()
        self.broker = broker()
        self.file = self.conf(self.broker.url)
        self.asking = self.client(self.file)

    def test_every_agent_answers_for_itself(self):
        hosts = [f'node{number}' for number in range(1, 4)]
        agents = {host: self.agent(self.file, host) for host in hosts}
        self.answering(self.asking, *hosts)
        for host in hosts:
            self.assertEqual(host, self.asking.ping(host, GENEROUS).host)
            status = self.asking.get_status(host, GENEROUS)
            self.assertEqual((host, 60.0), (status.report.host, status.interval))
            self.assertEqual(1, self.asking.verify(host, GENEROUS).sequence)

        agents['node2'].stop()
        # Its queue is still there, as that of an agent that is being restarted.
        with self.assertRaisesRegex(exceptions.NoSuchAgentError, 'node2'):
            self.asking.ping('node2', 10)
        self.assertEqual('node3', self.asking.ping('node3', GENEROUS).host)

    def test_the_commands(self):
        self.agent(self.file, 'node1')
        self.answering(self.asking, 'node1')
        code, out, err = self.ctl(self.file, 'status', 'node1')
        self.assertEqual((0, ''), (code, err))
        self.assertTrue(out.startswith('node1: COMPLIANT'), out)
        code, out, err = self.ctl(self.file, 'verify', 'node1', '-f', 'json')
        self.assertEqual((0, ''), (code, err))
        report = json.loads(out)
        self.assertEqual(('node1', 1, None), (report['host'], report['sequence'], report['stale']))
        self.assertEqual(
            (0, 'node1\n', ''), self.ctl(self.file, 'ping', 'node1', '-fvalue', '-chost')
        )

        self.refused(self.file, 'ping', 'node9', says=['no agent answers for node9'])
        self.refused(self.file, 'status', 'node9', says=['no agent answers for node9'])
        self.refused(self.file, 'verify', 'node9', says=['no agent answers for node9'])
        self.refused(self.file, 'verify', 'node1', '--timeout', '0.5', says=['node1', 'within'])
        wrong = self.conf(self.broker.url.replace('agent:', 'nobody:'))
        self.refused(wrong, 'ping', 'node1', says=['no broker', 'ACCESS_REFUSED'])
        unset = self.directory / 'unset.conf'
        unset.write_text('')
        self.refused(unset, 'ping', 'node1', says=['transport_url', '[DEFAULT]'], code=64)
        bad = self.conf(f'rabbit://agent:{PASSWORD}#@localhost:1/')
        self.refused(bad, 'ping', 'node1', says=['transport_url'], code=64)

    def test_an_agent_that_hangs(self):
        agent = self.agent(self.file, 'node1')
        self.answering(self.asking, 'node1')
        agent.process.send_signal(signal.SIGSTOP)
        self.addCleanup(agent.process.send_signal, signal.SIGCONT)
        self.refused(
            self.file, 'ping', 'node1', '--timeout', '3', says=['node1 did not answer within 3 s']
        )

    def test_another_version(self):
        self.agent(self.file, 'newer', '--api', '2.0')
        self.agent(self.file, 'older', '--api', '1.0')
        with mock.patch.object(client, 'ALWAYS', ('2.0',)):
            self.answering(self.asking, 'newer')
        self.answering(self.asking, 'older')
        for command in ('ping', 'verify', 'status'):
            says = ['version 1.0', 'newer speaks version 2.0']
            self.refused(self.file, command, 'newer', says=says)
            self.assertEqual(0, self.ctl(self.file, command, 'older')[0])
        for command in ('remediate', 'history', 'resume'):
            says = ['version 1.1', 'older speaks version 1.0']
            self.refused(self.file, command, 'older', says=says)

    def test_verifications_asked_for_together_are_shared(self):
        self.agent(self.file, 'node1')
        self.answering(self.asking, 'node1')
        found, threads = [], []
        for _ in range(40):
            thread = threading.Thread(
                target=lambda: found.append(self.asking.verify('node1', GENEROUS).sequence)
            )
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join(GENEROUS)
        self.assertEqual(40, len(found))
        # Some may come late; one after the other would be 40.
        self.assertLess(self.asking.verify('node1', GENEROUS).sequence, 20)


class RemediateTest(RPCTestCase):
    def setUp(self):
        super().setUp()
        self.broker = broker()
        self.file = self.conf(self.broker.url, allow_remote=True)
        self.asking = self.client(self.file)
        self.done = self.directory / 'done'

    def begun(self, agent, monitor, *, noop=True):
        waiting = Waiting(self.asking, 'node1', monitor, noop=noop)
        wait_for('the remediation', lambda: 'RPC: remediation' in agent.log.read_text())
        return waiting

    def test_one_that_takes_longer_than_the_call_monitor(self):
        agent = self.agent(self.file, 'node1', '--until', self.done)
        self.answering(self.asking, 'node1')
        threads = agent.status('Threads')
        monitor = 10
        begun = time.monotonic()
        waiting = self.begun(agent, monitor, noop=False)
        # Meanwhile it answers, also when it is told to do more than it can.
        for _ in range(8):
            with self.assertRaisesRegex(exceptions.RemoteBusyError, 'node1.*is under way'):
                self.asking.remediate('node1', GENEROUS, noop=False, who='bob')
            self.assertEqual('node1', self.asking.get_status('node1', GENEROUS).report.host)
        self.assertEqual(1, self.asking.verify('node1', GENEROUS).sequence)
        says = 'node1 refuses: a remediation is under way'
        self.refused(self.file, 'remediate', 'node1', says=[says], code=75)
        wait_for('three times as long', lambda: time.monotonic() - begun > 3 * monitor)
        self.assertTrue(waiting.is_alive())
        self.done.touch()
        run = waiting.run_()
        self.assertEqual(('applied', 'alice@control'), (run.result, run.who))
        self.assertLess(3 * monitor, run.ended - run.began + 5)
        self.assertEqual((run,), self.asking.history('node1', GENEROUS, 5))
        wait_for('threads to end', lambda: agent.status('Threads') <= threads + 1)

    def test_an_agent_that_is_killed_in_the_middle(self):
        agent = self.agent(self.file, 'node1', '--until', self.done)
        self.answering(self.asking, 'node1')
        waiting = self.begun(agent, monitor=5)
        agent.process.kill()
        begun = time.monotonic()
        with self.assertRaisesRegex(
            exceptions.NoAnswerError,
            'node1 gave no sign of life for 5 s; .*"nested-agentctl history node1" tells',
        ):
            waiting.run_()
        self.assertLess(time.monotonic() - begun, 60)

    def test_a_deadline_holds(self):
        self.agent(self.file, 'node1', '--until', self.done)
        self.answering(self.asking, 'node1')
        says = ['node1 did not answer within 5 s', '"nested-agentctl history node1" tells']
        self.refused(self.file, 'remediate', 'node1', '--timeout', '5', says=says)
        # It went on all the same, and nobody waits for the answer.
        self.done.touch()
        wait_for('the run', lambda: self.asking.history('node1', GENEROUS, 5))

    def test_who_gave_up_is_not_served_later(self):
        agent = self.agent(self.file, 'node1')
        self.answering(self.asking, 'node1')
        agent.process.send_signal(signal.SIGSTOP)
        self.addCleanup(agent.process.send_signal, signal.SIGCONT)
        asking = client.Client(cfg.CONF)
        with self.assertRaises(exceptions.NoAnswerError):
            asking.remediate('node1', GENEROUS, noop=False, who='alice', monitor=2)
        replies = asking._transport._driver._reply_q
        asking.close()
        # As the broker does after a minute.
        with amqp.Connection(self.broker.url.replace('rabbit:', 'amqp:')) as connection:
            connection.channel().queue_delete(replies)
        agent.process.send_signal(signal.SIGCONT)
        self.answering(self.asking, 'node1')
        self.assertEqual((), self.asking.history('node1', GENEROUS, 5))

    def test_the_commands(self):
        self.agent(self.file, 'node1')
        self.answering(self.asking, 'node1')
        code, out, err = self.ctl(self.file, 'remediate', 'node1')
        self.assertEqual((0, ''), (code, err))
        self.assertTrue(out.startswith('APPLIED: It is done.  (drifted -> compliant; '), out)
        code, out, _ = self.ctl(self.file, 'history', 'node1', '-f', 'json')
        (run,) = json.loads(out)
        self.assertEqual((0, 'applied', 'rpc'), (code, run['result'], run['trigger']))
        self.assertIn('@', run['who'])
        pause = ['pause', 'node1', '--for', '1h', '--reason', 'new disk']
        code, out, _ = self.ctl(self.file, *pause, '-f', 'json')
        data = json.loads(out)
        self.assertEqual((0, 'new disk'), (code, data['reason']))
        self.assertEqual(3600, data['until'] - data['since'])
        says = ['node1 refuses: control.json: No space left']
        self.refused(self.file, *pause, says=says, code=74)
        self.assertEqual(0, self.ctl(self.file, 'resume', 'node1')[0])
        self.assertEqual(0, self.ctl(self.file, *pause)[0])
        code, out, _ = self.ctl(self.file, 'plan', 'node1')
        self.assertEqual((0, 'node1: compliant; nothing to do\n'), (code, out))

    def test_it_takes_permission(self):
        conf = self.conf(self.broker.url)
        self.agent(conf, 'node1')
        self.answering(self.asking, 'node1')
        says = ['node1 refuses: [remediation] allow_remote is not set on node1']
        self.refused(self.file, 'remediate', 'node1', says=says, code=77)
        self.assertEqual((), self.asking.history('node1', GENEROUS, 5))
        code, out, _ = self.ctl(self.file, 'remediate', 'node1', '--noop', '-fvalue', '-cresult')
        self.assertEqual((0, 'noop\n'), (code, out))


class LoadTest(RPCTestCase):
    def setUp(self):
        super().setUp()
        self.broker = broker()
        self.file = self.conf(self.broker.url)
        self.asking = self.client(self.file)
        self.node = self.agent(self.file, 'node1')
        self.answering(self.asking, 'node1')

    def test_malformed_requests_do_no_harm(self):
        raw = oslo_messaging.get_rpc_client(
            self.asking._transport,
            oslo_messaging.Target(topic=api.TOPIC, server='node1'),
            timeout=GENEROUS,
        )
        huge = 'x' * (8 << 20)
        for error, prepared, method, arguments in (
            ('UnsupportedVersionError', {}, 'no_such_method', {}),
            ('UnsupportedVersionError', {}, '_verify', {}),
            ('UnsupportedVersionError', {}, '__init__', {}),
            ('UnsupportedVersionError', {}, huge, {}),
            ('UnsupportedVersionError', {'version': '7.3'}, 'ping', {}),
            ('UnsupportedVersionError', {'namespace': 'elsewhere'}, 'ping', {}),
            ('MalformedRequestError', {}, 'ping', {'huge': huge}),
            ('MalformedRequestError', {}, 'target', {}),
            ('MalformedRequestError', {}, 'verify', {'timeout': 'soon'}),
            ('MalformedRequestError', {}, 'verify', {'timeout': -1}),
            ('MalformedRequestError', {}, 'verify', {'timeout': 1e12}),
            ('MalformedRequestError', {}, 'verify', {'timeout': True}),
        ):
            try:
                raw.prepare(**prepared).call({}, method, **arguments)
                self.fail((method[:80], prepared))
            except oslo_messaging.RemoteError as refusal:
                self.assertEqual(error, refusal.exc_type)
                self.assertLess(len(str(refusal)), 4000)
        self.asking.ping('node1', GENEROUS)

        threads = self.node.status('Threads')
        monitored = {'_timeout': 60, '_msg_id': '1', '_reply_q': 'reply_nobody'}
        remediate = {'noop': True, 'who': 'nobody'}
        bodies = [
            b'', b'\0\xff', b'{', b'[]', b'null', b'{}', b'"text"', b'{"oslo.version": "9.0"}',
            b'{"oslo.version": "2.0", "oslo.message": "{"}',
            b'{"oslo.version": "9.0", "oslo.message": "{}"}',
            b'{"method": null}', b'{"method": 7, "args": {}}', b'{"method": "ping", "args": []}',
            b'{"method": "ping", "args": null}', b'{"method": "ping", "version": null}',
            b'{"method": "ping", "version": "new"}', b'{"method": "ping", "namespace": {}}',
            b'[' * 100_000, huge.encode(),
            *10 * [json.dumps({'method': 'no_such_method', **monitored}).encode()],
            *10 * [json.dumps({'method': 'remediate', 'args': remediate, **monitored}).encode()],
            b'{"method": ["verify"]}',
        ]  # fmt: skip
        with amqp.Connection(self.broker.url.replace('rabbit:', 'amqp:')) as connection:
            producer = connection.Producer()
            for body in bodies:
                for kind in ('application/json', 'application/x-python-serialize', 'text/plain'):
                    producer.publish(
                        body,
                        exchange='openstack',
                        routing_key='nested_agent.node1',
                        content_type=kind,
                        content_encoding='utf-8',
                    )
        self.assertEqual('node1', self.asking.ping('node1', GENEROUS).host)
        self.assertEqual('compliant', self.asking.verify('node1', GENEROUS).state)
        # A connection has a thread, and each worker may have needed one to answer nobody.
        most = threads + server.THREADS
        wait_for('threads to end', lambda: self.node.status('Threads') <= most)
        log = self.node.log.read_text()
        self.assertNotIn('x' * 1000, log)
        self.assertLess(len(log), 40_000, log[:4000])

    def test_ten_thousand_requests_leave_nothing_behind(self):
        raw = oslo_messaging.get_rpc_client(
            self.asking._transport, api.target('node1'), timeout=GENEROUS
        )

        def ask(number):
            for _ in range(number // 4):
                raw.call({}, 'get_status')

        def run(number):
            threads = [threading.Thread(target=ask, args=(number,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        run(1000)
        size, threads = self.node.status('VmRSS'), self.node.status('Threads')
        begun = time.monotonic()
        run(10_000)
        took = time.monotonic() - begun
        grown = self.node.status('VmRSS') - size
        self.addDetail('figures', _text(f'{size} kB + {grown} kB, {threads} threads, {took:.1f} s'))
        self.assertLess(grown, 3000)
        self.assertLessEqual(self.node.status('Threads'), threads + 1)


class TLSTest(RPCTestCase):
    def test_the_certificate_is_verified(self):
        node = broker()
        tls = {'ssl': 'true', 'ssl_ca_file': node.certificates.authority}
        conf = self.conf(node.tls_url, **tls)
        self.agent(conf, 'node1')
        self.answering(self.client(conf), 'node1')
        self.assertEqual(0, self.ctl(conf, 'ping', 'node1')[0])

        elsewhere = self.directory / 'elsewhere'
        elsewhere.mkdir()
        other = brokers.Certificates(elsewhere).authority
        for wrong in (
            self.conf(node.tls_url, ssl='true', ssl_ca_file=other),
            self.conf(node.tls_url.replace('localhost', 'ip6-localhost'), **tls),
        ):
            says = ['no broker', str(node.tls_port)]
            self.refused(wrong, 'ping', 'node1', '--timeout', '20', says=says)
        wrong = self.conf(node.tls_url, ssl='true', ssl_ca_file=other)
        self.refused(wrong, 'ping', 'node1', says=['certificate verify failed'])
        missing = self.conf(node.tls_url, ssl='true', ssl_ca_file='/nonexistent.pem')
        self.refused(missing, 'ping', 'node1', says=['No such file'])


def _text(text):
    from testtools.content import text_content

    return text_content(text)
