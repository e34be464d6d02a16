"""The threads that answer requests."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from nested_agent.rpc.seldom import Seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(Seldom())


class Lanes:
    """Workers of which one is there for verifications: they wait for one another.

    While a remediation is under way none of them may end for minutes; everything else is answered
    all the same.
    """

    def __init__(self, max_workers: int) -> None:
        self._verifications = Workers(1)
        self._others = Workers(max_workers - 1)

    def submit(self, work: Callable[..., Any], incoming: Any) -> None:
        """Have ``work`` done about a request, as :meth:`Workers.submit`."""
        message = getattr(incoming[0], 'message', None)
        slow = isinstance(message, dict) and message.get('method') == 'verify'
        (self._verifications if slow else self._others).submit(work, incoming)

    def shutdown(self, wait: bool = True) -> None:
        """Finish what was submitted, then end."""
        self._verifications.shutdown(wait)
        self._others.shutdown(wait)


class Workers:
    """Takes the place of oslo.messaging's executor.

    That one's queue has no bound, and its threads are waited for when the process ends: a thread
    that sends an answer while the broker is down would keep the process from ending.
    """

    BACKLOG = 256

    def __init__(self, max_workers: int) -> None:
        self._queue: queue.Queue[Callable[[], Any] | None] = queue.Queue(self.BACKLOG)
        self._threads = [
            threading.Thread(target=self._work, name=f'rpc-worker-{number}', daemon=True)
            for number in range(max_workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Have ``work`` done soon, or not at all: its caller's deadline tells it."""
        try:
            self._queue.put_nowait(lambda: work(*arguments))
        except queue.Full:
            LOG.warning('too many RPC requests: some are dropped')

    def shutdown(self, wait: bool = True) -> None:
        """Finish what was submitted, then end."""
        for _ in self._threads:
            self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:
                LOG.exception('an RPC request was lost')
            del work  # the request, for as long as none follows
