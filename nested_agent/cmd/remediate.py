"""``nested-agentctl remediate``: fix a node now."""

import argparse
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from nested_agent.cmd import exit_codes, remote
from nested_agent.cmd.help_text import OF_STATE, epilog
from nested_agent.cmd.run_command import RunCommand
from nested_agent.cmd.this_node import need_root, this_node, who
from nested_agent.cmd.uninterrupted import uninterrupted
from nested_agent.model import Pause, Run, Trigger
from nested_agent.rpc import api

EXAMPLES = """\
sudo nested-agentctl remediate --noop        what would be done, and what stands in its way
sudo nested-agentctl remediate               do it
nested-agentctl remediate compute-7          there, where [remediation] allow_remote is set
"""


class Remediate(remote.Remote, RunCommand):
    """Fix what differs from the policy, as "plan" shows it, and show what came of it.

    Takes root; on another node [remediation] allow_remote there. Running guests are left alone:
    where KVM is in use its module waits. nova-compute may be restarted. What fails is undone.
    [remediation] mode does not matter, and a pause only to others than root on the node itself.
    Ctrl-C does not interrupt it: what was begun is finished or undone; another node goes on
    without anybody waiting.
    """

    help_below = epilog(EXAMPLES, OF_STATE)

    timeout = api.REMEDIATE_SECONDS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST`` and ``--noop``."""
        parser = super().get_parser(prog_name)
        remote.add_host(parser)
        parser.add_argument(
            '--noop',
            action='store_true',
            help='change nothing, only find out what would be done and what stands in its way; '
            'takes no root and no permission',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the run, one column per key."""
        noop = parsed_args.noop
        run = self._here(noop) if parsed_args.host is None else self._there(parsed_args)
        self.code = exit_codes.OF_STATE[run.state_after]
        return self.shown(run)

    def _here(self, noop: bool) -> Run:
        if not noop:
            need_root('fixing this node')
        remediator = this_node(self.application).remediator
        self._tell(remediator.status().pause)
        with contextlib.nullcontext() if noop else uninterrupted():
            return remediator.remediate(Trigger.COMMAND, who(), noop=noop)

    def _tell(self, pause: Pause | None) -> None:
        if pause:
            self.app.LOG.warning('fixes are paused; this one was asked for')

    def _there(self, parsed_args: argparse.Namespace) -> Run:
        host, deadline = parsed_args.host, parsed_args.timeout
        with self.client() as client:
            try:
                return client.remediate(host, deadline, noop=parsed_args.noop, who=who())
            except KeyboardInterrupt:
                self.app.LOG.warning('%s goes on; "nested-agentctl history %s" tells', host, host)
                raise
