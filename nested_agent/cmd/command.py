"""What every command that shows something has."""

import argparse
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from cliff import display, lister, show

from nested_agent.cmd import exit_codes
from nested_agent.cmd.agentctl import AgentCtl
from nested_agent.cmd.help_text import HelpFormatter
from nested_agent.exceptions import UsageError
from nested_agent.model import State


class Base(display.DisplayCommandBase[Any]):
    """Knows its application.

    :cvar help_below: what ``--help`` says below the options
    """

    help_below = ''

    def get_epilog(self) -> str:
        """Return that; cliff's reads the metadata of every installed package, at each start."""
        return self.help_below

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Have ``--help`` keep the examples as they are."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.formatter_class = HelpFormatter
        return parser

    @property
    def application(self) -> AgentCtl:
        """The application this command runs in."""
        assert isinstance(self.app, AgentCtl)  # noqa: S101  # for the type checker
        return self.app


class Command(Base, show.ShowOne):
    """Shows one thing, in the columns ``-c`` asks for."""

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Any]
    ) -> int:
        """Let the formatter write what ``-c`` asks for."""
        _check_columns(parsed_args.columns, column_names)
        return int(super().produce_output(parsed_args, column_names, list(data)))


class ListCommand(Base, lister.Lister):
    """Shows one row for each of several things."""

    formatter_namespace = 'nested_agent.cli.list'

    def nothing(self) -> str:
        """Return what people are told where there is no row."""
        raise NotImplementedError

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
    ) -> int:
        """Let the formatter write what ``-c`` asks for."""
        _check_columns(parsed_args.columns, column_names)
        if parsed_args.formatter != 'table':
            # All of it or nothing: others write what they have, and then it may fail.
            return int(super().produce_output(parsed_args, column_names, list(data)))
        rows = iter(data)
        first = next(rows, None)
        if first is None:
            self.app.stdout.write(f'{self.nothing()}\n')
            return 0
        rows = itertools.chain((first,), rows)
        return int(super().produce_output(parsed_args, column_names, rows))


def _check_columns(chosen: Sequence[str], column_names: Sequence[str]) -> None:
    unknown = set(chosen) - set(column_names)
    if unknown:
        raise UsageError(
            f'no column {", ".join(sorted(unknown))}; there are {", ".join(column_names)}'
        )


class Answering(Base):
    """A command whose exit code is an answer.

    :ivar code: what it is so far
    """

    code = exit_codes.OF_STATE[State.UNKNOWN]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Return the exit code of what was found."""
        try:
            super().run(parsed_args)
            self.app.stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough; the answer is the same.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return self.code
