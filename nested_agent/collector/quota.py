"""How many events are kept: more come from a node that is out of its mind."""

import collections
from collections.abc import Sequence

from nested_agent.collector.node import Event

#: Events of one node that are kept per hour.
EVENTS_PER_HOUR = 60
HOUR = 3600.0


class Quota:
    """How many events about one host are kept per hour; for one thread."""

    def __init__(self, most: int = EVENTS_PER_HOUR) -> None:
        self._most = most
        self._hour = 0.0
        self._counts: collections.Counter[tuple[str, float]] = collections.Counter()

    def kept(self, events: Sequence[Event]) -> list[Event]:
        """Return those that there is room for; they count once they are :meth:`written`."""
        more: collections.Counter[tuple[str, float]] = collections.Counter()
        found = []
        for event in events:
            key = _key(event)
            if self._counts[key] + more[key] < self._most:
                more[key] += 1
                found.append(event)
        return found

    def written(self, events: Sequence[Event]) -> None:
        """Count events."""
        for event in events:
            key = _key(event)
            if key[1] != self._hour:
                self._hour = key[1]
                self._counts.clear()
            self._counts[key] += 1


def _key(event: Event) -> tuple[str, float]:
    return event.host, event.time // HOUR
