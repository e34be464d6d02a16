"""What the judges share: a condition, and who can do something about it."""

import dataclasses
import enum
from collections.abc import Mapping

from nested_agent.drivers.base import Driver
from nested_agent.facts import Module, Observation, Unread
from nested_agent.model import Condition, ConditionType, Status

ON_OFF: Mapping[bool | None, str | None] = {True: 'on', False: 'off', None: None}


class Remedy(enum.Enum):
    """What it takes to make a condition True; the node's State follows from these."""

    NONE = 'none'  # it is True, or nothing is known that could be done
    FIX = 'fix'  # the agent can, now
    WAIT = 'wait'  # it comes by itself: an idle moment or the next reboot
    PERSON = 'person'
    IMPOSSIBLE = 'impossible'  # this machine cannot


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """A condition and its remedy."""

    condition: Condition
    remedy: Remedy


def true(type_: ConditionType, reason: str, message: str, observed: str | None = None) -> Judgement:
    """Return: it is as the policy wants."""
    return Judgement(Condition(type_, Status.TRUE, reason, message, observed), Remedy.NONE)


def false(
    type_: ConditionType,
    reason: str,
    message: str,
    remedy: Remedy,
    observed: str | None = None,
) -> Judgement:
    """Return: it is not as the policy wants, and this is what it takes."""
    return Judgement(Condition(type_, Status.FALSE, reason, message, observed), remedy)


def unknown(
    type_: ConditionType,
    reason: str,
    message: str,
    observed: str | None = None,
    remedy: Remedy = Remedy.NONE,
) -> Judgement:
    """Return: it was not, or could not be, measured."""
    return Judgement(Condition(type_, Status.UNKNOWN, reason, message, observed), remedy)


def unread(type_: ConditionType, fact: Unread) -> Judgement:
    """Return: the fact it rests on could not be read."""
    hint = '; run as root to know' if fact.error in ('EACCES', 'EPERM') else ''
    return unknown(type_, 'Unreadable', f'{fact.source}: {fact.detail} ({fact.error}){hint}')


def vendor_module(observation: Observation, driver: Driver | None) -> Module | None:
    """Return the driver's own module, if it is present."""
    if driver is None or isinstance(observation.modules, Unread):
        return None
    return observation.modules.get(driver.module)


def other_accelerators(observation: Observation, driver: Driver | None) -> list[str]:
    """Return the kvm vendor modules present that are not the driver's."""
    if isinstance(observation.modules, Unread):
        return []
    ours = driver.module if driver else None
    return [name for name in observation.modules if name not in ('kvm', ours)]


def offers(observation: Observation, driver: Driver) -> bool | None:
    """Return whether KVM offers guests the driver's flag; None if it could not be asked."""
    if isinstance(observation.kvm, Unread):
        return None
    leaf = observation.kvm.cpuid.get(driver.feature.leaf)
    if leaf is None:
        return False  # KVM lists every leaf it supports
    return bool(getattr(leaf, driver.feature.register) >> driver.feature.bit & 1)


def hindrance(observation: Observation) -> tuple[Remedy, str] | None:
    """Return what keeps any module from being loaded or unloaded now, and what it takes."""
    others = observation.hypervisors
    if isinstance(others, tuple) and others:
        # From Linux 6.12 on KVM does not even load while another one has the processor.
        return Remedy.PERSON, f'{", ".join(others)} of another hypervisor is loaded: unload it'
    disabled = observation.kernel.modules_disabled
    if isinstance(disabled, Unread):
        return Remedy.NONE, f'whether modules can be loaded is not known ({disabled})'
    if disabled:
        return Remedy.WAIT, 'kernel.modules_disabled=1: only a reboot changes it'
    return None
