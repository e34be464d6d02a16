"""Keeps what repeats itself for hours out of the log."""

import logging
import re
import time
from collections.abc import Callable

#: oslo.messaging logs every attempt to reach a broker at ERROR, and every message that is none with
#: a traceback.
NOISY = ('oslo.messaging._drivers.impl_rabbit', 'oslo_messaging._drivers.amqpdriver')

_NUMBER = re.compile(r'[0-9a-f]{8}-[0-9a-f-]{27}|\d+')


class Seldom(logging.Filter):
    """Lets the same text pass once in a while; numbers and ids in it do not count.

    :param seconds: how long the same text is held back
    """

    TEXTS = 64

    def __init__(self, seconds: float = 600, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is news."""
        if record.levelno < logging.WARNING:
            return True
        text = _NUMBER.sub('#', record.getMessage())[:200]
        now = self._clock()
        last = self._passed.pop(text, None)
        news = last is None or now - last >= self._seconds
        self._passed[text] = now if news or last is None else last
        while len(self._passed) > self.TEXTS:
            del self._passed[next(iter(self._passed))]
        return news


class Brief(Seldom):
    """Lets no traceback pass either, only what kind of error it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is news."""
        kind = record.exc_info[0] if record.exc_info else None
        if kind:
            record.msg = f'{record.getMessage()} ({kind.__name__})'
            record.args = ()
            record.exc_info = record.exc_text = None
        return super().filter(record)


def install() -> None:
    """Filter oslo.messaging's loggers; doing so again changes nothing."""
    for name in NOISY:
        logger = logging.getLogger(name)
        if not any(isinstance(each, Seldom) for each in logger.filters):
            logger.addFilter(Brief())
