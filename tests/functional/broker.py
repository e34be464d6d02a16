"""A real RabbitMQ, private to the tests: own ports on the loopback, own files, own epmd."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

SERVER = Path('/usr/lib/rabbitmq/bin/rabbitmq-server')

#: Seconds: a node boots in five, in far more where other tests share the processors.
GENEROUS = 180

#: Not a test's own directory, which is removed with it.
TEMPORARY = tempfile.gettempdir()

PASSWORD = 's3cret-of-the-test'


def wait_for(what, fact, seconds=GENEROUS):
    """Return what ``fact()`` returns once it is true."""
    end = time.monotonic() + seconds
    while not (value := fact()):
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds} s: {what() if callable(what) else what}')
        time.sleep(0.05)
    return value


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def end(process):
    """End a process started in a session of its own, and all it started."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)


class Certificates:
    """An authority, and a certificate of it for ``localhost``."""

    def __init__(self, directory):
        self.authority = directory / 'ca.pem'
        self.key = directory / 'server.key'
        self.certificate = directory / 'server.pem'
        authority_key = directory / 'ca.key'
        request = directory / 'server.csr'
        extension = directory / 'server.ext'
        extension.write_text('subjectAltName=DNS:localhost,IP:127.0.0.1\n')
        new = ['req', '-newkey', 'rsa:2048', '-nodes']
        self._openssl(
            *new, '-x509', '-days', '2', '-subj', f'/CN={directory.name}',
            '-keyout', authority_key, '-out', self.authority,
        )  # fmt: skip
        self._openssl(*new, '-subj', '/CN=localhost', '-keyout', self.key, '-out', request)
        self._openssl(
            'x509', '-req', '-in', request, '-CA', self.authority, '-CAkey', authority_key,
            '-CAcreateserial', '-days', '2', '-extfile', extension, '-out', self.certificate,
        )  # fmt: skip

    def _openssl(self, *arguments):
        subprocess.run(['openssl', *arguments], check=True, capture_output=True, timeout=60)


class Broker:
    """A node that can be started and stopped again, on the same ports, its data kept.

    :ivar url: the ``transport_url``; :ivar tls_url: the same with TLS
    """

    def __init__(self, *, tls=False):
        assert SERVER.exists(), f'{SERVER} is missing: run tools/test-setup.sh'
        self.directory = Path(tempfile.mkdtemp(prefix='nested-agent-broker-', dir=TEMPORARY))
        self.port, self.tls_port, self._dist_port, self._epmd_port = (free_port() for _ in range(4))
        for name in ('home', 'mnesia', 'log'):
            (self.directory / name).mkdir()
        self.certificates = Certificates(self.directory) if tls else None
        (self.directory / 'rabbitmq.conf').write_text(self._configuration())
        (self.directory / 'plugins').write_text('[].\n')
        self._epmd = None
        self._server = None

    @property
    def running(self):
        return self._server is not None

    @property
    def url(self):
        return f'rabbit://agent:{PASSWORD}@localhost:{self.port}/'

    @property
    def tls_url(self):
        return f'rabbit://agent:{PASSWORD}@localhost:{self.tls_port}/'

    def start(self):
        """Return when it answers."""
        log = (self.directory / 'out').open('ab')
        with log:
            how: dict[str, Any] = {'stdin': subprocess.DEVNULL, 'stdout': log, 'stderr': log}
            how |= {'env': self._environment(), 'cwd': self.directory, 'start_new_session': True}
            if self._epmd is None:
                address = ['-address', '127.0.0.1', '-port', str(self._epmd_port)]
                self._epmd = subprocess.Popen(['epmd', *address], **how)
                wait_for('epmd', lambda: self._answers(self._epmd_port))
            self._server = subprocess.Popen([SERVER], **how)
        wait_for('the broker', self._ready)
        return self

    def stop(self):
        """Return when it has ended."""
        if self._server:
            end(self._server)
            self._server = None

    def close(self):
        """End everything and remove its files."""
        self.stop()
        if self._epmd:
            end(self._epmd)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _ready(self):
        if self._server.poll() is not None:
            raise AssertionError(f'the broker ended:\n{(self.directory / "out").read_text()}')
        ports = [self.port, self.tls_port] if self.certificates else [self.port]
        return all(self._answers(port) for port in ports)

    def _answers(self, port):
        with socket.socket() as client:
            return client.connect_ex(('127.0.0.1', port)) == 0

    def _configuration(self):
        lines = [
            f'listeners.tcp.1 = 127.0.0.1:{self.port}',
            'default_user = agent',
            f'default_pass = {PASSWORD}',
            'log.file.level = warning',
            'log.console = false',
            # The disk of a test machine may be fuller than a broker likes.
            'disk_free_limit.absolute = 1MB',
        ]
        if self.certificates:
            lines += [
                f'listeners.ssl.1 = 127.0.0.1:{self.tls_port}',
                f'ssl_options.cacertfile = {self.certificates.authority}',
                f'ssl_options.certfile = {self.certificates.certificate}',
                f'ssl_options.keyfile = {self.certificates.key}',
            ]
        return '\n'.join(lines) + '\n'

    def _environment(self):
        directory = self.directory
        return {
            'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
            'LC_ALL': 'C.UTF-8',
            'HOME': str(directory / 'home'),
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            'ERL_EPMD_PORT': str(self._epmd_port),
            'RABBITMQ_NODENAME': f'test{self.port}@localhost',
            'RABBITMQ_DIST_PORT': str(self._dist_port),
            'RABBITMQ_MNESIA_BASE': str(directory / 'mnesia'),
            'RABBITMQ_LOG_BASE': str(directory / 'log'),
            'RABBITMQ_PID_FILE': str(directory / 'pid'),
            'RABBITMQ_CONFIG_FILE': str(directory / 'rabbitmq.conf'),
            'RABBITMQ_CONF_ENV_FILE': str(directory / 'no-such-file'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(directory / 'plugins'),
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': (
                '+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}'
            ),
        }
