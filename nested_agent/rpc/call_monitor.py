"""Tells whoever waits for a long request that it is still being worked on."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from nested_agent.rpc.api import NobodyWaitsError

LOG = logging.getLogger(__name__)

#: Signs of life in the time after which the caller gives up: some may be late, or lost.
BEATS = 3

MOST_SECONDS = 3600.0


class CallMonitor:
    """The answering side of oslo.messaging's call monitor, for one request.

    Takes the place of the one in its dispatcher, which leaves a thread behind for every request
    that is refused, ends with the first lost connection to the broker, and keeps the process from
    ending while there is none.

    :param incoming: the request, not answered yet
    :param received: when it came, by :func:`time.monotonic`
    """

    def __init__(self, incoming: Any, received: float) -> None:
        self._incoming = incoming
        self._received = received
        self._seconds = _seconds(getattr(incoming, 'client_timeout', None))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the caller waiting meanwhile; one who did not ask for it is told nothing.

        :raises NobodyWaitsError: the caller is gone already
        """
        if self._seconds is None:
            yield
            return
        self._begin(self._seconds)
        ended = threading.Event()
        # A daemon, and not waited for: while the broker is down it cannot be interrupted.
        threading.Thread(
            target=self._beat, args=(ended, self._seconds / BEATS), name='rpc-monitor', daemon=True
        ).start()
        try:
            yield
        finally:
            ended.set()

    def _begin(self, seconds: float) -> None:
        if time.monotonic() - self._received > seconds:
            raise NobodyWaitsError(f'the request is older than {seconds:g} s')
        try:
            self._incoming.heartbeat()
        except Exception as error:
            raise NobodyWaitsError('the queue for the answer is not there any more') from error

    def _beat(self, ended: threading.Event, pause: float) -> None:
        while not ended.wait(pause):
            try:
                self._incoming.heartbeat()
            except Exception:  # whatever it is, the next may get through
                LOG.debug('no sign of life could be sent', exc_info=True)


def _seconds(value: object) -> float | None:
    """Return what the caller said, if it makes sense."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 1 <= value <= MOST_SECONDS else None
