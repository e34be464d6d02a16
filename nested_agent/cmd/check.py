"""``nested-agentctl check``: verify this node, here and now, without any daemon."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nested_agent.cmd import command, exit_codes
from nested_agent.cmd.help_text import OF_STATE, epilog
from nested_agent.cmd.this_node import this_node
from nested_agent.conf import policy
from nested_agent.drivers import loader
from nested_agent.exceptions import UsageError
from nested_agent.model import Report
from nested_agent.node.observe import Sources
from nested_agent.node.root import Root
from nested_agent.report import make_report

EXAMPLES = """\
nested-agentctl check                        this node, as root for all of it
nested-agentctl check -f value -c state      one word, for scripts
nested-agentctl check -f json                with all the facts it rests on
nested-agentctl check --root sosreport-node1/
"""


class Check(command.Answering, command.Command):
    """Verify this node and say what would be done about it; nothing is changed.

    Needs no broker, no daemon and no root; what only root can read is reported as Unknown.
    """

    help_below = epilog(EXAMPLES, OF_STATE)

    formatter_namespace = 'nested_agent.cli.report'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``--root``."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--root',
            metavar='DIR',
            default='/',
            help='read a captured tree, such as an unpacked sosreport, instead of this host; '
            'what only a running node can tell is Unknown',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the report, one column per key."""
        if not Path(parsed_args.root).is_dir():
            raise UsageError(f'--root {parsed_args.root}: no such directory')
        # Not resolved: a link to / is still somebody else's tree, not this host.
        root = Root(Path(parsed_args.root).absolute())
        report = this_node(self.application).look().report if root.live else self._tree(root)
        self.code = exit_codes.OF_STATE[report.state]
        plain = report.to_dict()
        return tuple(plain), tuple(plain.values())

    def _tree(self, root: Root) -> Report:
        # Of our configuration only the policy is about any node but this.
        wanted = policy.policy(self.application.configuration())
        return make_report(root, loader.load(), Sources(), wanted)
