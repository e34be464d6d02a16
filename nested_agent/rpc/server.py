"""Answers requests as long as there is a broker; never holds up anything else."""

import contextlib
import logging
import threading
from typing import Any

from oslo_config import cfg

from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc import api, seldom
from nested_agent.rpc.api import Agent, configured
from nested_agent.rpc.workers import Lanes

__all__ = ['Agent', 'Server', 'configured']

LOG = logging.getLogger(__name__)
LOG.addFilter(seldom.Seldom())

THREADS = 4

#: Seconds before another try when the broker refuses us; where there is none oslo.messaging waits.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Server:
    """Answers for one host, in threads of its own.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :param host: the name the agent is asked by
    """

    def __init__(self, conf: cfg.ConfigOpts, host: str, agent: Agent) -> None:
        self._conf = conf
        self._host = host
        self._agent = agent
        self._stopping = threading.Event()
        # A daemon: while the broker is down oslo.messaging cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name='rpc', daemon=True)

    def start(self) -> None:
        """Begin to answer as soon as the broker is there; returns at once, raises nothing."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Answer no more; returns after ``timeout`` seconds at the latest.

        What is not ended by then (there is no broker) ends when the broker is back, or with the
        process: it does not keep the process from ending.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        seldom.install()
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                self._serve()
            except ConfigurationError as error:
                LOG.error('RPC is off: %s', error)
                return
            except Exception as error:
                # Among others: the broker refuses the password, which may be set up later.
                LOG.error('RPC: %s', api.first_line(error))
                LOG.debug('RPC', exc_info=True)
                self._stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _serve(self) -> None:
        """Answer until told to stop."""
        url = api.transport_url(self._conf)
        LOG.info('RPC: connecting to %s', api.brokers(url))
        transport = api.open_transport(self._conf, url)
        try:
            server = self._server(transport)
            server.start(override_pool_size=THREADS)
            LOG.info('RPC: answering as %s.%s', api.TOPIC, self._host)
            self._stopping.wait()
            self._wake(transport)
            server.stop()
            server.wait()
        finally:
            transport.cleanup()

    def _server(self, transport: Any) -> Any:
        # Imported here: it costs megabytes, and most of a start.
        import oslo_messaging
        from oslo_messaging.rpc import server as rpc_server

        from nested_agent.rpc.endpoint import Endpoint, Guard

        def make(transport: Any, target: Any, dispatcher: Any, *rest: Any) -> Any:
            made = rpc_server.RPCServer(transport, target, Guard(dispatcher, self._host), *rest)
            made._executor_cls = Lanes
            return made

        return oslo_messaging.get_rpc_server(
            transport,
            api.target(self._host),
            [Endpoint(self._conf, self._host, self._agent)],
            access_policy=oslo_messaging.DefaultRPCAccessPolicy,
            server_cls=make,
        )

    def _wake(self, transport: Any) -> None:
        """Send ourselves a request: an idle listener sees only after 5 s that it is to stop."""
        import oslo_messaging

        client = oslo_messaging.get_rpc_client(transport, api.target(self._host), retry=0)
        with contextlib.suppress(Exception):  # no broker: then there is nothing to wake
            client.cast({}, 'ping')
