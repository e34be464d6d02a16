"""Reports that came and are not written yet: a few per node at most."""

import itertools
import threading
from collections.abc import Callable, Mapping

from nested_agent.collector.digest import Digest

#: Of one node: what changed in so short a time is still told; of more only the last counts.
PER_NODE = 8

#: Bytes of all reports at most: those of 50,000 nodes, or of somebody who makes large ones up.
BYTES_MOST = 256 << 20


class Pending:
    """The reports by host, in the order they came; from several threads.

    What only repeats the report before it takes its place. So the size is bounded, also while the
    database is away.

    :param most: how many hosts at most; asked every time, so it may change
    :param superseded: called for each report in whose place a later one is taken
    :param bytes_most: of all reports
    """

    def __init__(
        self,
        most: Callable[[], int],
        superseded: Callable[[], object] = lambda: None,
        bytes_most: int = BYTES_MOST,
    ) -> None:
        self._most = most
        self._superseded = superseded
        self._bytes_most = bytes_most
        self._bytes = 0
        self._lock = threading.Condition()
        self._reports: dict[str, list[Digest]] = {}
        self._wanted = 1
        self._closed = False

    def __len__(self) -> int:
        """Return of how many hosts there are reports."""
        return len(self._reports)

    def count(self) -> int:
        """Return how many reports there are."""
        with self._lock:
            return sum(len(reports) for reports in self._reports.values())

    def add(self, digest: Digest) -> bool:
        """Add a report; returns False where there are too many, or too large ones, already."""
        with self._lock:
            reports = self._reports.get(digest.host, [])
            if not reports and len(self._reports) >= self._most():
                return False
            # What takes the place of another makes room first.
            alike = bool(reports) and _alike(reports[-1], digest)
            grown = len(digest.text) - (len(reports[-1].text) if alike else 0)
            if grown > max(self._bytes_most - self._bytes, 0):
                return False
            self._append(self._reports.setdefault(digest.host, []), digest)
            if len(self._reports) >= self._wanted:
                self._lock.notify()
        return True

    def wait(self, count: int, seconds: float) -> None:
        """Wait until there are reports of so many hosts, but not longer; for one thread."""
        with self._lock:
            self._wanted = count
            self._lock.wait_for(lambda: self._closed or len(self._reports) >= count, seconds)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._lock:
            self._closed = True
            self._lock.notify()

    def take(self, most: int) -> dict[str, list[Digest]]:
        """Take out the reports of ``most`` hosts, those that have waited longest."""
        with self._lock:
            hosts = list(itertools.islice(self._reports, most))
            batch = {host: self._reports.pop(host) for host in hosts}
            self._bytes -= sum(len(each.text) for reports in batch.values() for each in reports)
            return batch

    def give_back(self, batch: Mapping[str, list[Digest]]) -> None:
        """Put back what could not be written, before what came meanwhile."""
        with self._lock:
            newer = self._reports
            self._reports = {}
            self._bytes = 0
            for host, reports in batch.items():
                for report in reports:
                    self._append(self._reports.setdefault(host, []), report)
            for host, reports in newer.items():
                older = self._reports.setdefault(host, [])
                for report in reports:
                    self._append(older, report)

    def _append(self, reports: list[Digest], digest: Digest) -> None:
        gone = None
        if reports and _alike(reports[-1], digest):
            gone = reports.pop()
        reports.append(digest)
        if len(reports) > PER_NODE:
            gone = reports.pop(PER_NODE // 2)
        self._bytes += len(digest.text)
        if gone:
            self._bytes -= len(gone.text)
            self._superseded()


def _alike(older: Digest, newer: Digest) -> bool:
    """Whether the newer says all that the older does."""
    return (
        older.boot_id == newer.boot_id
        and older.sequence <= newer.sequence
        and older.state == newer.state
        and older.run == newer.run
    )
