"""Action: one step of a plan."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, Self

from nested_agent.model.plain import optional


class ActionKind(enum.StrEnum):
    """The closed set of what can be done about a node."""

    WRITE_MODPROBE_DROPIN = 'write-modprobe-dropin'
    LOAD_MODULE = 'load-module'
    RELOAD_MODULE = 'reload-module'
    SET_NOVA_OPTION = 'set-nova-option'
    REMOVE_NOVA_OPTION = 'remove-nova-option'
    RESTART_NOVA_COMPUTE = 'restart-nova-compute'
    UNLOAD_MODULE = 'unload-module'  # revert alone: it was not loaded before the agent came
    RESTORE_FILE = 'restore-file'  # revert alone
    BY_HAND = 'by-hand'  # never done by the agent: firmware, boot loader, another's file


class Disruption(enum.StrEnum):
    """What running guests and their owners notice of an action."""

    NONE = 'none'
    NOVA_COMPUTE_RESTART = 'nova-compute-restart'  # requests for this node wait some seconds
    KVM_RELOAD = 'kvm-reload'  # no guest may run; none can start meanwhile
    REBOOT = 'reboot'


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan.

    :ivar target: the file, module, unit or ``FILE group.option`` that changes
    :ivar before: value now; None where there is none
    :ivar after: value afterwards; None where it is removed
    :ivar now: False where it waits for an idle moment, or for a reboot
    """

    kind: ActionKind
    target: str
    before: str | None
    after: str | None
    why: str
    disruption: Disruption
    now: bool = True

    @property
    def executable(self) -> bool:
        """Whether the agent itself could do it now, as far as is known."""
        return self.now and self.kind is not ActionKind.BY_HAND

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the action that :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(
            ActionKind(data['kind']),
            str(data['target']),
            optional(str, data['before']),
            optional(str, data['after']),
            str(data['why']),
            Disruption(data['disruption']),
            bool(data.get('now', True)),
        )
