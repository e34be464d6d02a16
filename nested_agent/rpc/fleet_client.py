"""Asks the collector about all nodes, with a deadline that holds."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nested_agent.exceptions import NoAnswerError, NoReportError
from nested_agent.rpc import fleet
from nested_agent.rpc.asking import Asking

#: Rows asked for at once: some 0.7 MB.
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
        """Yield nodes by name.

        :param filters: see :data:`fleet.NODE_FILTERS`
        :param limit: how many at most; None: all
        """
        return self._rows('list_nodes', 'nodes', deadline, filters, limit)

    def events(
        self, deadline: float, filters: Mapping[str, Any], limit: int | None = None
    ) -> Iterator[Row]:
        """Yield events, the last first.

        :param filters: see :data:`fleet.EVENT_FILTERS`
        """
        return self._rows('list_events', 'events', deadline, filters, limit)

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
        name: str,
        deadline: float,
        filters: Mapping[str, Any],
        limit: int | None,
    ) -> Iterator[Row]:
        end = time.monotonic() + deadline
        marker = None
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            wait = end - time.monotonic()
            if wait <= 0:
                raise NoAnswerError(f'the collector did not send all within {deadline:g} s')
            answer = self._ask(method, wait, filters=dict(filters), marker=marker, limit=size)
            rows, marker = self._read(functools.partial(_page, answer, name))
            yield from rows
            if marker is None:
                return
            if left is not None:
                left -= len(rows)

    def _ask(self, method: str, deadline: float, **arguments: Any) -> Any:
        return self.ask(fleet.COLLECTOR, method, deadline, versions=VERSIONS, **arguments)

    def _mapping(self, value: Any) -> Row:
        found: Row = self._read(lambda: dict(value))
        return found

    def _read(self, read: Callable[[], Any]) -> Any:
        return self.understood(fleet.COLLECTOR, read)


def _page(answer: Any, name: str) -> tuple[list[Row], Any]:
    return [dict(row) for row in answer[name]], answer['marker']
