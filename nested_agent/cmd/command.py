"""What every command that shows something has."""

import argparse
from collections.abc import Sequence
from typing import Any

from cliff import show

from nested_agent.cmd.agentctl import AgentCtl
from nested_agent.exceptions import UsageError


class Command(show.ShowOne):
    """Shows one thing, in the columns ``-c`` asks for."""

    @property
    def application(self) -> AgentCtl:
        """The application this command runs in."""
        assert isinstance(self.app, AgentCtl)  # noqa: S101  # for the type checker
        return self.app

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Any]
    ) -> int:
        """Let the formatter write what ``-c`` asks for."""
        unknown = set(parsed_args.columns) - set(column_names)
        if unknown:
            raise UsageError(
                f'no column {", ".join(sorted(unknown))}; there are {", ".join(column_names)}'
            )
        return int(super().produce_output(parsed_args, column_names, data))
