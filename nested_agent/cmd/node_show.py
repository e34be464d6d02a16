"""``nested-agentctl node show``: all that the collector knows of a node."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from nested_agent.cmd import command, fleet, remote
from nested_agent.cmd.formatters import CONDITION_COLUMNS
from nested_agent.cmd.help_text import NO_ANSWER, epilog
from nested_agent.cmd.tables import WholeTable, moment, printable

#: What the collector found out itself, and what stands in the report.
OWN = (
    'host',
    'state',
    'reported',
    'reasons',
    'vendor',
    'kernel',
    'release',
    'since',
    'seen',
    'age',
    'booted',
    'schema_version',
)
REPORTED = ('time', 'boot_id', 'sequence', 'policy')
CONDITION = (*CONDITION_COLUMNS, 'observed', 'since')
PLAN = ('kind', 'target', 'before', 'after', 'why', 'disruption')


EXAMPLES = """\
nested-agentctl node show compute-7              what the collector was told last
nested-agentctl node show compute-7 -f json      the same, for a program
"""


class NodeShow(fleet.Fleet, command.Command):
    """Show a node as its agent last reported it; asks the collector, not the node.

    What the report leaves out, such as the sentences about what is as it should be, is shown by
    "status HOST", which asks the node's agent.
    """

    help_below = epilog(EXAMPLES, f'Exit codes: 0 done, 4 no report of it is kept. {NO_ANSWER}')
    formatter_namespace = 'nested_agent.cli.node'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``."""
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='HOST', type=remote.host, help='name of the node')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the node, one column per key."""
        with self.collector() as client:
            node = client.node(parsed_args.timeout, parsed_args.host)
        report = node.get('report')
        report = report if isinstance(report, Mapping) else {}
        shown = {name: node.get(name) for name in OWN}
        shown |= {name: _plain(report.get(name)) for name in REPORTED}
        for name, keys in (('conditions', CONDITION), ('plan', PLAN)):
            shown[name] = [
                {key: each.get(key) for key in keys} for each in fleet.mappings(report.get(name))
            ]
        shown['remediation'] = report.get('remediation')
        return tuple(shown), tuple(shown.values())


class NodeTable(WholeTable):
    """The node in two lines, its conditions in a table, then what would be done in another."""

    def show(
        self, thing: Mapping[str, Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        """Write the node."""
        stdout.write(f'{printable(_headline(thing))}\n{printable(_about(thing))}\n')
        if thing['conditions']:
            self.emit_dicts(CONDITION_COLUMNS, thing['conditions'], stdout, parsed_args)
        if thing['plan']:
            stdout.write('\nTo become compliant:\n')
            self.emit_dicts(PLAN, thing['plan'], stdout, parsed_args)


def _plain(value: object) -> object:
    """Return a value of the report; text, which may be anybody's, as it can be shown."""
    return printable(value) if isinstance(value, str) else value


def _headline(node: fleet.Row) -> str:
    state, reported = node['state'], node['reported']
    last = '' if state == reported else f'; it last was {reported}'
    return f'{node["host"]}: {str(state).upper()} since {_moment(node["since"])}{last}'


def _about(node: fleet.Row) -> str:
    age = node['age']
    seen = f' ({age:.0f} s ago)' if isinstance(age, int | float) else ''
    parts = (
        f'last seen {_moment(node["seen"])}{seen}',
        f'driver: {node["vendor"] or "none"}',
        f'kernel: {node["kernel"] or "unknown"}',
        f'agent: {node["release"] or "unknown"}',
    )
    return '  '.join(parts)


def _moment(value: object) -> str:
    return moment(value) if isinstance(value, int | float) else 'unknown'
