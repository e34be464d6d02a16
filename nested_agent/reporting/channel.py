"""A channel: one more way that reports take."""

from typing import Protocol

from nested_agent.model import Report


class Channel(Protocol):
    """Tells somebody of reports; whoever is not there to be told never holds up the loop."""

    def start(self) -> None:
        """Begin to tell; returns at once."""

    def stop(self, timeout: float) -> None:
        """Tell no more; returns after ``timeout`` seconds at the latest."""

    def __call__(self, report: Report, previous: Report | None) -> None:
        """Take the latest report and the one before it; returns at once."""
