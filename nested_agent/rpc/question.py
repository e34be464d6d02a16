"""One question to one peer, from the broker's side: whom it reaches, and what no answer means."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import oslo_messaging

from nested_agent.exceptions import (
    IncompatibleAgentError,
    NoAnswerError,
    NoBrokerError,
    NoSuchAgentError,
    RemediationRefusedError,
    RemoteBusyError,
    RemoteError,
    RemoteNotPermittedError,
    RPCError,
)
from nested_agent.rpc import api, queues
from nested_agent.rpc.peer import Peer

NOT_SPOKEN = ('UnsupportedVersionError', 'UnsupportedVersion', 'NoSuchMethod')
TIMED_OUT = ('VerificationTimeoutError',)
REFUSED = {
    'RemediationBusyError': RemoteBusyError,
    'RemediationNotPermittedError': RemoteNotPermittedError,
    'RemediationError': RemediationRefusedError,
    'RecordError': RemediationRefusedError,
    'NobodyWaitsError': RemediationRefusedError,
}


class Question:
    """One question to one peer, asked on a thread of its own.

    :param monitor: seconds without a sign of life after which the peer is given up; None: what is
        asked does not take long, and changes nothing
    """

    def __init__(
        self, transport: Any, url: Any, peer: Peer, deadline: float, monitor: int | None = None
    ) -> None:
        self._transport = transport
        self._url = url
        self._peer = peer
        self._deadline = deadline
        self._monitor = monitor
        self._end = time.monotonic() + deadline
        self._connected = False
        self._asked = False

    def late(self) -> RPCError:
        """Return what it means that there was no answer."""
        within = f'did not answer within {self._deadline:g} s'
        if not self._connected:
            return NoBrokerError(f'no broker: {api.brokers(self._url)} {within}')
        if self._monitor is None or not self._asked:
            return NoAnswerError(f'{self._peer.name} {within}')
        if time.monotonic() < self._end:
            within = f'gave no sign of life for {self._monitor} s'
        return NoAnswerError(
            f'{self._peer.name} {within}; what was asked for may have been done, or still be: '
            f'{self._peer.afterwards}'
        )

    def run(self, method: str, versions: Sequence[str], arguments: dict[str, Any]) -> Any:
        """Return the answer, in the first of the versions that the peer speaks.

        :raises RPCError: and only its subclasses
        """
        if self._url.transport in queues.RABBIT:
            self._look()
        self._connected = True
        *better, last = versions
        for version in better:
            with contextlib.suppress(IncompatibleAgentError):
                return self._call(method, version, arguments)
        return self._call(method, last, arguments)

    def _call(self, method: str, version: str, arguments: dict[str, Any]) -> Any:
        left = max(self._end - time.monotonic(), 0.1)
        client = oslo_messaging.get_rpc_client(
            self._transport,
            oslo_messaging.Target(
                topic=self._peer.topic, version=version, server=self._peer.server
            ),
            timeout=left,
            call_monitor_timeout=self._monitor,
            retry=0,
            transport_options=oslo_messaging.TransportOptions(at_least_once=True),
        )
        self._asked = True
        try:
            return client.call({}, method, **arguments)
        except oslo_messaging.MessagingTimeout:
            raise self.late() from None
        except oslo_messaging.MessageUndeliverable:
            raise self._no_peer() from None
        except oslo_messaging.MessageDeliveryFailure as error:
            raise self._no_broker(error) from None
        except Exception as error:
            raise self._failed(error, version) from error

    def _look(self) -> None:
        """Connect, and see whether anybody reads the queue.

        A call cannot tell: it waits for ever for a broker, and for its timeout where nobody is.
        """
        try:
            readers = queues.readers(self._transport, self._url, self._peer.queue, self._found)
        except Exception as error:
            raise self._no_broker(error) from error
        if not readers:
            raise self._no_peer()

    def _found(self) -> None:
        self._connected = True

    def _no_broker(self, error: Exception) -> RPCError:
        return NoBrokerError(f'no broker: {api.brokers(self._url)}: {api.first_line(error)}')

    def _no_peer(self) -> RPCError:
        return NoSuchAgentError(
            f'{self._peer.absent}: the broker {api.brokers(self._url)} knows of none'
        )

    def _failed(self, error: Any, version: str) -> RPCError:
        # What the peer raised: a RemoteError that tells the class, or, of a built-in class or
        # within one process, the error itself.
        name = getattr(error, 'exc_type', type(error).__name__.removesuffix('_Remote'))
        text = api.first_line(getattr(error, 'value', error), api.SENTENCE_LENGTH)
        if name in NOT_SPOKEN:
            return IncompatibleAgentError(
                f'{self._peer.name} does not speak version {version} of the interface: {text}'
            )
        if name in TIMED_OUT:
            return NoAnswerError(f'{self._peer.name}: {text}')
        if name in REFUSED:
            return REFUSED[name](f'{self._peer.name} refuses: {text}')
        return RemoteError(f'{self._peer.name} failed: {name}: {text}')
