"""``nested-agentctl status``: the last report, of this node or of another."""

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nested_agent.cmd import remote
from nested_agent.cmd.help_text import OF_STATE, epilog
from nested_agent.exceptions import NoReportError
from nested_agent.node import kernel
from nested_agent.node.root import Root
from nested_agent.reporting import state_file
from nested_agent.reporting.state_file import Stored

EXAMPLES = """\
nested-agentctl status                       this node, from the file of its daemon
nested-agentctl status compute-7             another, by RPC
nested-agentctl status -f value -c state
"""


class Status(remote.ReportCommand):
    """Show the last report of this node's agent, or by RPC that of the agent of HOST.

    Nothing is verified: see "check" and "verify". The column "stale" says why a report no longer
    tells about the present; the exit code then is that of an unknown state.
    """

    help_below = epilog(EXAMPLES, OF_STATE)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``HOST``."""
        parser = super().get_parser(prog_name)
        remote.add_host(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the report, one column per key."""
        if parsed_args.host is None:
            return self._local()
        with self.client() as client:
            status = client.get_status(parsed_args.host, parsed_args.timeout)
        report = status.report
        # The age is by the clock of that node: ours does not matter.
        stale = Stored(report, status.interval).stale(report.time + status.age, None)
        return self.shown(report, stale)

    def _local(self) -> tuple[Sequence[str], Iterable[Any]]:
        conf = self.application.configuration()
        stored = state_file.read(Path(conf.agent.state_dir))
        if stored is None:
            raise NoReportError('no report yet: is nested-agent running?')
        boot_id = kernel.boot_id(Root())
        present = boot_id if isinstance(boot_id, str) else None
        return self.shown(stored.report, stored.stale(time.time(), present))
