"""Whether anybody reads a queue of the broker, before anything is sent there.

oslo.messaging has no public way to ask: this is the connection that its next message would use.
"""

from collections.abc import Callable
from typing import Any

#: How the drivers are called that have queues to look at.
RABBIT = ('rabbit', 'kombu')

#: AMQP's code for what is not there.
NOT_FOUND = 404


def readers(
    transport: Any, url: Any, queue: str, connected: Callable[[], object] = lambda: None
) -> int:
    """Return how many read the queue; 0 as well where there is no such queue.

    :param url: of the transport, one of :data:`RABBIT`
    :param connected: called when the broker has let us in
    :raises Exception: of the broker's client library; every broker of a cluster got one try
    """
    tries = max(len(url.hosts) - 1, 0)
    with transport._driver._get_connection(retry=tries) as context:
        connected()
        # Its heartbeats come from another thread.
        with context.connection._connection_lock:
            return _readers(context.connection.connection, queue)


def _readers(connection: Any, queue: str) -> int:
    channel = connection.channel()
    try:
        count = int(channel.queue_declare(queue=queue, passive=True).consumer_count)
    except connection.channel_errors as error:
        if getattr(error, 'code', None) == NOT_FOUND:
            return 0
        raise
    channel.close()
    return count
