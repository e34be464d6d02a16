"""``nested-agentctl ping``: whether the agent of another node answers."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from nested_agent.cmd import remote
from nested_agent.cmd.help_text import OF_DONE, epilog

EXAMPLES = """\
nested-agentctl ping compute-7
"""


class Ping(remote.RemoteCommand):
    """Ask the agent of HOST whether it is there, by RPC; say its release and interface version."""

    help_below = epilog(EXAMPLES, OF_DONE)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``."""
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='HOST', type=remote.host, help='name of the node')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return who answered."""
        with self.client() as client:
            pong = client.ping(parsed_args.host, parsed_args.timeout)
        return ('host', 'version', 'api'), (pong.host, pong.version, pong.api)
