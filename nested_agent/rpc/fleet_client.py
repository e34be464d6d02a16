"""Asks the collector about all nodes, with a deadline that holds."""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nested_agent.exceptions import NoAnswerError, NoReportError
from nested_agent.rpc import fleet
from nested_agent.rpc.asking import Asking

#: Rows asked for at once: some 0.4 MB.
PAGE = 2500

VERSIONS = (fleet.VERSION,)

Row = Mapping[str, Any]


class FleetClient(Asking):
    """Every method asks one of the collectors, and raises :class:`RPCError` subclasses.

    ``deadline``: seconds after which it is given up.
    """

    def nodes(
        self, deadline: float, filters: Mapping[str, Any], limit: int | None = None
    ) -> Iterator[Row]:
        """Yield nodes by name; while some are worked on, the next are on their way.

        :param filters: see :data:`fleet.NODE_FILTERS`
        :param limit: how many at most; None: all
        """
        return self._rows('list_nodes', deadline, filters, limit)

    def events(
        self, deadline: float, filters: Mapping[str, Any], limit: int | None = None
    ) -> Iterator[Row]:
        """Yield events, the last first, as :meth:`nodes`.

        :param filters: see :data:`fleet.EVENT_FILTERS`
        """
        return self._rows('list_events', deadline, filters, limit)

    def node(self, deadline: float, host: str) -> Row:
        """Return all that is known of a node.

        :raises NoReportError: no report of it is kept
        """
        answer = self._ask('get_node', deadline, host=host)
        node = self._read(lambda: answer['node'])
        if node is None:
            raise NoReportError(f'the collector knows of no node {host}')
        return self._mapping(node)

    def summary(self, deadline: float) -> Row:
        """Return how many nodes there are, of what."""
        return self._mapping(self._ask('summary', deadline))

    def _rows(
        self,
        method: str,
        deadline: float,
        filters: Mapping[str, Any],
        limit: int | None,
    ) -> Iterator[Row]:
        end = time.monotonic() + deadline
        left = sys.maxsize if limit is None else limit

        def ask(marker: Any) -> Callable[[], Any]:
            seconds = end - time.monotonic()
            if seconds <= 0:
                raise NoAnswerError(f'the collector did not send all within {deadline:g} s')
            size = min(left, PAGE)
            return self._begin(method, seconds, filters=dict(filters), marker=marker, limit=size)

        wait = ask(None)
        while True:
            rows, marker = self._read(functools.partial(_page, wait()))
            left -= len(rows)
            more = marker is not None and left > 0
            if more:
                wait = ask(marker)
            yield from rows
            if not more:
                return

    def _ask(self, method: str, deadline: float, **arguments: Any) -> Any:
        return self._begin(method, deadline, **arguments)()

    def _begin(self, method: str, deadline: float, **arguments: Any) -> Callable[[], Any]:
        return self.begin(fleet.COLLECTOR, method, deadline, versions=VERSIONS, **arguments)

    def _mapping(self, value: Any) -> Row:
        found: Row = self._read(lambda: dict(value))
        return found

    def _read(self, read: Callable[[], Any]) -> Any:
        return self.understood(fleet.COLLECTOR, read)


def _page(answer: Any) -> tuple[list[Row], Any]:
    columns = answer['columns']
    return [dict(zip(columns, row, strict=True)) for row in answer['rows']], answer['marker']
