"""``nested-agentctl resume``: have a node's fixes made again."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from nested_agent.cmd import remote
from nested_agent.cmd.help_text import OF_DONE, epilog
from nested_agent.cmd.this_node import need_root, this_node, who

EXAMPLES = """\
sudo nested-agentctl resume
nested-agentctl resume compute-7
"""


class Resume(remote.RemoteCommand):
    """End a pause, and have fixes tried again that were given up or that others changed back.

    [remediation] mode then decides again what the agent does by itself. Takes root on this node,
    but no permission on another.
    """

    help_below = epilog(EXAMPLES, OF_DONE)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``."""
        parser = super().get_parser(prog_name)
        remote.add_host(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return who resumed."""
        name = who()
        if parsed_args.host is None:
            need_root('resuming fixes of this node')
            this_node(self.application).remediator.resume(name)
        else:
            with self.client() as client:
                client.resume(parsed_args.host, parsed_args.timeout, name)
        return ('resumed', 'who'), (True, name)
