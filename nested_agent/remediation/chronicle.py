"""Where runs are told as they happen: in the log, in the history, and to an onlooker."""

import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from nested_agent.exceptions import RecordError
from nested_agent.model import Result, Run
from nested_agent.remediation.history import History
from nested_agent.remediation.journal import Header

LOG = logging.getLogger(__name__)


class Onlooker(Protocol):
    """Is told of runs as they happen; what it does with that holds up the run."""

    def begun(self, run: Header) -> None:
        """Hear that the node is about to be changed."""

    def ended(self, run: Run) -> None:
        """Hear what came of a run, also of one that was refused, or put right another."""


class Chronicle:
    """Tells runs. Nobody who is told has a say in what becomes of the node: nothing is raised."""

    def __init__(self, history: History, onlooker: Onlooker | None) -> None:
        self._history = history
        self._onlooker = onlooker

    def begun(self, run: Header) -> None:
        """Tell that the node is about to be changed."""
        LOG.info('run %s (%s): begun', run.id, run.trigger)
        self._announce(lambda onlooker: onlooker.begun(run))

    def ended(self, run: Run) -> None:
        """Tell what came of a run."""
        LOG.info('run %s (%s): %s: %s', run.id, run.trigger, run.result, run.message)
        try:
            self._history.add(run)
        except RecordError as error:
            # By a user who may only look, or on a full disk: the run was what it was.
            LOG.warning('%s', error)
        self._announce(lambda onlooker: onlooker.ended(run))

    def tells(self, recovery: Run) -> bool:
        """Whether the history holds all that a recovery did: nothing more than before."""
        with contextlib.suppress(RecordError):
            for known in self._history.runs():
                if known.id == recovery.about and recovery.result is Result.APPLIED:
                    return True
                if (known.about, known.message) == (recovery.about, recovery.message):
                    return True
        return False

    def _announce(self, what: Callable[[Onlooker], object]) -> None:
        if self._onlooker is None:
            return
        try:
            what(self._onlooker)
        except Exception:  # whatever is wrong with it is no matter of the run
            LOG.exception('a run could not be told')
