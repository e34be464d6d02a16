"""What becomes of requests that cannot be answered."""

import logging
import time
from typing import Any

import oslo_messaging
from oslo_messaging.rpc import dispatcher as rpc_dispatcher

from nested_agent.exceptions import NestedAgentError
from nested_agent.rpc import api
from nested_agent.rpc.call_monitor import CallMonitor
from nested_agent.rpc.seldom import Seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(Seldom())


class Guard:
    """Stands before oslo.messaging's dispatcher: a bad request is refused in one quiet line.

    The dispatcher alone logs a traceback for each, and sends the request's own text back.

    :param name: who we are
    :param version: of the interface we speak
    """

    def __init__(self, dispatcher: Any, name: str, version: str) -> None:
        self._dispatcher = dispatcher
        self._name = name
        self._version = version

    def dispatch(self, incoming: Any) -> Any:
        """Return the answer; raises ExpectedException, which is sent and not logged."""
        watch = getattr(incoming, 'stopwatch', None)
        received = time.monotonic() - (watch.elapsed() if watch else 0.0)
        message = incoming.message
        version = message.get('version', api.FIRST) if isinstance(message, dict) else None
        # Nothing a caller says of itself is used.
        monitor = CallMonitor(incoming, received)
        incoming.ctxt = {'received': received, 'version': version, 'monitor': monitor}
        # The dispatcher's own call monitor stays out of it.
        incoming.client_timeout = None
        try:
            return self._dispatcher.dispatch(incoming)
        except rpc_dispatcher.ExpectedException:
            raise
        except (oslo_messaging.NoSuchMethod, oslo_messaging.UnsupportedVersion) as error:
            refusal: NestedAgentError = api.UnsupportedVersionError(
                f'{self._name} speaks version {self._version}: {api.first_line(error)}'
            )
        except Exception as error:  # noqa: BLE001  # whatever the request provokes; told to it
            refusal = api.MalformedRequestError(f'{type(error).__name__}: {api.first_line(error)}')
        LOG.warning('an RPC request was refused (%s)', type(refusal).__name__)
        LOG.debug('refused: %s', refusal)
        raise expected(refusal)


def expected(error: NestedAgentError) -> Any:
    """Return what oslo.messaging sends to the caller and does not log."""
    # ExpectedException takes the error that is being handled; from None: no other goes with it.
    try:
        raise error from None
    except NestedAgentError:
        return rpc_dispatcher.ExpectedException()
