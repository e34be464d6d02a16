"""Judge of NestedRuntime: whether the module as it is loaded now nests."""

from nested_agent.drivers.base import Driver, parse_nested
from nested_agent.facts import Holders, Module, ModuleState, Observation, Unread
from nested_agent.model import ConditionType, Status
from nested_agent.policy import Policy
from nested_agent.verify.judgement import (
    ON_OFF,
    Judgement,
    Remedy,
    false,
    hindrance,
    offers,
    other_accelerators,
    true,
    unknown,
    unread,
    vendor_module,
)


def nested_runtime(
    observation: Observation, policy: Policy, driver: Driver | None, persistent: Judgement
) -> Judgement:
    """Judge whether the loaded module nests, by its two witnesses: ioctl and sysfs."""
    type_ = ConditionType.NESTED_RUNTIME
    if driver is None:
        return unknown(type_, 'NoDriver', 'no driver knows what to look for on this processor')
    by_ioctl = offers(observation, driver)
    module = vendor_module(observation, driver)
    if module is None:
        return _no_module(observation, policy, driver, by_ioctl)
    text = module.parameters.get('nested')
    by_sysfs = parse_nested(text) if isinstance(text, str) else None
    shown = f' cannot be read ({text.error})' if isinstance(text, Unread) else f'={text}'
    witnesses = f'KVM offers {driver.flag}: {_yes(by_ioctl)}; {driver.module} nested{shown}'
    maybe_idle = module.state is ModuleState.BUILTIN or isinstance(module.state, Unread)
    if by_ioctl is None and (by_sysfs is None or maybe_idle):
        # A built-in module shows its parameters even when it found no hardware to drive.
        return unknown(type_, 'Unreadable', f'nothing could be asked: {witnesses}')
    if by_ioctl is not None and by_sysfs is not None and by_ioctl != by_sysfs:
        return unknown(
            type_,
            'WitnessesDisagree',
            f'{witnesses}; report this as a defect unless the module was being reloaded',
        )
    nested = by_sysfs if by_ioctl is None else by_ioctl
    caveat = ' (by sysfs alone: /dev/kvm could not be asked)' if by_ioctl is None else ''
    if nested == policy.wanted:
        return _as_wanted(driver, module, nested, witnesses + caveat)
    want = ON_OFF[policy.wanted]
    remedy, how = _reload_remedy(observation, driver, module, persistent)
    return false(
        type_,
        'Disabled' if policy.wanted else 'Enabled',
        f'{witnesses}{caveat}, but the policy wants it {want}; {how}',
        remedy,
        ON_OFF[nested],
    )


def _yes(value: bool | None) -> str:
    return {True: 'yes', False: 'no', None: 'not asked'}[value]


def _no_module(
    observation: Observation, policy: Policy, driver: Driver, by_ioctl: bool | None
) -> Judgement:
    type_ = ConditionType.NESTED_RUNTIME
    if isinstance(observation.modules, Unread):
        return unread(type_, observation.modules)
    if by_ioctl is not None:
        if by_ioctl == policy.wanted:
            return true(
                type_,
                'OtherAccelerator',
                f'KVM offers {driver.flag}: {_yes(by_ioctl)}, without {driver.module}',
                ON_OFF[by_ioctl],
            )
        return false(
            type_,
            'OtherAccelerator',
            f'KVM works without {driver.module} and offers {driver.flag}: {_yes(by_ioctl)}',
            Remedy.IMPOSSIBLE,
            ON_OFF[by_ioctl],
        )
    if other_accelerators(observation, driver) and isinstance(observation.kvm, Unread):
        return unread(type_, observation.kvm)
    message = f'{driver.module} is not loaded, so no guest can nest'
    if policy.wanted:
        remedy, how = hindrance(observation) or (Remedy.FIX, 'load it')
        return false(type_, 'ModuleNotLoaded', f'{message}; {how}', remedy, 'not loaded')
    return true(type_, 'ModuleNotLoaded', message, 'not loaded')


def _as_wanted(driver: Driver, module: Module, nested: bool, witnesses: str) -> Judgement:
    type_ = ConditionType.NESTED_RUNTIME
    readable = {key: text for key, text in module.parameters.items() if isinstance(text, str)}
    degraded = driver.degraded(readable) if nested else ()
    if degraded:
        return true(
            type_, 'Degraded', f'{witnesses}; degraded by {"; ".join(degraded)}', ON_OFF[nested]
        )
    return true(type_, 'Enabled' if nested else 'Disabled', witnesses, ON_OFF[nested])


def _reload_remedy(
    observation: Observation, driver: Driver, module: Module, persistent: Judgement
) -> tuple[Remedy, str]:
    name = driver.module
    if module.state is ModuleState.BUILTIN:
        if persistent.condition.status is Status.TRUE:
            return Remedy.WAIT, 'the boot configuration is right: reboot'
        return Remedy.PERSON, f'{name} is built in: set the kernel argument and reboot'
    if persistent.remedy is Remedy.PERSON:
        return Remedy.PERSON, 'the next load would be wrong too, see NestedPersistent'
    hindered = hindrance(observation)
    if hindered:
        return hindered
    if not isinstance(module.refcnt, int) or module.refcnt < 0:
        # Not WAIT, which promises that it comes by itself once it is idle; not PERSON, for there
        # is nothing that a person would be known to have to do.
        why = module.refcnt if isinstance(module.refcnt, Unread) else f'refcnt {module.refcnt}'
        return Remedy.NONE, f'whether {name} is in use is not known ({why})'
    if module.refcnt == 0:
        return Remedy.FIX, f'reload {name}, which is idle'
    who = held_by(observation.holders)
    return Remedy.WAIT, f'{name} is in use{who}: reload it when idle, or reboot'


def held_by(holders: Holders | Unread | None) -> str:
    """Return who keeps a module in use, to follow these words; empty where that is not known."""
    if not isinstance(holders, Holders):
        return ''
    names = [f'{each.guest or each.command} (pid {each.pid})' for each in holders.processes[:3]]
    if len(holders.processes) > len(names):
        names.append(f'{len(holders.processes) - len(names)} more')
    if not names and holders.unreadable:
        return f' by processes whose files only root can see ({holders.unreadable})'
    return f' by {", ".join(names)}' if names else ''
