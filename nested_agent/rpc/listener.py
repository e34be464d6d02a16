"""Answers requests as long as there is a broker; never holds up anything else."""

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from oslo_config import cfg

from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc import api, queues, seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(seldom.Seldom())

THREADS = 4

#: Seconds before another try when the broker refuses us; where there is none oslo.messaging waits.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Listener:
    """Answers what is sent to a topic, in threads of its own.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :param server: the name we are asked by, if it is we who are meant and not anybody; see
        :meth:`answer_as`
    :param version: of the interface; asked for when it begins to answer
    :param make_endpoints: makes what answers under a name; called with oslo.messaging imported
    :param workers: takes the place of oslo.messaging's executor
    :param prefetch: messages that the broker sends us ahead of their turn; None: any number
    :param all_taken: whether also what was taken while stopping is worked on
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        topic: str,
        server: str,
        version: Callable[[], str],
        make_endpoints: Callable[[str], Sequence[object]],
        workers: Callable[[int], object],
        prefetch: int | None = None,
        *,
        all_taken: bool = False,
    ) -> None:
        self._conf = conf
        self._topic = topic
        self._server_name = server
        self._version = version
        self._make_endpoints = make_endpoints
        self._workers = workers
        self._prefetch = prefetch
        self._all_taken = all_taken
        self._stopping = False
        # Set once what is being done is to end: we are to stop, or go by another name.
        self._interrupted = threading.Event()
        # A daemon: while the broker is down oslo.messaging cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name='rpc', daemon=True)

    def start(self) -> None:
        """Begin to answer as soon as the broker is there; returns at once, raises nothing."""
        self._thread.start()

    def answer_as(self, server: str) -> None:
        """Be asked by this name from now on, and by no other; returns at once.

        Begins when the last request under the old name is answered.
        """
        if server != self._server_name:
            self._server_name = server
            self._interrupted.set()

    def stop(self, timeout: float) -> None:
        """Answer no more; returns after ``timeout`` seconds at the latest.

        What is not ended by then (there is no broker) ends when the broker is back, or with the
        process: it does not keep the process from ending.
        """
        self._stopping = True
        self._interrupted.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        seldom.install()
        pause = FIRST_PAUSE
        while True:
            self._interrupted.clear()  # before what it tells of is looked at
            if self._stopping:
                return
            try:
                self._serve(self._server_name)
            except ConfigurationError as error:
                LOG.error('RPC is off: %s', error)
                return
            except Exception as error:
                # Among others: the broker refuses the password, which may be set up later.
                LOG.error('RPC: %s', api.first_line(error))
                LOG.debug('RPC', exc_info=True)
                self._interrupted.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _serve(self, name: str) -> None:
        """Answer until told to stop, or to go by another name."""
        url = api.transport_url(self._conf)
        if self._prefetch is not None and url.transport in queues.RABBIT:
            url.query.setdefault('rabbit_qos_prefetch_count', str(self._prefetch))
        LOG.info('RPC: connecting to %s', api.brokers(url))
        transport = api.open_transport(self._conf, url)
        try:
            server = self._server(transport, name)
            server.start(override_pool_size=THREADS)
            LOG.info('RPC: answering as %s.%s', self._topic, name)
            self._interrupted.wait()
            self._wake(transport, name)
            server.stop()
            server.wait()
            if self._all_taken:
                _work_on_the_rest(server)
        finally:
            transport.cleanup()

    def _target(self, name: str) -> Any:
        import oslo_messaging

        return oslo_messaging.Target(topic=self._topic, version=self._version(), server=name)

    def _server(self, transport: Any, name: str) -> Any:
        # Imported here: it costs megabytes, and most of a start.
        import oslo_messaging
        from oslo_messaging.rpc import server as rpc_server

        from nested_agent.rpc.guard import Guard

        def make(transport: Any, target: Any, dispatcher: Any, *rest: Any) -> Any:
            guard = Guard(dispatcher, name, target.version)
            made = rpc_server.RPCServer(transport, target, guard, *rest)
            made._executor_cls = self._workers
            return made

        return oslo_messaging.get_rpc_server(
            transport,
            self._target(name),
            self._make_endpoints(name),
            access_policy=oslo_messaging.DefaultRPCAccessPolicy,
            server_cls=make,
        )

    def _wake(self, transport: Any, name: str) -> None:
        """Send ourselves a request: an idle listener sees only after 5 s that it is to stop."""
        import oslo_messaging

        client = oslo_messaging.get_rpc_client(transport, self._target(name), retry=0)
        with contextlib.suppress(Exception):  # no broker: then there is nothing to wake
            client.cast({}, 'ping')


def _work_on_the_rest(server: Any) -> None:
    """Work on messages that oslo.messaging took from the broker and forgot.

    Its listener, when it has ended, deletes its fanout queue; what the broker sends until it has
    confirmed that is acknowledged, and stays in a list that nobody looks at.
    """
    listener = getattr(server.listener, '_poll_style_listener', None)
    for incoming in getattr(listener, 'incoming', ()):
        server._on_incoming([incoming])
