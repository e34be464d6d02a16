"""What is to be sent and could not be yet: bounded, on a thread of its own, in order.

The broker is waited for here, never by the loop.
"""

import collections
import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

from nested_agent.rpc import api, seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(seldom.Seldom())

#: Messages that are kept while the broker is away, 1 to 5 kB each; then the oldest goes first.
LIMIT = 200

#: Seconds before a message is tried again; twice as long after each further failure.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Message(NamedTuple):
    """One message.

    :ivar send: sends it; may block, and raise whatever it likes
    :ivar retries: how often it is tried again; None: until there is no room for it
    """

    send: Callable[[], object]
    retries: int | None = None


class Outbox:
    """Sends messages one after the other; while one cannot be sent, those after it wait.

    :param limit: messages that are kept at most, the one that is being sent included
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._condition = threading.Condition()
        self._messages: collections.deque[Message] = collections.deque()
        self._stopping = False
        #: Messages that were not sent and never will be.
        self.dropped = 0
        self._dropping = False
        # A daemon: while the broker is down oslo.messaging cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name='notify', daemon=True)

    def start(self) -> None:
        """Begin to send; returns at once."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Send what there is, once more at most; returns after ``timeout`` seconds at the latest.

        What is left then is lost.
        """
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._condition:
            left = len(self._messages)
        if left:
            LOG.warning('%d notifications were not sent: the agent ends', left)

    def put(self, message: Message) -> None:
        """Take a message; returns at once."""
        with self._condition:
            self._messages.append(message)
            self._condition.notify()
            if len(self._messages) <= self._limit:
                return
            self._messages.popleft()
            self.dropped += 1
            first, self._dropping = not self._dropping, True
        if first:
            LOG.warning(
                'more than %d notifications cannot be sent: the oldest are dropped', self._limit
            )

    def _run(self) -> None:
        failures = 0
        while (message := self._next(failures)) is not None:
            try:
                message.send()
            except Exception as error:  # noqa: BLE001  # told, and tried again
                failures += 1
                if _at_fault(error):
                    LOG.error('a notification can never be sent: %s', type(error).__name__)
                else:
                    LOG.warning('a notification was not sent: %s', api.first_line(error))
                    if message.retries is None or failures <= message.retries:
                        continue
                    self._dropping = True
                self._done(message, dropped=True)
            else:
                self._done(message)
                self._tell_again()
            failures = 0

    def _tell_again(self) -> None:
        if self._dropping:
            self._dropping = False
            LOG.warning('notifications are sent again; %d were dropped so far', self.dropped)

    def _next(self, failures: int) -> Message | None:
        """Return the first message when it is time to send it; None: no more."""
        with self._condition:
            if failures:
                # What comes meanwhile is no reason to try sooner.
                pause = min(FIRST_PAUSE * 2 ** min(failures - 1, 32), LONGEST_PAUSE)
                self._condition.wait_for(lambda: self._stopping, pause)
                if self._stopping:
                    return None
            self._condition.wait_for(lambda: self._messages or self._stopping)
            return self._messages[0] if self._messages else None

    def _done(self, message: Message, *, dropped: bool = False) -> None:
        with self._condition:
            if self._messages and self._messages[0] is message:
                self._messages.popleft()
                self.dropped += dropped
            elif not dropped:
                self.dropped -= 1  # room was made of it while it was being sent


def _at_fault(error: Exception) -> bool:
    """Whether it is the message that is no good; of certificates an error is an OSError as well."""
    return isinstance(error, TypeError | ValueError) and not isinstance(error, OSError)
