"""Asks somebody over the broker, with a deadline that holds."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from oslo_config import cfg

from nested_agent.exceptions import (
    IncompatibleAgentError,
    NestedAgentError,
    RemoteError,
    ReportFormatError,
    RPCError,
)
from nested_agent.rpc import api
from nested_agent.rpc.peer import Peer
from nested_agent.rpc.question import Question
from nested_agent.rpc.queues import RABBIT

T = TypeVar('T')

#: Seconds the queue of our answers outlives us; oslo.messaging's default is half an hour.
REPLY_QUEUE_SECONDS = 60


class Asking:
    """What every client is: it asks, and raises :class:`RPCError` subclasses.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :raises ConfigurationError: ``transport_url`` cannot be used
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._url = api.transport_url(conf)
        if self._url.transport in RABBIT:
            self._url.query.setdefault('rabbit_transient_queues_ttl', str(REPLY_QUEUE_SECONDS))
        self._transport = api.open_transport(conf, self._url)

    def understood(self, peer: Peer, read: Callable[[], T]) -> T:
        """Return what ``read`` makes of an answer.

        :raises IncompatibleAgentError: nothing can be made of it
        """
        try:
            return read()
        except (ReportFormatError, LookupError, TypeError, ValueError) as error:
            reason = f'{type(error).__name__}: {api.first_line(error)}'
            raise IncompatibleAgentError(
                f'the answer of {peer.name} cannot be understood ({reason})'
            ) from error

    def ask(self, peer: Peer, method: str, deadline: float, **how: Any) -> Any:
        """Return the answer, within ``deadline`` seconds.

        :param how: as of :meth:`begin`
        :raises RPCError: there is none
        """
        return self.begin(peer, method, deadline, **how)()

    def begin(
        self,
        peer: Peer,
        method: str,
        deadline: float,
        *,
        versions: Sequence[str],
        monitor: int | None = None,
        **arguments: Any,
    ) -> Callable[[], Any]:
        """Ask, and return what waits for the answer, ``deadline`` seconds from now at most.

        That raises :class:`RPCError` where there is none.

        :param versions: in which to ask, one after the other
        :param monitor: seconds without a sign of life after which the peer is given up
        """
        end = time.monotonic() + deadline
        question = Question(self._transport, self._url, peer, deadline, monitor)
        answers: queue.SimpleQueue[tuple[Any, NestedAgentError | None]] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put((question.run(method, versions, arguments), None))
            except RPCError as error:
                answers.put((None, error))
            except Exception as error:  # noqa: BLE001  # handed to the caller's thread
                answers.put((None, RemoteError(f'{type(error).__name__}: {api.first_line(error)}')))

        # Without a broker a call ignores its own timeout, and cannot be interrupted.
        threading.Thread(target=work, name='rpc-client', daemon=True).start()

        def wait() -> Any:
            try:
                answer, failure = answers.get(timeout=max(end - time.monotonic(), 0.0))
            except queue.Empty:
                failure = question.late()
            if failure:
                raise failure
            return answer

        return wait

    def close(self, timeout: float = 2.0) -> None:
        """Take leave of the broker; returns after ``timeout`` seconds at the latest."""
        thread = threading.Thread(target=self._transport.cleanup, name='rpc-close', daemon=True)
        thread.start()
        thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
