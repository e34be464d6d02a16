"""Notifications by oslo.messaging's Notifier, over whatever broker the operator names.

Imported only where notifications are wanted: oslo.messaging costs megabytes.
"""

import functools
import logging
from collections.abc import Mapping
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_messaging import transport as oslo_transport

from nested_agent.reporting.notify_outbox import Message, Outbox
from nested_agent.reporting.notify_payload import Notification
from nested_agent.rpc import api, seldom

#: They log what could not be sent, all of it.
TALKATIVE = ('oslo_messaging.notify.notifier', 'oslo_messaging.notify.messaging')


class WithoutPayload(logging.Filter):
    """Takes what was to be sent out of what oslo.messaging logs about it."""

    NAMES = ('payload', 'message')

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True: the rest of it is worth knowing."""
        if isinstance(record.args, Mapping):
            shown = {name: '(not shown)' for name in self.NAMES if name in record.args}
            record.args = {**record.args, **shown}
        return True


class Transport(oslo_transport.NotificationTransport):  # type: ignore[misc]  # no type hints
    """A transport that keeps what is to be sent until it can be.

    oslo.messaging's own waits for the broker on the caller's thread, and forgets what it gives up:
    a notifier never learns of it.

    :param real: what sends
    """

    def __init__(self, real: Any, outbox: Outbox) -> None:
        super().__init__(real._driver)
        self._real = real
        self._outbox = outbox

    def _send_notification(
        self, target: Any, ctxt: Any, message: Any, version: float, retry: int | None = None
    ) -> None:
        send = functools.partial(self._send_now, target, ctxt, message, version)
        endless = retry is None or retry < 0
        self._outbox.put(Message(send, None if endless else retry))

    def _send_now(self, target: Any, ctxt: Any, message: Any, version: float) -> None:
        # A copy: the driver packs into it what is of one attempt only.
        self._real._send_notification(
            target, ctxt, dict(message), version, retry=self._other_brokers()
        )

    def _other_brokers(self) -> int:
        """Return how many brokers of a cluster are left to try after the first."""
        return max(len(self._real._driver._url.hosts) - 1, 0)


class Notifier:
    """Sends notifications as ``[oslo_messaging_notifications]`` says.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :param url_option: where the broker's URL stands
    :raises ConfigurationError: an option cannot be used; names it
    """

    def __init__(self, conf: cfg.ConfigOpts, url_option: str) -> None:
        seldom.install()
        _install_filter()
        self._outbox = Outbox()
        transport = Transport(open_transport(conf, url_option), self._outbox)
        self._notifier = oslo_messaging.Notifier(transport)

    def start(self) -> None:
        """Begin to send; returns at once."""
        self._outbox.start()

    def stop(self, timeout: float) -> None:
        """Send no more; returns after ``timeout`` seconds at the latest."""
        self._outbox.stop(timeout)

    def post(self, host: str, notification: Notification) -> None:
        """Take a notification about a host; returns at once."""
        notifier = self._notifier.prepare(publisher_id=f'nested_agent.{host}')
        send = getattr(notifier, notification.priority.value)
        send({}, notification.event, notification.payload)


def open_transport(conf: cfg.ConfigOpts, url_option: str) -> Any:
    """Return what notifications are sent by; connects to nothing yet.

    TLS and all else are the options that RPC has: they belong to oslo.messaging's driver.

    :raises ConfigurationError: an option of oslo.messaging cannot be used
    """
    with api.refusing(url_option):
        return oslo_messaging.get_notification_transport(conf)


def _install_filter() -> None:
    """Filter the loggers; doing so again changes nothing."""
    for name in TALKATIVE:
        logger = logging.getLogger(name)
        if not any(isinstance(each, WithoutPayload) for each in logger.filters):
            logger.addFilter(WithoutPayload())
