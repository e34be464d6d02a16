"""Condition and State: what is judged, and what a node comes to."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, Self

from nested_agent.model.plain import optional


class Status(enum.StrEnum):
    """Whether a condition is as the policy wants."""

    TRUE = 'True'
    FALSE = 'False'
    UNKNOWN = 'Unknown'


class State(enum.StrEnum):
    """What a node comes to, from its conditions."""

    COMPLIANT = 'compliant'
    DRIFTED = 'drifted'  # can be fixed now
    PENDING = 'pending'  # fixed on disk, waits for a reload or reboot
    BLOCKED = 'blocked'  # a person must act
    UNSUPPORTED = 'unsupported'
    UNKNOWN = 'unknown'


class ConditionType(enum.StrEnum):
    """What is judged, in the order it is shown."""

    CPU_SUPPORTED = 'CPUSupported'
    KERNEL_SUPPORTED = 'KernelSupported'
    KVM_USABLE = 'KVMUsable'
    NESTED_RUNTIME = 'NestedRuntime'
    NESTED_PROVED = 'NestedProved'  # only where a proof applies
    NESTED_PERSISTENT = 'NestedPersistent'
    GUEST_CPU = 'GuestCPU'
    VIRT_TYPE = 'VirtType'
    NOVA_CONFIG_CURRENT = 'NovaConfigCurrent'
    REMEDIABLE = 'Remediable'  # the agent could mend what differs; not judged in a captured tree


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """One judgement, as in Kubernetes.

    :ivar reason: one CamelCase word for machines
    :ivar message: one sentence for people; names the file, line or value, and what to do
    :ivar observed: the value the judgement rests on, None where there is none
    :ivar since: seconds since the epoch of the last change of ``status``; None if not known
    """

    type: ConditionType
    status: Status
    reason: str
    message: str
    observed: str | None = None
    since: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the condition that :func:`to_plain` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        return cls(
            ConditionType(data['type']),
            Status(data['status']),
            str(data['reason']),
            str(data['message']),
            optional(str, data['observed']),
            optional(float, data['since']),
        )
