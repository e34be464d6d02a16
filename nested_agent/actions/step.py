"""The contract of a step: one reversible change of the node, in one page.

The runner calls, in this order: ``precheck`` of every step of the run before the first ``apply``;
then, step by step, ``record`` (written to the journal, synced to disk), ``apply``, ``verify``. If
anything raises, ``undo`` of every step begun so far, the last first. At the good end, ``forget``.

``undo`` and ``forget`` are called with what the journal holds and nothing else: the process may
have been killed, or the node lost its power, at any point since ``record``. So they find out for
themselves how far ``apply`` came, and may be called again after they were interrupted themselves.
"""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from nested_agent.actions.site import Site
from nested_agent.model import Action

#: What undo needs to know; plain values only.
Undo = Mapping[str, Any]


class Step(abc.ABC):
    """One change.

    :cvar name: how the journal calls this kind of step; never changes its meaning
    :param actions: what of the plan it carries out; none for what only serves other steps
    """

    name: ClassVar[str]

    def __init__(self, site: Site, actions: tuple[Action, ...]) -> None:
        self.site = site
        self.actions = actions

    @abc.abstractmethod
    def precheck(self) -> None:
        """Find out what can be found out beforehand; changes nothing.

        :raises BusyError: not now
        :raises StepError: it cannot be done
        """

    @abc.abstractmethod
    def record(self) -> Undo:
        """Return what undoing it takes; changes nothing.

        :raises BusyError: not any more, or not yet
        :raises StepError: the node is not any more as it was at the precheck
        """

    @abc.abstractmethod
    def apply(self) -> None:
        """Make the change.

        :raises BusyError: not now; nothing was changed
        :raises StepError, OSError: it failed, perhaps half way
        """

    @abc.abstractmethod
    def verify(self) -> str:
        """Return what is so now, observed again, as one sentence without a full stop.

        :raises StepError: it is not as it should be
        """

    @classmethod
    @abc.abstractmethod
    def undo(cls, site: Site, record: Undo, *, rebooted: bool) -> str:
        """Bring back what the record tells, and return what was done as one clause.

        :param rebooted: the node was booted since ``record``
        :raises StepError, OSError: it could not be undone; says what is left to do by hand
        """

    @classmethod  # noqa: B027  # most leave nothing
    def forget(cls, site: Site, record: Undo) -> None:
        """The change stays: remember it for a later revert, remove what only undo needed.

        :raises StepError, OSError: it could not be written down
        """
