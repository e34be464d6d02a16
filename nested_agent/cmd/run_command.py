"""What the commands share that show a run."""

from typing import Any

from nested_agent.cmd import command
from nested_agent.model import Run, to_plain


class RunCommand(command.Answering, command.Command):
    """A command that changes a node, and shows what came of it."""

    formatter_namespace = 'nested_agent.cli.run'

    def shown(self, run: Run) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return the columns: the run's keys."""
        plain = to_plain(run)
        assert isinstance(plain, dict)  # noqa: S101  # for the type checker
        return tuple(plain), tuple(plain.values())
