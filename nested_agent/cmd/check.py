"""``nested-agentctl check``: verify this node, here and now, without any daemon."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from nested_agent.cmd import command, exit_codes
from nested_agent.conf import policy
from nested_agent.drivers import loader
from nested_agent.exceptions import ReportFormatError, UsageError
from nested_agent.model import Report, State
from nested_agent.node.observe import Sources
from nested_agent.node.root import Root
from nested_agent.report import make_report
from nested_agent.reporting import state_file


class Check(command.Command):
    """Verify this node and say what would be done about it; nothing is changed.

    Needs no broker, no daemon and no root; what only root can read is reported as Unknown.
    """

    formatter_namespace = 'nested_agent.cli.report'
    _state = State.UNKNOWN

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
        # Not resolved: a link to / is still somebody else's tree, not this host.
        root = Root(Path(parsed_args.root).absolute())
        report = make_report(
            root,
            loader.load(),
            self._sources(conf, root),
            policy.policy(conf),
            self._previous(root, Path(conf.agent.state_dir)),
        )
        self._state = report.state
        plain = report.to_dict()
        return tuple(plain), tuple(plain.values())

    def _sources(self, conf: cfg.ConfigOpts, root: Root) -> Sources:
        # Our configuration is about this host.
        if not root.live:
            return Sources()
        return Sources(conf.host, conf.nova.config_file, conf.nova.config_dir)

    def _previous(self, root: Root, state_dir: Path) -> Report | None:
        if not root.live:
            return None
        try:
            stored = state_file.read(state_dir)
        except ReportFormatError as error:
            self.app.LOG.warning('since when is not known: %s', error)
            return None
        return stored.report if stored else None

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Return the exit code of the state found."""
        try:
            super().run(parsed_args)
            self.app.stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough; the state is still the answer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OF_STATE[self._state]
