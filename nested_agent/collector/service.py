"""The collector's life: what it is made of, and how that starts, is reloaded and stops."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from oslo_service import service
from pbr import version

from nested_agent import sd_notify
from nested_agent.collector import database
from nested_agent.collector.metrics import Counted, Metrics, Now
from nested_agent.collector.node import Taken
from nested_agent.collector.queries import Queries
from nested_agent.collector.store import Store
from nested_agent.collector.writer import FIRST_PAUSE, LONGEST_PAUSE, Writer
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
        self._metrics = Metrics()
        self._writer = Writer(Store(self._engine), lambda: self._options, self._fail, self._metrics)
        self._end_serving: Callable[[], None] = lambda: None
        self._listeners: Sequence[Listener] = ()
        self._thread = threading.Thread(target=self._begin, name='begin', daemon=True)
        self.failed: BaseException | None = None
        try:
            database.check(self._engine)
        except database.AWAY as error:
            LOG.error('the database: %s', first_line(error))

    def start(self) -> None:
        """Begin to take reports, once the database is there; returns at once.

        :raises ConfigurationError: nobody can listen where the metrics are to be served
        """
        self._serve()
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
        self._end_serving()
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

    def _serve(self) -> None:
        host, port = self._conf.collector.metrics_host, self._conf.collector.metrics_port
        if port is None:
            return
        queries = Queries(self._engine)
        states = Counted(lambda: queries.states(time.time(), self._options.agent_down_time))
        now = Now(
            self._metrics,
            version.VersionInfo('nested-agent').release_string(),
            states,
            self._writer.waiting,
            lambda: self._options.agent_down_time,
        )
        self._metrics.registry.register(now)
        try:
            self._end_serving = self._metrics.serve(host, port)
        except OSError as error:
            raise ConfigurationError(
                f'[collector] metrics_port: {host}, port {port}: {error.strerror}'
            ) from error

    def _wait_for_database(self) -> bool:
        """Return True when it is there; False: we are to stop."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                database.check(self._engine)
                return True
            except database.AWAY as error:
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
            lambda _: [Reports(self._writer.add, lambda: self._metrics.reports(Taken.REFUSED))],
            Inline,
            PREFETCH,
            all_taken=True,
        )

    def _answers(self) -> Listener:
        from nested_agent.collector.endpoints import Answers

        queries = Queries(self._engine)
        return Listener(
            self._conf,
            fleet.QUERIES,
            socket.gethostname(),
            lambda: fleet.VERSION,
            lambda host: [Answers(queries, lambda: self._options, host)],
            Workers,
        )
