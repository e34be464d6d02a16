"""The collector's life: what it is made of, and how that starts, is reloaded and stops."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

from oslo_service import service

from nested_agent import sd_notify
from nested_agent.collector import database
from nested_agent.collector.queries import Queries
from nested_agent.collector.store import Store
from nested_agent.collector.writer import AWAY, FIRST_PAUSE, LONGEST_PAUSE, Quota, Writer
from nested_agent.conf import collector
from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc import fleet
from nested_agent.rpc.api import first_line
from nested_agent.rpc.listener import Listener
from nested_agent.rpc.workers import Workers

LOG = logging.getLogger(__name__)

#: Seconds to take leave of the broker, and to write what came.
STOP_SECONDS = 6.0

#: Reports that the broker sends ahead: few, so that several collectors share them.
PREFETCH = 200


class CollectorService(service.Service):  # type: ignore[misc]  # oslo.service has no type hints
    """The collector, as oslo.service starts, reloads and stops it.

    Reports are taken from the broker once the database has answered and its schema is the right
    one; while it is away later, the last of each node are kept in memory.

    :param conf: our configuration, loaded
    :raises ConfigurationError: the database can never be used as it is
    """

    def __init__(self, conf: Any) -> None:
        super().__init__()
        self._conf = conf
        self._engine = database.connect(conf)
        self._options = collector.options(conf)
        self._stopping = threading.Event()
        self._writer = Writer(Store(self._engine, Quota()), lambda: self._options, self._fail)
        self._listeners: Sequence[Listener] = ()
        self._thread = threading.Thread(target=self._begin, name='begin', daemon=True)
        self.failed: BaseException | None = None
        try:
            database.check(self._engine)
        except AWAY as error:
            LOG.error('the database: %s', first_line(error))

    def start(self) -> None:
        """Begin to take reports, once the database is there; returns at once."""
        self._thread.start()
        sd_notify.notify('READY=1')

    def stop(self, graceful: bool = True) -> None:
        """Take no more, and write what came."""
        sd_notify.notify('STOPPING=1')
        self._stopping.set()
        self._thread.join(STOP_SECONDS)
        for listener in self._listeners:
            listener.stop(STOP_SECONDS)
        self._writer.stop(STOP_SECONDS)
        self._engine.dispose()
        super().stop(graceful)

    def reset(self) -> None:
        """Take over options that were changed."""
        self._options = collector.options(self._conf)

    def _fail(self, error: BaseException) -> None:
        # The process must not go on looking healthy.
        self.failed = error
        os.kill(os.getpid(), signal.SIGTERM)

    def _begin(self) -> None:
        try:
            if self._wait_for_database():
                self._writer.start()
                self._listeners = (self._reports(), self._answers())
                for listener in self._listeners:
                    listener.start()
                sd_notify.notify('STATUS=collecting')
        except ConfigurationError as error:
            LOG.error('the collector cannot begin: %s', error)
            self._fail(error)
        except BaseException as error:
            LOG.exception('the collector failed')
            self._fail(error)

    def _wait_for_database(self) -> bool:
        """Return True when it is there; False: we are to stop."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                database.check(self._engine)
                return True
            except AWAY as error:
                sd_notify.notify('STATUS=waiting for the database')
                LOG.warning('the database: %s', first_line(error))
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return False

    def _reports(self) -> Listener:
        from nested_agent.collector.endpoints import Inline, Reports

        return Listener(
            self._conf,
            fleet.REPORTS,
            socket.gethostname(),
            lambda: fleet.VERSION,
            lambda: [Reports(self._writer.add)],
            Inline,
            PREFETCH,
            all_taken=True,
        )

    def _answers(self) -> Listener:
        from nested_agent.collector.endpoints import Answers

        host = socket.gethostname()
        queries = Queries(self._engine)
        return Listener(
            self._conf,
            fleet.QUERIES,
            host,
            lambda: fleet.VERSION,
            lambda: [Answers(queries, lambda: self._options, host)],
            Workers,
        )
