"""What the commands share that ask the collector."""

import argparse
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nested_agent.cmd import remote

if TYPE_CHECKING:
    from nested_agent.rpc.fleet_client import FleetClient

Row = Mapping[str, Any]


class Fleet(remote.Remote):
    """A command that asks the collector."""

    whom = 'the collector'

    def collector(self) -> 'FleetClient':
        """Return what asks the collector; close it.

        :raises UsageError: there is no ``transport_url``
        """
        conf = self.messaging()
        from nested_agent.rpc.fleet_client import FleetClient

        return FleetClient(conf)

    def limited(self, rows: Iterator[Row], limit: int | None) -> Iterator[Row]:
        """Yield as many rows as there may be, and tell if there are more.

        :param rows: one more than that, if there is
        """
        yield from itertools.islice(rows, limit)
        if next(rows, None) is not None:
            self.app.LOG.warning('only the first %d are shown: see --limit', limit)


def add_limit(parser: argparse.ArgumentParser, default: int | None, what: str) -> None:
    """Add ``--limit``."""
    shown = 'all' if default is None else default
    parser.add_argument(
        '--limit',
        metavar='N',
        type=count,
        default=default,
        help=f'how many {what} at most (default: {shown})',
    )


def count(text: str) -> int:
    """Return a number above 0."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:10]) < 10**9:
        raise argparse.ArgumentTypeError(f'{text[:20]!r} is not a number from 1 to 999999999')
    return int(text)


def asked(limit: int | None) -> int | None:
    """Return how many to ask for, to know whether there are more."""
    return None if limit is None else limit + 1


def mappings(value: object) -> Iterator[Row]:
    """Yield the mappings of what should be a list of them: a report may be anybody's."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, Mapping):
            yield each


def first(values: object) -> object:
    """Return the first of a list, None where there is none."""
    return values[0] if isinstance(values, list) and values else None
