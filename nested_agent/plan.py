"""Verdict to Plan: the ordered actions that would make a node compliant. Pure.

Enabling: modprobe drop-in, module, and nova.conf only once the module nests or is reloaded by the
same plan. Disabling: the reverse, and the module only once no guest requires the flag. At most one
restart of nova-compute, last of nova's. What a person must do is listed among them.

An option of nova is set in the file where it is in force. To be without it, it is removed under
every name from every file: an earlier line would come into force instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from nested_agent.drivers.base import Driver
from nested_agent.facts import (
    ModuleState,
    NextLoad,
    NovaCompute,
    NovaProcess,
    Observation,
    Setting,
    Unread,
)
from nested_agent.guest_cpu import edits
from nested_agent.model import (
    Action,
    ActionKind,
    Condition,
    ConditionType,
    Disruption,
    State,
    Status,
)
from nested_agent.policy import Policy
from nested_agent.verify.judgement import Remedy, vendor_module
from nested_agent.verify.nova_settings import (
    VIRT_TYPE,
    file_to_set,
    guest_cpu_settings,
    unstartable,
)
from nested_agent.verify.persistent import DROPIN
from nested_agent.verify.verdict import NOVA, Verdict

MACHINE = (
    ConditionType.CPU_SUPPORTED,
    ConditionType.KERNEL_SUPPORTED,
    ConditionType.KVM_USABLE,
    ConditionType.NESTED_PERSISTENT,
    ConditionType.NESTED_RUNTIME,
    ConditionType.NESTED_PROVED,
)
#: Reasons that a person can only mend with a reboot.
REBOOT = frozenset(
    {
        'FirmwareDisabled',
        'TooOld',
        'RefusedByKernel',
        # of a built-in module
        'BuiltIn',
        'BootEntriesDisagree',
        'KernelDefault',
        'DependsOnKernel',
    }
)


def plan(
    observation: Observation, policy: Policy, driver: Driver | None, verdict: Verdict
) -> tuple[Action, ...]:
    """Return what would be done, in order; empty when nothing is to do or nothing can be."""
    if driver is None or verdict.state in (State.COMPLIANT, State.UNSUPPORTED):
        return ()
    stuck = [type_ for type_ in MACHINE if verdict.remedy(type_) is Remedy.PERSON]
    if ConditionType.NESTED_PERSISTENT in stuck and ConditionType.NESTED_RUNTIME in stuck:
        stuck.remove(ConditionType.NESTED_RUNTIME)  # mended by the same hand
    module = [_by_hand(verdict[type_].condition) for type_ in stuck]
    if not stuck and (policy.wanted or _no_guest_requires(verdict)):
        module += _module(observation, policy, driver, verdict)
    nova = [
        _by_hand(verdict[type_].condition)
        for type_ in NOVA
        if verdict[type_].remedy is Remedy.PERSON
    ]
    kept = not policy.wanted or (not stuck and _nests_then(verdict))
    if kept:
        nova += _nova(observation, policy, driver, verdict)
    actions = module + nova if policy.wanted else nova + module
    return tuple(_distinct([*actions, *_restart(observation, verdict, actions, kept)]))


def _nests_then(verdict: Verdict) -> bool:
    """Whether the module gives guests what nova.conf promises them, now or by this plan.

    Not while it is busy or cannot be asked: guests would require what KVM does not offer.
    """
    runtime = verdict[ConditionType.NESTED_RUNTIME]
    return runtime.condition.status is Status.TRUE or runtime.remedy is Remedy.FIX


def _no_guest_requires(verdict: Verdict) -> bool:
    """Whether new guests are known to start without the flag, now or by this plan."""
    guest = verdict[ConditionType.GUEST_CPU]
    return (
        guest.condition.status is Status.TRUE
        or guest.remedy is Remedy.FIX
        or guest.condition.reason in ('NotInstalled', 'NotLibvirt')
    )


def _distinct(actions: Iterable[Action]) -> Iterator[Action]:
    """Leave out what a person was told to do already."""
    told = set()
    for action in actions:
        if action.kind is ActionKind.BY_HAND:
            if action.why in told:
                continue
            told.add(action.why)
        yield action


def _by_hand(condition: Condition) -> Action:
    disruption = Disruption.REBOOT if condition.reason in REBOOT else Disruption.NONE
    return Action(ActionKind.BY_HAND, condition.type, None, None, condition.message, disruption)


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
    why = runtime.condition.message
    if runtime.remedy not in (Remedy.FIX, Remedy.WAIT):
        return
    # nova-compute is stopped for a reload: not if it would not come back.
    fix = runtime.remedy is Remedy.FIX and _comes_back(observation, verdict)
    builtin = module is not None and module.state is ModuleState.BUILTIN
    if builtin or observation.kernel.modules_disabled is True:
        yield Action(ActionKind.BY_HAND, 'reboot', None, None, why, Disruption.REBOOT)
    elif module is None:
        yield Action(
            ActionKind.LOAD_MODULE,
            driver.module,
            None,
            driver.option(policy.wanted),
            why,
            Disruption.NONE,
            fix,
        )
    else:
        now = module.parameters.get('nested')
        yield Action(
            ActionKind.RELOAD_MODULE,
            driver.module,
            f'nested={now}' if isinstance(now, str) else None,
            driver.option(policy.wanted),
            why,
            Disruption.KVM_RELOAD,
            fix,
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
    nova = observation.nova
    if not isinstance(nova, NovaCompute) or isinstance(nova.settings, Unread):
        return
    guest = guest_cpu_settings(nova.settings)
    if verdict[ConditionType.GUEST_CPU].condition.reason == 'NotLibvirt':
        return
    if not _comes_back(observation, verdict):
        return
    for type_, wish in (
        (ConditionType.VIRT_TYPE, {VIRT_TYPE: 'kvm'}),
        (ConditionType.GUEST_CPU, edits(guest, policy, driver)),
    ):
        if verdict[type_].remedy is Remedy.FIX:
            yield from _edits(nova, nova.settings, wish, verdict[type_].condition.message)


def _comes_back(observation: Observation, verdict: Verdict) -> bool:
    """Whether nova-compute, if it runs, would start again with what is, or will be, on disk."""
    nova = observation.nova
    if not isinstance(nova, NovaCompute) or not isinstance(nova.process, NovaProcess):
        return True
    return verdict[ConditionType.GUEST_CPU].remedy is Remedy.FIX or unstartable(nova) is None


def _restart(
    observation: Observation, verdict: Verdict, actions: Sequence[Action], kept: bool
) -> Iterator[Action]:
    """Yield the one restart that covers the whole plan, if nova-compute runs and needs it.

    :param kept: whether what nova-compute's files promise guests is, or will be, so
    """
    nova = observation.nova
    if not isinstance(nova, NovaCompute) or not isinstance(nova.process, NovaProcess):
        return
    if verdict[ConditionType.GUEST_CPU].condition.reason == 'NotLibvirt':
        return
    kinds = {action.kind for action in actions if action.executable}
    current = verdict[ConditionType.NOVA_CONFIG_CURRENT]
    if kinds & {ActionKind.SET_NOVA_OPTION, ActionKind.REMOVE_NOVA_OPTION}:
        why = 'nova-compute reads these options only when it starts'
    elif kept and current.remedy is Remedy.FIX and _comes_back(observation, verdict):
        why = current.condition.message
    elif ActionKind.RELOAD_MODULE in kinds:
        why = 'it is stopped while the module is reloaded: no guest could start meanwhile'
    else:
        return
    yield Action(
        ActionKind.RESTART_NOVA_COMPUTE,
        nova.process.unit or f'pid {nova.process.pid}',
        None,
        None,
        why,
        Disruption.NOVA_COMPUTE_RESTART,
    )


def _edits(
    nova: NovaCompute, settings: Mapping[str, Setting], wish: Mapping[str, str | None], why: str
) -> Iterator[Action]:
    for option, after in wish.items():
        setting = settings[option]
        value = setting.value
        before = ','.join(value) if isinstance(value, tuple) else value
        assert not isinstance(before, Unread)  # noqa: S101  # no wish rests on such a value
        if after is not None:
            target = f'{file_to_set(nova, setting)} {option}'
            yield Action(
                ActionKind.SET_NOVA_OPTION, target, before or None, after, why, Disruption.NONE
            )
            continue
        # One removal takes every line of that name out of a file.
        removals = {(each.where.file, each.name): False for each in setting.occurrences} | {
            (each.where.file, each.name): True
            for each in setting.occurrences
            if each.where == setting.where
        }
        for (file, name), in_force in removals.items():
            target = f'{file} {name}'
            yield Action(
                ActionKind.REMOVE_NOVA_OPTION,
                target,
                before if in_force else None,
                None,
                why,
                Disruption.NONE,
            )
