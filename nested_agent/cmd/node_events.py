"""``nested-agentctl node events``: what happened to the nodes."""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nested_agent.cmd import command, fleet, remote
from nested_agent.cmd.duration import duration
from nested_agent.cmd.help_text import OF_DONE, epilog
from nested_agent.cmd.tables import Moment

COLUMNS = ('time', 'host', 'kind', 'before', 'after', 'reason', 'message')
KINDS = ('state', 'remediation', 'reboot', 'returned', 'contested', 'restarted', 'forgotten')
LIMIT = 50


EXAMPLES = """\
nested-agentctl node events --since 12h              what happened last night
nested-agentctl node events compute-7 --limit 500    a node's whole story
nested-agentctl node events --kind remediation       what came of fixes
"""


class NodeEvents(fleet.Fleet, command.ListCommand):
    """Show what happened to the nodes, the last first: changes of state, what fixes came to.

    Asks the collector.
    """

    help_below = epilog(EXAMPLES, OF_DONE)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the filters and ``--limit``."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'host', metavar='HOST', nargs='?', type=remote.host, help='only of this node'
        )
        parser.add_argument('--kind', choices=KINDS, help='only of this kind')
        parser.add_argument(
            '--since',
            metavar='DURATION',
            type=duration,
            help='only of so long ago or less, such as 30m, 12h or 7d',
        )
        fleet.add_limit(parser, LIMIT, 'events')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return a row for each event."""
        return COLUMNS, map(_row, self._events(parsed_args))

    def _events(self, parsed_args: argparse.Namespace) -> Iterator[fleet.Row]:
        since = parsed_args.since and time.time() - parsed_args.since
        chosen = (('host', parsed_args.host), ('kind', parsed_args.kind), ('since', since))
        filters = {name: value for name, value in chosen if value is not None}
        limit = parsed_args.limit
        with self.collector() as client:
            events = client.events(parsed_args.timeout, filters, fleet.asked(limit))
            yield from self.limited(events, limit)

    def nothing(self) -> str:
        """Return that nothing happened."""
        return 'the collector knows of no such event'


def _row(event: fleet.Row) -> tuple[object, ...]:
    return (Moment(event.get('time')), *(event.get(name) for name in COLUMNS[1:]))
