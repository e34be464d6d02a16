"""The agent's life: what it is made of, and how that starts, is reloaded and stops."""

import fcntl
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from oslo_service import service

from nested_agent import sd_notify
from nested_agent.agent import Agent, Effort, Timing
from nested_agent.conf import remediation
from nested_agent.exceptions import ConfigurationError, ReportFormatError
from nested_agent.local import Local
from nested_agent.mending import Mending
from nested_agent.model import Report
from nested_agent.node import watched
from nested_agent.node.root import Root
from nested_agent.remediation.chronicle import Onlooker
from nested_agent.remediation.remediator import Remediator
from nested_agent.remediation.schedule import Schedule
from nested_agent.report import first
from nested_agent.reporting import log, state_file
from nested_agent.reporting.channel import Channel

LOG = logging.getLogger(__name__)

#: A third of what systemd waits for: two signs of life may be late.
BEATS = 3

#: Seconds for the loop to end what it is at; idle it needs none of it.
STOP_SECONDS = 10.0

#: Seconds for a remediation to end or be undone, besides what nova-compute takes. The unit's
#: TimeoutStopSec covers it.
TRANSACTION_SECONDS = 600.0

#: Seconds to take leave of the broker. Where there is none nobody is to be told.
RPC_STOP_SECONDS = 1.0


class Server(Protocol):
    """What answers requests, if anything does."""

    def start(self) -> None:
        """Begin to answer, as soon as there is a broker; returns at once."""

    def answer_as(self, host: str) -> None:
        """Answer under this name from now on, and no other; returns at once."""

    def stop(self, timeout: float) -> None:
        """Answer no more; returns after ``timeout`` seconds at the latest."""


class Asked:
    """What others may ask of this node, from any thread: the loop, or what is written down."""

    def __init__(self, agent: Agent, remediator: Remediator) -> None:
        self.report = agent.report
        self.verify_now = agent.verify_now
        self.remediate = agent.remediate
        self.pause = remediator.pause
        self.resume = remediator.resume
        self.history = remediator.history


class AgentService(service.Service):  # type: ignore[misc]  # oslo.service has no type hints
    """The agent and its channels, as oslo.service starts, reloads and stops them.

    :param conf: our configuration, loaded
    :param make_server: makes the RPC server for a host name; None: standalone
    :param channels: told of every report, besides the log, the state file and systemd
    :param effort: where the loop writes down what it took to verify
    :param onlooker: told of remediations as they happen
    """

    def __init__(
        self,
        conf: Any,
        make_server: Callable[[str, Asked], Server] | None,
        root: Root | None = None,
        channels: Sequence[Channel] = (),
        effort: Effort | None = None,
        onlooker: Onlooker | None = None,
    ) -> None:
        super().__init__()
        self._conf = conf
        self._make_server = make_server
        self._channels = channels
        self._server: Server | None = None
        self._paths: set[str] = set()
        self._watchdog = sd_notify.watchdog_seconds()
        self._read_options()
        self._node = Local(conf, root, alive=_alive, onlooker=onlooker)
        remediator = self._node.remediator
        schedule = Schedule(remediator, lambda: remediation.options(conf))
        self.agent = Agent(
            self._verify,
            (log.changes, self._store, self._tell_systemd, self._serve, *channels),
            lambda report: self._paths,
            lambda: self._timing,
            mending=Mending(remediator, schedule, _alive),
            alive=_alive,
            last=self._last_report(),
            effort=effort,
            host=conf.host,
        )
        self._thread = threading.Thread(target=self._run, name='agent', daemon=True)
        self.failed: BaseException | None = None

    def start(self) -> None:
        """Begin to verify; returns at once."""
        for channel in self._channels:
            channel.start()
        self._thread.start()

    def stop(self, graceful: bool = True) -> None:
        """End, at once if idle; the state file says that nobody verifies any more."""
        sd_notify.notify('STOPPING=1')
        self.agent.stop()
        if self._server:
            self._server.stop(RPC_STOP_SECONDS)
        self._thread.join(STOP_SECONDS)
        if self._node.remediator.at_it:
            # Half way is the one state to leave a node in never.
            LOG.info('a remediation is finished or undone first')
            # Stopped, started, and both again to undo it; the module, and its undoing.
            self._thread.join(5 * self._conf.remediation.nova_timeout + TRANSACTION_SECONDS)
            if self._server:
                self._server.stop(RPC_STOP_SECONDS)  # whoever asked for it is told
        for channel in self._channels:
            channel.stop(RPC_STOP_SECONDS)
        report = self.agent.report()
        if report:
            self._write(report, running=False)
        super().stop(graceful)

    def reset(self) -> None:
        """Take over options that were changed, and verify with them."""
        self._read_options()
        self.agent.trigger()

    @property
    def running(self) -> bool:
        """Whether the loop turns."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.agent.run()
        except BaseException as error:
            # Without the loop the process must not go on looking healthy.
            LOG.exception('the agent failed')
            self.failed = error
            os.kill(os.getpid(), signal.SIGTERM)

    def _read_options(self) -> None:
        beat = self._watchdog / BEATS if self._watchdog else None
        self._timing = Timing(self._conf.agent.interval, beat)

    def _verify(self, previous: Report | None) -> Report:
        self._node.previous = previous
        judged = self._node.look()
        self._paths = watched.paths(judged.observation) | self._node.watched()
        return judged.report if previous else first(judged.report)

    def _last_report(self) -> Report | None:
        try:
            return self._node.last_report()
        except ReportFormatError as error:
            LOG.warning('the last report is lost: %s', error)
            return None

    def _store(self, report: Report, previous: Report | None) -> None:
        self._write(report, running=True)

    def _write(self, report: Report, *, running: bool) -> None:
        try:
            stored = state_file.Stored(report, self._timing.interval, running)
            state_file.write(self._node.state_dir, stored)
        except OSError as error:
            LOG.error('the state file cannot be written: %s', error)

    def _tell_systemd(self, report: Report, previous: Report | None) -> None:
        sd_notify.notify('READY=1', f'STATUS={report.state}')

    def _serve(self, report: Report, previous: Report | None) -> None:
        # The host's name is only known once nova-compute's configuration was read, and may change
        # with it.
        if self._server:
            self._server.answer_as(report.host)
        elif self._make_server:
            self._server = self._make_server(report.host, Asked(self.agent, self._node.remediator))
            self._server.start()


def _alive() -> None:
    sd_notify.notify('WATCHDOG=1')


def lock(run_dir: Path) -> int:
    """Return the descriptor whose life is the right to be this node's daemon.

    :raises ConfigurationError: another one runs, or the directory cannot be made
    """
    path = run_dir / 'agent.lock'
    try:
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f'[agent] run_dir {run_dir}: {error.strerror}') from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigurationError(f'another nested-agent runs on this node ({path})') from error
    return descriptor
