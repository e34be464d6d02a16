"""``nested-agentctl history``: what was done on a node."""

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from cliff import columns

from nested_agent.cmd import command, remote
from nested_agent.cmd.help_text import OF_DONE, epilog
from nested_agent.cmd.tables import Moment
from nested_agent.cmd.this_node import this_node
from nested_agent.model import Run, to_plain
from nested_agent.rpc import api

#: What is meant for programs, which are given all there is.
WHOLE = ('json', 'yaml')
COLUMNS = ('time', 'trigger', 'who', 'result', 'state', 'message')


def count(text: str) -> int:
    """Return a number of runs that can be shown."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= api.HISTORY_MOST_RUNS:
        raise argparse.ArgumentTypeError(
            f'{text[:20]!r} is not a number from 1 to {api.HISTORY_MOST_RUNS}'
        )
    return int(text)


class Details(columns.FormattableColumn[Run]):
    """What a run says of itself, and of each action, a line each."""

    def human_readable(self) -> str:
        """Return the lines."""
        run = self._value
        outcomes = (
            f'* {each.result} {each.action.kind} {each.action.target}: {each.message}'
            for each in run.outcomes
        )
        return '\n'.join((run.message, *outcomes))


EXAMPLES = """\
nested-agentctl history --limit 3            the last three runs
nested-agentctl history --long compute-7     with each action, of another node
"""


class History(remote.Remote, command.ListCommand):
    """Show what was done on a node, by the agent itself or because somebody asked, the last first.

    --long also shows what became of each action; json and yaml always hold all there is.
    """

    help_below = epilog(EXAMPLES, OF_DONE)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``, ``--limit`` and ``--long``."""
        parser = super().get_parser(prog_name)
        remote.add_host(parser)
        parser.add_argument(
            '--limit',
            metavar='N',
            type=count,
            default=api.HISTORY_RUNS,
            help='how many runs at most (default: %(default)d)',
        )
        parser.add_argument('--long', action='store_true', help='show what became of each action')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return a row for each run."""
        runs = self._runs(parsed_args)
        long, shown_as = parsed_args.long, parsed_args.formatter
        if shown_as in WHOLE or (long and shown_as != 'table'):
            names = tuple(field.name for field in dataclasses.fields(Run))
            return names, [tuple(_plain(run).values()) for run in runs]
        return COLUMNS, [_row(run, long=long) for run in runs]

    def _runs(self, parsed_args: argparse.Namespace) -> Sequence[Run]:
        limit = parsed_args.limit
        if parsed_args.host is None:
            return this_node(self.application).remediator.history()[:limit]
        with self.client() as client:
            return client.history(parsed_args.host, parsed_args.timeout, limit)

    def nothing(self) -> str:
        """Return that there was no run."""
        return 'nothing was done yet'


def _row(run: Run, *, long: bool) -> tuple[object, ...]:
    return (
        Moment(run.began),
        str(run.trigger),
        run.who,
        str(run.result),
        f'{run.state_before} -> {run.state_after}',
        Details(run) if long else run.message,
    )


def _plain(run: Run) -> dict[str, Any]:
    plain = to_plain(run)
    assert isinstance(plain, dict)  # noqa: S101  # for the type checker
    return plain
