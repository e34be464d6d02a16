"""A daemon's life: start, signals, reload, stop.

One process. oslo.service's launchers either kill a worker on SIGHUP or end on it, so the wait
loop is our own, over its SignalHandler.
"""

import logging
import os
import signal
from collections.abc import Callable
from typing import Protocol

from oslo_service import service

from nested_agent import sd_notify
from nested_agent.exceptions import ConfigurationError

LOG = logging.getLogger(__name__)


class Daemon(Protocol):
    """What runs.

    :ivar failed: what made it end by itself, None as long as nothing did
    """

    failed: BaseException | None

    def start(self) -> None:
        """Begin; returns at once."""

    def stop(self) -> None:
        """End what it is at, and the rest at once."""

    def reset(self) -> None:
        """Take over options that were changed."""


def run(daemon: Daemon, reload: Callable[[], None]) -> int:
    """Run until SIGTERM or SIGINT; SIGHUP reloads. Returns the process's exit code.

    :param reload: reads the configuration again; raises ConfigurationError and leaves the old one
        in force if it cannot be used
    :raises ConfigurationError: the daemon ended by itself because of it
    """
    received = Signals()
    daemon.start()
    try:
        while True:
            name = received.wait()
            if name in ('SIGTERM', 'SIGINT'):
                break
            sd_notify.notify('RELOADING=1')
            refused = _refusal(reload)
            if refused:
                LOG.error('the old configuration stays in force: %s', refused)
            else:
                LOG.info('configuration reloaded')
                daemon.reset()
            sd_notify.notify('READY=1')
    finally:
        daemon.stop()
    if isinstance(daemon.failed, ConfigurationError):
        raise daemon.failed
    return 1 if daemon.failed else 0


def _refusal(reload: Callable[[], None]) -> str | None:
    try:
        reload()
    except ConfigurationError as error:
        return str(error)
    return None


class Signals:
    """Signals as they come, one at a time; made in the main thread.

    The interpreter itself writes them to a pipe. A handler in Python would be called too late:
    one that comes right before the main thread blocks, or in another thread, wakes nobody.
    """

    NAMES = ('SIGTERM', 'SIGINT', 'SIGHUP')

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._write, False)
        handler = service.SignalHandler()
        handler.clear()
        handler.add_handlers(self.NAMES, lambda number, frame: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def wait(self) -> str:
        """Return the name of the next signal."""
        while True:
            name = signal.Signals(os.read(self._read, 1)[0]).name
            if name in self.NAMES:
                return name
