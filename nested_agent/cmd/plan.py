"""``nested-agentctl plan``: what would be done about a node."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from nested_agent.cmd import action_rows, command, exit_codes, remote
from nested_agent.cmd.help_text import OF_STATE, epilog
from nested_agent.cmd.this_node import this_node
from nested_agent.model import Report, State
from nested_agent.rpc import api

EXAMPLES = """\
nested-agentctl plan                         this node
nested-agentctl plan compute-7 -f json       another, by RPC
"""


class Plan(command.Answering, remote.Remote, command.ListCommand):
    """Show what would be done about a node, in order, and why; nothing is changed.

    The node is verified now. WHEN is "now", "idle" (something uses KVM, or nova-compute would not
    come back), "reboot" or "by hand" (what the agent never does). "remediate" does what is "now".
    """

    help_below = epilog(EXAMPLES, OF_STATE)

    timeout = api.VERIFY_SECONDS
    _report: Report | None = None

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``."""
        parser = super().get_parser(prog_name)
        remote.add_host(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return a row for each action; people who choose no columns are shown the gist."""
        self._report = report = self._verified(parsed_args)
        self.code = exit_codes.OF_STATE[report.state]
        if report.plan and parsed_args.formatter == 'table' and not parsed_args.columns:
            gists = [action_rows.gist(each) for each in report.plan]
            return tuple(gists[0]), [tuple(each.values()) for each in gists]
        return action_rows.COLUMNS, [action_rows.row(each) for each in report.plan]

    def _verified(self, parsed_args: argparse.Namespace) -> Report:
        if parsed_args.host is None:
            return this_node(self.application).look().report
        with self.client() as client:
            return client.verify(parsed_args.host, parsed_args.timeout)

    def nothing(self) -> str:
        """Return the state that needs nothing, or that nothing can be done about."""
        report = self._report
        assert report is not None  # noqa: S101  # for the type checker
        if report.state is State.COMPLIANT:
            return f'{report.host}: {report.state}; nothing to do'
        return f'{report.host}: {report.state}; nothing can be done, "check" tells why'
