"""``nested-agentctl prove``: have a guest run a guest, once, and tell what came of it."""

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nested_agent.cmd import command, exit_codes
from nested_agent.cmd.help_text import OF_PROOF, epilog
from nested_agent.drivers import loader
from nested_agent.node.root import Root
from nested_agent.proof import prove, result
from nested_agent.proof.finding import Finding, Outcome
from nested_agent.proof.result import Proof

EXAMPLES = """\
sudo nested-agentctl prove
sudo nested-agentctl prove -f value -c outcome
"""


class Prove(command.Command):
    """Start a tiny guest that runs a guest of its own, on this node, and tell what came of it.

    It has a few pages of memory, no device, and ends within milliseconds. Running guests do not
    notice; no module is loaded. "check" shows the result as NestedProved until the module is
    reloaded.
    """

    help_below = epilog(EXAMPLES, OF_PROOF)

    _outcome = Outcome.NOT_TRIED

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """Return the proof, one column per key."""
        conf = self.application.configuration()
        if conf.prove.enabled:
            limits = prove.Limits(conf.prove.timeout, conf.prove.lock_timeout)
            proof = prove.prove(Root(), loader.load(), Path(conf.agent.state_dir), limits)
        else:
            finding = Finding(
                Outcome.NOT_TRIED, 'SwitchedOff', '[prove] enabled is off on this node'
            )
            proof = Proof(finding, time.time(), None, None, None)
        self._outcome = proof.finding.outcome
        if proof.lasting:
            self._keep(Path(conf.agent.state_dir), proof)
        elif self._outcome is not Outcome.NOT_TRIED:
            self.app.LOG.warning('the result is not kept: this load of the module has no identity')
        plain = proof.to_dict()
        return tuple(plain), tuple(plain.values())

    def _keep(self, state_dir: Path, proof: Proof) -> None:
        try:
            result.keep(state_dir, proof)
        except OSError as error:
            file = state_dir / result.NAME
            self.app.LOG.warning('the result is not kept: %s: %s', file, error.strerror)

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Return the exit code of the outcome."""
        super().run(parsed_args)
        return exit_codes.OF_OUTCOME[self._outcome]
