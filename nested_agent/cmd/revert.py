"""``nested-agentctl revert``: undo everything the agent ever changed on this node."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from nested_agent.cmd import exit_codes
from nested_agent.cmd.help_text import OF_REVERT, epilog
from nested_agent.cmd.run_command import RunCommand
from nested_agent.cmd.this_node import need_root, this_node, who
from nested_agent.cmd.uninterrupted import uninterrupted
from nested_agent.exceptions import UsageError

QUESTION = (
    'Everything the agent ever changed on this node will be undone, nova-compute may be\n'
    'restarted, and fixes are paused until "nested-agentctl resume". Go on? [y/N] '
)


EXAMPLES = """\
sudo nested-agentctl revert                  asks first
sudo nested-agentctl revert --yes            before the agent is removed, for scripts
"""


class Revert(RunCommand):
    """Undo everything the agent ever changed on this node, and pause fixes until "resume".

    It goes by the agent's own record: files get back the bytes they had. From one that somebody
    else changed since, only the agent's own options are taken back. Takes root, and asks first.
    Ctrl-C does not interrupt it: what was begun is finished or undone.
    """

    help_below = epilog(EXAMPLES, OF_REVERT)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``--yes``."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the run, one column per key."""
        need_root('undoing what was changed on this node')
        remediator = this_node(self.application).remediator
        if not parsed_args.yes:
            _ask()
        with uninterrupted():
            run = remediator.revert(who())
        self.app.LOG.warning('fixes are paused until "nested-agentctl resume"')
        found = {run.result, *(each.result for each in run.outcomes)}
        self.code = max(exit_codes.OF_REVERT[each] for each in found)
        return self.shown(run)


def _ask() -> None:
    """Return if a person agrees.

    :raises UsageError: they do not, or cannot be asked
    """
    if not sys.stdin.isatty():
        raise UsageError('nobody can be asked whether to go on: say --yes')
    sys.stderr.write(QUESTION)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ('y', 'yes'):
        raise UsageError('nothing was undone')
