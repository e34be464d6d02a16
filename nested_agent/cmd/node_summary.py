"""``nested-agentctl node summary``: how many nodes there are of what."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nested_agent.cmd import command, fleet
from nested_agent.cmd.help_text import OF_DONE, epilog
from nested_agent.model import State
from nested_agent.rpc.fleet import DOWN

COLUMNS = ('what', 'value', 'nodes')

#: What is counted, as the collector and as people call it.
COUNTED = (
    ('states', 'state'),
    ('reasons', 'reason'),
    ('vendors', 'vendor'),
    ('releases', 'release'),
)
STATES = (*(state.value for state in State), DOWN)


EXAMPLES = """\
nested-agentctl node summary              how is the fleet?
nested-agentctl node summary -f csv       the same, for a spreadsheet
"""


class NodeSummary(fleet.Fleet, command.ListCommand):
    """Show how many nodes there are by state, reason, vendor and agent release.

    Asks the collector. Nodes that are down count as such only.
    """

    help_below = epilog(EXAMPLES, OF_DONE)

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return a row for each number."""
        with self.collector() as client:
            summary = client.summary(parsed_args.timeout)
        rows: list[tuple[str, str, int]] = [('all', '', summary.get('nodes', 0))]
        for name, what in COUNTED:
            counts = summary.get(name)
            if isinstance(counts, Mapping):
                rows += [(what, value, counts[value]) for value in _ordered(name, counts)]
        return COLUMNS, rows

    def nothing(self) -> str:
        """Return that there is no node; not said: there is always a first row."""
        return 'the collector knows of no node'


def _ordered(name: str, counts: Mapping[str, int]) -> list[str]:
    """Return the states in their order, anything else by how many there are."""
    often = sorted(counts, key=lambda value: (-counts[value], value))
    if name != 'states':
        return often
    return [each for each in STATES if each in counts] + [
        each for each in often if each not in STATES
    ]
