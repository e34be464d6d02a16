"""Reports that came and are not written yet: a few per node at most."""

import threading
from collections.abc import Mapping

from nested_agent.collector.digest import Digest

#: Of one node: what changed in so short a time is still told; of more only the last counts.
PER_NODE = 8


class Pending:
    """The reports by host, in the order they came; from several threads.

    What only repeats the report before it takes its place. So the size is bounded by the number
    of nodes, also while the database is away.

    :param most: hosts at most
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Condition()
        self._reports: dict[str, list[Digest]] = {}
        self._wanted = 1
        self._closed = False

    def __len__(self) -> int:
        """Return of how many hosts there are reports."""
        return len(self._reports)

    def add(self, digest: Digest) -> bool:
        """Add a report; returns False where there are too many hosts already."""
        with self._lock:
            reports = self._reports.get(digest.host)
            if reports is None:
                if len(self._reports) >= self._most:
                    return False
                self._reports[digest.host] = [digest]
            else:
                _append(reports, digest)
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
            hosts = list(self._reports)[:most]
            return {host: self._reports.pop(host) for host in hosts}

    def give_back(self, batch: Mapping[str, list[Digest]]) -> None:
        """Put back what could not be written, before what came meanwhile."""
        with self._lock:
            newer = self._reports
            self._reports = {host: list(reports) for host, reports in batch.items()}
            for host, reports in newer.items():
                older = self._reports.setdefault(host, [])
                for report in reports:
                    _append(older, report)


def _append(reports: list[Digest], digest: Digest) -> None:
    if reports and _alike(reports[-1], digest):
        reports[-1] = digest
        return
    reports.append(digest)
    if len(reports) > PER_NODE:
        del reports[PER_NODE // 2]


def _alike(older: Digest, newer: Digest) -> bool:
    """Whether the newer says all that the older does."""
    return (
        older.boot_id == newer.boot_id
        and older.sequence <= newer.sequence
        and older.state == newer.state
        and older.run == newer.run
    )
