"""``nested-agentctl verify``: have another node verified now."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from nested_agent.cmd import remote
from nested_agent.cmd.help_text import OF_STATE, epilog

EXAMPLES = """\
nested-agentctl verify compute-7             after something was changed there
"""


class Verify(remote.ReportCommand):
    """Have the agent of HOST verify its node now, by RPC, and show the report."""

    help_below = epilog(EXAMPLES, OF_STATE)

    timeout = 60.0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``."""
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='HOST', type=remote.host, help='name of the node')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the report, one column per key."""
        with self.client() as client:
            return self.shown(client.verify(parsed_args.host, parsed_args.timeout))
