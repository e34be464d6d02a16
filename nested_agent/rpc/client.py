"""Asks the agents of other nodes, with a deadline that holds."""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

import oslo_messaging
from oslo_config import cfg

from nested_agent.exceptions import (
    IncompatibleAgentError,
    NestedAgentError,
    NoAnswerError,
    NoBrokerError,
    NoReportError,
    NoSuchAgentError,
    RemoteError,
    ReportFormatError,
    RPCError,
)
from nested_agent.model import Report
from nested_agent.rpc import api

T = TypeVar('T')

#: Seconds the queue of our answers outlives us; oslo.messaging's default is half an hour.
REPLY_QUEUE_SECONDS = 60

#: How the drivers are called that have queues to look at.
RABBIT = ('rabbit', 'kombu')

NOT_SPOKEN = ('UnsupportedVersionError', 'UnsupportedVersion', 'NoSuchMethod')
TIMED_OUT = ('VerificationTimeoutError',)


@dataclasses.dataclass(frozen=True, slots=True)
class Pong:
    """Who answers.

    :ivar version: release of the agent
    :ivar api: version of the interface it speaks
    """

    host: str
    version: str
    api: str


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """The last report of an agent.

    :ivar interval: seconds between its verifications
    :ivar age: seconds since the report was made, by the agent's clock
    """

    report: Report
    interval: float
    age: float


class Client:
    """Every method asks the agent of one host, and raises :class:`RPCError` subclasses:

    NoBrokerError, NoSuchAgentError, NoAnswerError, IncompatibleAgentError, RemoteError.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :raises ConfigurationError: ``transport_url`` cannot be used
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._url = api.transport_url(conf)
        if self._url.transport in RABBIT:
            self._url.query.setdefault('rabbit_transient_queues_ttl', str(REPLY_QUEUE_SECONDS))
        self._transport = api.open_transport(conf, self._url)

    def ping(self, host: str, deadline: float) -> Pong:
        """Return who answers within ``deadline`` seconds."""
        answer = self._ask(host, 'ping', deadline)
        return self._understood(
            host, lambda: Pong(str(answer['host']), str(answer['version']), str(answer['api']))
        )

    def get_status(self, host: str, deadline: float) -> Status:
        """Return the last report, asked for within ``deadline`` seconds.

        :raises NoReportError: the agent has not verified its node yet
        """
        answer = self._ask(host, 'get_status', deadline)
        if isinstance(answer, dict) and answer.get('report', answer) is None:
            raise NoReportError(f'the agent of {host} has not verified its node yet')
        return self._understood(
            host,
            lambda: Status(
                Report.from_dict(answer['report']), float(answer['interval']), float(answer['age'])
            ),
        )

    def verify(self, host: str, deadline: float) -> Report:
        """Have the node verified now and return the report, within ``deadline`` seconds."""
        # The agent gives up a little before us, so that we hear of it.
        timeout = min(max(deadline - 1, deadline / 2), api.VERIFY_MOST_SECONDS)
        answer = self._ask(host, 'verify', deadline, timeout=timeout)
        return self._understood(host, lambda: Report.from_dict(answer['report']))

    def _understood(self, host: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except (ReportFormatError, LookupError, TypeError, ValueError) as error:
            reason = f'{type(error).__name__}: {api.first_line(error)}'
            raise IncompatibleAgentError(
                f'the answer of the agent of {host} cannot be understood ({reason})'
            ) from error

    def _ask(self, host: str, method: str, deadline: float, **arguments: Any) -> Any:
        request = _Request(self._transport, self._url, host, deadline)
        answers: queue.SimpleQueue[tuple[Any, NestedAgentError | None]] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put((request.run(method, arguments), None))
            except RPCError as error:
                answers.put((None, error))
            except Exception as error:  # noqa: BLE001  # handed to the caller's thread
                answers.put((None, RemoteError(f'{type(error).__name__}: {api.first_line(error)}')))

        # Without a broker a call ignores its own timeout, and cannot be interrupted.
        threading.Thread(target=work, name='rpc-client', daemon=True).start()
        try:
            answer, failure = answers.get(timeout=deadline)
        except queue.Empty:
            failure = request.late()
        if failure:
            raise failure
        return answer

    def close(self, timeout: float = 2.0) -> None:
        """Take leave of the broker; returns after ``timeout`` seconds at the latest."""
        thread = threading.Thread(target=self._transport.cleanup, name='rpc-close', daemon=True)
        thread.start()
        thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Request:
    """One question to one host, asked on a thread of its own."""

    def __init__(self, transport: Any, url: Any, host: str, deadline: float) -> None:
        self._transport = transport
        self._url = url
        self._host = host
        self._deadline = deadline
        self._end = time.monotonic() + deadline
        self._connected = False

    def late(self) -> RPCError:
        """Return what it means that there was no answer."""
        within = f'did not answer within {self._deadline:g} s'
        if self._connected:
            return NoAnswerError(f'the agent of {self._host} {within}')
        return NoBrokerError(f'no broker: {api.brokers(self._url)} {within}')

    def run(self, method: str, arguments: dict[str, Any]) -> Any:
        """Return the answer.

        :raises RPCError: and only its subclasses
        """
        if self._url.transport in RABBIT:
            self._look()
        self._connected = True
        left = max(self._end - time.monotonic(), 0.1)
        client = oslo_messaging.get_rpc_client(
            self._transport,
            api.target(self._host),
            timeout=left,
            retry=0,
            transport_options=oslo_messaging.TransportOptions(at_least_once=True),
        )
        try:
            return client.call({}, method, **arguments)
        except oslo_messaging.MessagingTimeout:
            raise self.late() from None
        except oslo_messaging.MessageUndeliverable:
            raise self._no_agent() from None
        except oslo_messaging.MessageDeliveryFailure as error:
            raise self._no_broker(error) from None
        except Exception as error:
            raise self._failed(error) from error

    def _look(self) -> None:
        """Connect, and see whether anybody reads the queue of the host.

        A call cannot tell: it waits for ever for a broker, and for its timeout where there is no
        agent. oslo.messaging has no public way to ask; this is the connection the call then uses.
        """
        # Every broker of a cluster gets one try.
        tries = max(len(self._url.hosts) - 1, 0)
        try:
            with self._transport._driver._get_connection(retry=tries) as context:
                self._connected = True
                # Its heartbeats come from another thread.
                with context.connection._connection_lock:
                    self._look_at_queue(context.connection.connection)
        except RPCError:
            raise
        except Exception as error:
            raise self._no_broker(error) from error

    def _look_at_queue(self, connection: Any) -> None:
        channel = connection.channel()
        try:
            queue_name = f'{api.TOPIC}.{self._host}'
            if channel.queue_declare(queue=queue_name, passive=True).consumer_count == 0:
                raise self._no_agent()
            channel.close()
        except connection.channel_errors as error:
            if getattr(error, 'code', None) == 404:  # AMQP: not found
                raise self._no_agent() from None
            raise

    def _no_broker(self, error: Exception) -> RPCError:
        return NoBrokerError(f'no broker: {api.brokers(self._url)}: {api.first_line(error)}')

    def _no_agent(self) -> RPCError:
        return NoSuchAgentError(
            f'no agent answers for {self._host}: the broker {api.brokers(self._url)} knows of none'
        )

    def _failed(self, error: Any) -> RPCError:
        # What the agent raised: a RemoteError that tells the class, or, of a built-in class or
        # within one process, the error itself.
        name = getattr(error, 'exc_type', type(error).__name__.removesuffix('_Remote'))
        text = api.first_line(getattr(error, 'value', error))
        if name in NOT_SPOKEN:
            return IncompatibleAgentError(
                f'the agent of {self._host} does not speak version {api.VERSION} of the '
                f'interface: {text}'
            )
        if name in TIMED_OUT:
            return NoAnswerError(f'the agent of {self._host}: {text}')
        return RemoteError(f'the agent of {self._host} failed: {name}: {text}')
