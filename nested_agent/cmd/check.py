"""``nested-agentctl check``: verify this node, here and now, without any daemon."""

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cliff import show

from nested_agent.cmd import exit_codes
from nested_agent.cmd.agentctl import AgentCtl
from nested_agent.conf import policy
from nested_agent.drivers import loader
from nested_agent.exceptions import ReportFormatError, UsageError
from nested_agent.model import Report, State
from nested_agent.node.observe import Sources
from nested_agent.node.root import Root
from nested_agent.report import make_report
from nested_agent.reporting import state_file


class Check(show.ShowOne):
    """Verify this node and say what would be done about it; nothing is changed.

    Needs no broker, no daemon and no root; what only root can read is reported as Unknown.
    """

    formatter_namespace = 'nested_agent.cli.report'
    _state = State.UNKNOWN

    @property
    def application(self) -> AgentCtl:
        """The application this command runs in."""
        assert isinstance(self.app, AgentCtl)  # noqa: S101  # for the type checker
        return self.app

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
        conf = self.application.configuration()
        if not Path(parsed_args.root).is_dir():
            raise UsageError(f'--root {parsed_args.root}: no such directory')
        root = Root(os.path.realpath(parsed_args.root))
        report = make_report(
            root,
            loader.load(),
            Sources(conf.host if root.live else None, conf.nova.config_file, conf.nova.config_dir),
            policy.policy(conf),
            self._previous(root, Path(conf.agent.state_dir)),
        )
        self._state = report.state
        plain = report.to_dict()
        return tuple(plain), tuple(plain.values())

    def _previous(self, root: Root, state_dir: Path) -> Report | None:
        if not root.live:
            return None
        try:
            return state_file.read(state_dir)
        except ReportFormatError as error:
            self.app.LOG.warning('since when is not known: %s', error)
            return None

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

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Return the exit code of the state found."""
        super().run(parsed_args)
        return exit_codes.OF_STATE[self._state]
