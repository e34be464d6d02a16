"""This node, put together from our configuration: what the daemon and the commands share."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nested_agent.conf import policy, remediation
from nested_agent.drivers import loader
from nested_agent.exceptions import ProofFormatError
from nested_agent.model import Remediation, Report
from nested_agent.node.observe import Last, Sources, observe
from nested_agent.node.root import Root
from nested_agent.proof import result
from nested_agent.proof.result import Proof
from nested_agent.remediation.chronicle import Onlooker
from nested_agent.remediation.remediator import Remediator
from nested_agent.report import Judged, judge
from nested_agent.reporting import state_file

LOG = logging.getLogger(__name__)


class Local:
    """The node this process runs on.

    :param conf: our configuration, loaded; its options are read anew at every use
    :param alive: called at least every few seconds of a remediation
    :param onlooker: told of remediations as they happen
    """

    def __init__(
        self,
        conf: Any,
        root: Root | None = None,
        *,
        alive: Callable[[], object] = lambda: None,
        onlooker: Onlooker | None = None,
    ) -> None:
        self._conf = conf
        self.root = root or Root()
        self.state_dir = Path(conf.agent.state_dir)
        #: The report that ``since``, what nova-compute runs with and, while nova-compute's is not
        #: known, the host are carried on from.
        self.previous: Report | None = None
        self.remediator = Remediator(
            self.root,
            self.state_dir,
            lambda: remediation.options(conf),
            self._look,
            alive=alive,
            onlooker=onlooker,
        )

    def look(self) -> Judged:
        """Observe the node, verify it and plan; nothing is changed."""
        return self._look(self.remediator.status())

    def _look(self, status: Remediation) -> Judged:
        conf = self._conf
        sources = Sources(conf.host, conf.nova.config_file, conf.nova.config_dir)
        last = Last(self.previous.host, self.previous.boot_id) if self.previous else None
        observation, driver = observe(self.root, loader.load(), sources, last)
        wanted = policy.policy(conf)
        return judge(observation, driver, wanted, self.previous, status, self._proof())

    def _proof(self) -> Proof | None:
        try:
            return result.read(self.state_dir)
        except ProofFormatError as error:
            LOG.warning('what was proved is not known: %s', error)
            return None

    def watched(self) -> set[str]:
        """Return the files by which other processes tell what they decided, did or found out."""
        return {*self.remediator.watched(), str(self.state_dir / result.NAME)}

    def last_report(self) -> Report | None:
        """Return the last report the daemon stored, None if there is none.

        :raises ReportFormatError: it cannot be read or understood
        """
        stored = state_file.read(self.state_dir)
        return stored.report if stored else None
