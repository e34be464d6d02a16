"""A nested-agent of the test's own: a real process with directories of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fixtures

from nested_agent.model import Report
from nested_agent.reporting import state_file

COMMANDS = Path(sys.executable).parent
DEADLINE = 120.0


def wait_for(fact: Callable[[], Any], what: str) -> Any:
    """Return the first true value of ``fact``."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = fact()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f'not within {DEADLINE:g} s: {what}')


class Daemon(fixtures.Fixture):
    """The process, from ``start`` to ``kill`` or the end of the test."""

    process: subprocess.Popen[bytes]

    def _setUp(self) -> None:  # noqa: N802  # fixtures' name
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.config = self.base / 'nested-agent.conf'
        self.log = self.base / 'log'
        self.state_dir = self.base / 'state'
        self.nova_conf = self.base / 'nova.conf'
        self.nova_conf.write_text('[libvirt]\ncpu_mode = host-model\n')
        self.environment = {**os.environ}
        self.configure()
        self.addCleanup(self._end)

    def configure(self, text: str = '', interval: int = 86400) -> None:
        """Write the configuration; by default nothing but a change makes it verify."""
        self.config.write_text(
            f'[agent]\nstate_dir = {self.state_dir}\nrun_dir = {self.base / "run"}\n'
            f'interval = {interval}\n[nova]\nconfig_file = {self.nova_conf}\n{text}'
        )

    def start(self) -> None:
        """Start it."""
        with self.log.open('ab') as log:
            self.process = subprocess.Popen(
                [COMMANDS / 'nested-agent', f'--config-file={self.config}'],
                stdout=log,
                stderr=log,
                env=self.environment,
            )

    def start_and_settle(self) -> Report:
        """Start it and return the report after which it waits: at the start it looks twice."""
        before = self.stored()
        first = before.report.sequence or 0 if before else 0
        self.start()
        return self.report_after(first + 1)

    def stored(self) -> state_file.Stored | None:
        """Return what the state file holds."""
        return state_file.read(self.state_dir)

    def report_after(self, sequence: int | None) -> Report:
        """Return a report that comes after the one of this number."""
        number = sequence or 0

        def later() -> Report | None:
            stored = self.stored()
            if stored and (stored.report.sequence or 0) > number:
                return stored.report
            if self.process.poll() is not None:
                raise AssertionError(self.log.read_text())
            return None

        found = wait_for(later, f'a report after number {number}')
        assert isinstance(found, Report)
        return found

    def says(self, text: str) -> None:
        """Wait until the log has a text."""
        wait_for(lambda: text in self.log.read_text(), text)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return its exit code once it has ended."""
        return self.process.wait(DEADLINE)

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run nested-agentctl with the same configuration."""
        return subprocess.run(
            [COMMANDS / 'nested-agentctl', f'--config-file={self.config}', *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def listen(self) -> socket.socket:
        """Return what systemd would hear of it; call before ``start``."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(str(self.base / 'notify'))
        listener.settimeout(DEADLINE)
        self.environment['NOTIFY_SOCKET'] = str(self.base / 'notify')
        return listener

    def _end(self) -> None:
        if hasattr(self, 'process') and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
