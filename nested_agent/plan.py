"""Verdict to Plan: the ordered actions that would make a node compliant. Pure.

Enabling: modprobe drop-in, module, and nova.conf only once nothing stands in the module's way.
Disabling: the reverse. At most one restart of nova-compute, last.
"""

from collections.abc import Iterator

from nested_agent.drivers.base import Driver
from nested_agent.facts import (
    Location,
    ModuleState,
    NextLoad,
    NovaCompute,
    Observation,
    Setting,
    Unread,
)
from nested_agent.guest_cpu import mended
from nested_agent.model import Action, ActionKind, Condition, ConditionType, Disruption, State
from nested_agent.policy import Policy
from nested_agent.verify import nova as nova_options
from nested_agent.verify.judgement import Remedy, vendor_module
from nested_agent.verify.persistent import DROPIN
from nested_agent.verify.verdict import Verdict

MACHINE = (
    ConditionType.CPU_SUPPORTED,
    ConditionType.KERNEL_SUPPORTED,
    ConditionType.KVM_USABLE,
    ConditionType.NESTED_PERSISTENT,
    ConditionType.NESTED_RUNTIME,
)
NOVA = (ConditionType.VIRT_TYPE, ConditionType.GUEST_CPU)


def plan(
    observation: Observation, policy: Policy, driver: Driver | None, verdict: Verdict
) -> tuple[Action, ...]:
    """Return what would be done, in order; empty when nothing is to do or nothing can be."""
    if driver is None or verdict.state in (State.COMPLIANT, State.UNSUPPORTED):
        return ()
    stuck = [type_ for type_ in MACHINE if verdict[type_].remedy is Remedy.PERSON]
    if ConditionType.NESTED_PERSISTENT in stuck and ConditionType.NESTED_RUNTIME in stuck:
        stuck.remove(ConditionType.NESTED_RUNTIME)  # mended by the same hand
    by_hand = [_by_hand(verdict[type_].condition) for type_ in stuck]
    if by_hand:
        # nova.conf would promise guests what the module cannot give; disabling it is harmless.
        nova = () if policy.wanted else tuple(_nova(observation, policy, driver, verdict))
        return (*nova, *by_hand)
    module = tuple(_module(observation, policy, driver, verdict))
    nova = tuple(_nova(observation, policy, driver, verdict))
    return module + nova if policy.wanted else nova + module


def _by_hand(condition: Condition) -> Action:
    return Action(
        ActionKind.BY_HAND,
        condition.type,
        condition.observed,
        None,
        condition.message,
        Disruption.NONE,
    )


def _module(
    observation: Observation, policy: Policy, driver: Driver, verdict: Verdict
) -> Iterator[Action]:
    persistent = verdict[ConditionType.NESTED_PERSISTENT]
    runtime = verdict[ConditionType.NESTED_RUNTIME]
    if persistent.remedy is Remedy.FIX:
        yield Action(
            ActionKind.WRITE_MODPROBE_DROPIN,
            DROPIN,
            _dropin_now(observation),
            driver.option_line(policy.wanted),
            persistent.condition.message,
            Disruption.NONE,
        )
    module = vendor_module(observation, driver)
    if runtime.remedy not in (Remedy.FIX, Remedy.WAIT):
        return
    if module is None:
        yield Action(
            ActionKind.LOAD_MODULE,
            driver.module,
            None,
            driver.option(policy.wanted),
            runtime.condition.message,
            Disruption.NONE,
        )
    elif module.state is ModuleState.BUILTIN:
        yield Action(
            ActionKind.BY_HAND,
            'reboot',
            None,
            driver.kernel_argument(policy.wanted),
            runtime.condition.message,
            Disruption.REBOOT,
        )
    else:
        yield Action(
            ActionKind.RELOAD_MODULE,
            driver.module,
            f'nested={module.parameters.get("nested")}',
            driver.option(policy.wanted),
            runtime.condition.message,
            Disruption.KVM_RELOAD,
        )


def _dropin_now(observation: Observation) -> str | None:
    load = observation.next_load
    if not isinstance(load, NextLoad):
        return None
    lines = [
        f'{line.kind} {line.module} {line.text}' for line in load.lines if line.where.file == DROPIN
    ]
    return '\n'.join(lines) or None


def _nova(
    observation: Observation, policy: Policy, driver: Driver, verdict: Verdict
) -> Iterator[Action]:
    yield from (
        _by_hand(verdict[type_].condition)
        for type_ in NOVA
        if verdict[type_].remedy is Remedy.PERSON
    )
    nova = observation.nova
    if not isinstance(nova, NovaCompute) or isinstance(nova.settings, Unread):
        return
    options = _Options(nova)
    if verdict[ConditionType.VIRT_TYPE].remedy is Remedy.FIX:
        why = verdict[ConditionType.VIRT_TYPE].condition.message
        yield options.set(nova_options.VIRT_TYPE, 'kvm', why)
    if verdict[ConditionType.GUEST_CPU].remedy is Remedy.FIX:
        yield from _guest_cpu(options, policy, driver, verdict)
    if options.changed and nova.process:
        yield Action(
            ActionKind.RESTART_NOVA_COMPUTE,
            nova.process.unit or f'pid {nova.process.pid}',
            None,
            None,
            'nova-compute reads these options only when it starts',
            Disruption.NOVA_COMPUTE_RESTART,
        )


class _Options:
    """Edits of nova's options, each in the file that wins."""

    def __init__(self, nova: NovaCompute) -> None:
        self.nova = nova
        self.settings = {} if isinstance(nova.settings, Unread) else nova.settings
        self.changed = False

    def now(self, option: str) -> Setting | None:
        return self.settings.get(option)

    def set(self, option: str, value: str | None, why: str) -> Action:
        self.changed = True
        now = self.now(option)
        before = None if now is None or isinstance(now.value, Unread) else now.value
        return Action(
            ActionKind.REMOVE_NOVA_OPTION if value is None else ActionKind.SET_NOVA_OPTION,
            f'{self._file(now)} {(now.written_as if now else None) or option}',
            ', '.join(before) if isinstance(before, tuple) else before,
            value,
            why,
            Disruption.NONE,
        )

    def _file(self, now: Setting | None) -> str:
        if now and isinstance(now.where, Location):
            return now.where.file
        return self.nova.files[-1].path if self.nova.files else 'nova.conf'


def _guest_cpu(
    options: _Options, policy: Policy, driver: Driver, verdict: Verdict
) -> Iterator[Action]:
    why = verdict[ConditionType.GUEST_CPU].condition.message
    now = nova_options.guest_cpu_settings(options.settings)
    wish = mended(now, policy, driver)
    if wish is None:
        return
    if wish.cpu_mode != now.cpu_mode:
        yield options.set(nova_options.MODE, wish.cpu_mode, why)
    if wish.cpu_models != now.cpu_models:
        yield options.set(nova_options.MODELS, ','.join(wish.cpu_models) or None, why)
    if wish.extra_flags != now.extra_flags:
        yield options.set(nova_options.FLAGS, ','.join(wish.extra_flags) or None, why)
