"""A nested-collector of the test's own: a real process, with SQLite or a MariaDB."""

import signal
import subprocess
import sys
from pathlib import Path

import fixtures
import sqlalchemy as sa

from tests.functional.broker import GENEROUS, PASSWORD, wait_for

COMMANDS = Path(sys.executable).parent


class Collector(fixtures.Fixture):
    """The process, from ``start`` to ``kill`` or the end of the test.

    :param database: what SQLAlchemy connects with; None: a new SQLite file
    :param options: of group ``[collector]``
    """

    def __init__(self, url, database=None, **options):
        super().__init__()
        self._url = url
        self._database = database
        self._options = options
        self.process = None

    def _setUp(self):  # noqa: N802  # fixtures' name
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.config = self.base / 'nested-collector.conf'
        self.control_config = self.base / 'nested-agent.conf'
        self.control_config.write_text(f'[DEFAULT]\ntransport_url = {self._url}\n')
        self.log = self.base / 'log'
        self.database = self._database or f'sqlite:///{self.base}/collector.sqlite'
        self.configure(**self._options)
        self.engine = sa.create_engine(self.database, poolclass=sa.NullPool)
        self.addCleanup(self.kill)

    def configure(self, **options):
        """Write the configuration."""
        lines = '\n'.join(f'{name} = {value}' for name, value in options.items())
        self.config.write_text(
            f'[DEFAULT]\ntransport_url = {self._url}\n'
            f'[collector]\n{lines}\n[database]\nconnection = {self.database}\n'
        )

    def manage(self, *arguments):
        """Run nested-collector-manage."""
        return self._run('nested-collector-manage', self.config, *arguments)

    def sync(self):
        done = self.manage('db', 'sync')
        assert done.returncode == 0, done.stderr

    def control(self, *arguments):
        """Run nested-agentctl."""
        return self._run('nested-agentctl', self.control_config, *arguments)

    def _run(self, command, config, *arguments):
        done = subprocess.run(
            [COMMANDS / command, f'--config-file={config}', *arguments],
            capture_output=True, text=True, timeout=GENEROUS, check=False,
        )  # fmt: skip
        assert PASSWORD not in done.stdout + done.stderr
        assert 'Traceback' not in done.stderr, done.stderr
        return done

    def start(self, *, listening=True):
        """Start it and, as a rule, wait until it takes reports and questions."""
        with self.log.open('ab') as log:
            begin = self.log.stat().st_size
            self.process = subprocess.Popen(
                [COMMANDS / 'nested-collector', f'--config-file={self.config}'],
                stdout=log,
                stderr=log,
            )
        if listening:
            wait_for(self.said, lambda: self._listening(begin))
        return self

    def _listening(self, begin):
        if self.process.poll() is not None:
            raise AssertionError(self.said())
        return self.said()[begin:].count('RPC: answering as') == 2

    def said(self):
        return self.log.read_text()

    def says(self, text):
        """Wait until the log has a text."""
        wait_for(lambda: f'{text} in {self.said()}', lambda: text in self.said())

    def stop(self):
        """End it in an orderly way and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(GENEROUS)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def sql(self, statement):
        """Return the rows that the database itself answers."""
        with self.engine.connect() as connection:
            return connection.execute(sa.text(statement)).all()

    def execute(self, statement):
        """Change the database itself."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement))

    def numbers(self):
        """Return the sum of the numbers of all reports that are kept."""
        return int(self.sql('SELECT SUM(sequence) FROM nodes')[0][0] or 0)

    def caught_up(self, count):
        """Wait until so many reports, numbered from 1 for each node, are kept."""
        wait_for(lambda: f'{count}, not {self.numbers()}', lambda: self.numbers() >= count)
