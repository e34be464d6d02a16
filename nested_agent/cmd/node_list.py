"""``nested-agentctl node list``: every node the collector knows of."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nested_agent.cmd import command, fleet
from nested_agent.cmd.help_text import OF_DONE, epilog
from nested_agent.cmd.tables import Moment
from nested_agent.model import State
from nested_agent.rpc.fleet import DOWN

COLUMNS = ('host', 'state', 'reason', 'vendor', 'kernel', 'since', 'last_seen')
LONG = (*COLUMNS, 'reported', 'release', 'reasons')


EXAMPLES = """\
nested-agentctl node list --state down --state blocked   where a person is needed
nested-agentctl node list --reason Disabled --long       which nodes say so
nested-agentctl node list -f json                        all of them, for a program
"""


class NodeList(fleet.Fleet, command.ListCommand):
    """Show every node, by name, as its agent last reported it; asks the collector.

    "down" is a node without a report for the collector's agent_down_time; "since" then is when the
    last one came. Without --limit all nodes are shown, however many.
    """

    help_below = epilog(EXAMPLES, OF_DONE)
    timeout = 60.0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the filters, ``--limit`` and ``--long``."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--state',
            action='append',
            default=[],
            choices=[*(state.value for state in State), DOWN],
            help='only nodes in this state; may be given several times',
        )
        parser.add_argument(
            '--reason',
            action='append',
            default=[],
            metavar='REASON',
            help='only nodes with this reason among their conditions that are not as they should '
            'be; may be given several times',
        )
        fleet.add_limit(parser, None, 'nodes')
        parser.add_argument(
            '--long',
            action='store_true',
            help='show also the state last reported, the release of the agent and all reasons',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return a row for each node."""
        nodes = self._nodes(parsed_args)
        return (LONG, map(_long, nodes)) if parsed_args.long else (COLUMNS, map(_row, nodes))

    def _nodes(self, parsed_args: argparse.Namespace) -> Iterator[fleet.Row]:
        chosen = (('state', parsed_args.state), ('reason', parsed_args.reason))
        filters = {name: values for name, values in chosen if values}
        limit = parsed_args.limit
        with self.collector() as client:
            nodes = client.nodes(parsed_args.timeout, filters, fleet.asked(limit))
            yield from self.limited(nodes, limit)

    def nothing(self) -> str:
        """Return that there is no such node."""
        return 'the collector knows of no such node'


def _row(node: fleet.Row) -> tuple[object, ...]:
    return (
        node.get('host'),
        node.get('state'),
        fleet.first(node.get('reasons')),
        node.get('vendor'),
        node.get('kernel'),
        Moment(node.get('since')),
        Moment(node.get('seen')),
    )


def _long(node: fleet.Row) -> tuple[object, ...]:
    reasons = node.get('reasons')
    return (
        *_row(node),
        node.get('reported'),
        node.get('release'),
        ' '.join(map(str, reasons)) if isinstance(reasons, list) else '',
    )
