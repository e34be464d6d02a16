"""``nested-agentctl pause``: have a node left as it is for a while."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from nested_agent.cmd import remote
from nested_agent.cmd.duration import duration
from nested_agent.cmd.help_text import OF_DONE, epilog
from nested_agent.cmd.tables import Moment
from nested_agent.cmd.this_node import need_root, this_node, who
from nested_agent.model import Pause as Paused
from nested_agent.rpc import api


def reason(text: str) -> str:
    """Return a line that says why."""
    if not text.strip() or len(text) > api.REASON_LENGTH or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f'a line of 1 to {api.REASON_LENGTH} printable characters is expected'
        )
    return text


EXAMPLES = """\
sudo nested-agentctl pause --for 2h --reason "new disk"
nested-agentctl pause compute-7 --for forever --reason "see ticket 4711"
"""


class Pause(remote.RemoteCommand):
    """Have the agent make no fixes by itself for a while, as during maintenance.

    It goes on verifying and reporting. The pause survives restarts and reboots, and ends by itself
    or with "resume"; another one takes its place. Root on the node itself can "remediate" all the
    same. Takes root on this node, but no permission on another.
    """

    help_below = epilog(EXAMPLES, OF_DONE)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``, ``--for`` and ``--reason``."""
        parser = super().get_parser(prog_name)
        remote.add_host(parser)
        parser.add_argument(
            '--for',
            dest='seconds',
            metavar='DURATION',
            type=duration,
            required=True,
            help='for how long: 90s, 30m, 2h, 1h30m, 1d, or forever (until "resume")',
        )
        parser.add_argument(
            '--reason',
            metavar='TEXT',
            type=reason,
            required=True,
            help='why, for whoever looks at the node meanwhile; reports show it',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the pause, one column per key."""
        pause = self._paused(parsed_args)
        return ('since', 'until', 'reason', 'who'), (
            Moment(pause.since),
            Moment(pause.until, 'resume'),
            pause.reason,
            pause.who,
        )

    def _paused(self, parsed_args: argparse.Namespace) -> Paused:
        host, seconds, why = parsed_args.host, parsed_args.seconds, parsed_args.reason
        if host is None:
            need_root('pausing fixes of this node')
            return this_node(self.application).remediator.pause(seconds, why, who())
        with self.client() as client:
            return client.pause(host, parsed_args.timeout, seconds, why, who())
