"""A real MariaDB, private to the tests: own files, on a socket in a directory of its own."""

import getpass
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.functional.broker import TEMPORARY, end, wait_for

SERVER = Path('/usr/sbin/mariadbd')


class MariaDB:
    """A server that can be started and stopped again, its data kept; nothing listens on a port.

    :ivar url: what SQLAlchemy connects with
    """

    def __init__(self):
        assert SERVER.exists(), f'{SERVER} is missing: run tools/test-setup.sh'
        self.directory = Path(tempfile.mkdtemp(prefix='nested-agent-db-', dir=TEMPORARY))
        self._data = self.directory / 'data'
        self._socket = self.directory / 'socket'
        self._server = None
        self._common = ['--no-defaults', f'--datadir={self._data}', f'--user={getpass.getuser()}']
        subprocess.run(
            ['mariadb-install-db', *self._common, '--auth-root-authentication-method=normal'],
            check=True,
            capture_output=True,
            timeout=180,
        )

    @property
    def url(self):
        return f'mysql+pymysql://root@localhost/collector?unix_socket={self._socket}'

    def start(self):
        """Return when it answers."""
        with (self.directory / 'out').open('ab') as log:
            self._server = subprocess.Popen(
                [SERVER, *self._common, '--skip-networking', f'--socket={self._socket}'],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for('the database', self._ready)
        return self

    def stop(self):
        """Return when it has ended, in an orderly way."""
        if self._server:
            end(self._server)
            self._server = None

    def close(self):
        """End it and remove its files."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def create(self):
        """Make the database anew, without tables."""
        self.execute('DROP DATABASE IF EXISTS collector; CREATE DATABASE collector')

    def execute(self, statements):
        """Run SQL."""
        subprocess.run(self._client('-e', statements), check=True, timeout=60, capture_output=True)

    def _ready(self):
        if self._server.poll() is not None:
            raise AssertionError(f'it ended:\n{(self.directory / "out").read_text()}')
        done = subprocess.run(
            self._client('-e', 'SELECT 1'), check=False, timeout=60, capture_output=True
        )
        return done.returncode == 0

    def _client(self, *arguments):
        home = {'HOME': str(self.directory), 'PATH': os.environ['PATH']}
        return [
            'env', *(f'{name}={value}' for name, value in home.items()),
            'mariadb', '--no-defaults', '-u', 'root', f'--socket={self._socket}', *arguments,
        ]  # fmt: skip
