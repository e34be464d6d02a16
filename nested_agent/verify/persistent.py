"""Judge of NestedPersistent: what the next load of the module will apply, and who decides that."""

from nested_agent.drivers.base import Driver
from nested_agent.facts import CPU, LineKind, LoadKind, ModuleLine, NextLoad, Observation, Unread
from nested_agent.model import ConditionType, Status
from nested_agent.policy import Policy
from nested_agent.verify.builtin import built_in
from nested_agent.verify.effect import effect, kernel_release, line_of, names_parameter
from nested_agent.verify.judgement import (
    ON_OFF,
    Judgement,
    Remedy,
    false,
    true,
    unknown,
    unread,
)

#: The one file the agent owns; it sorts after what distributions and people name theirs.
DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'


def nested_persistent(observation: Observation, policy: Policy, driver: Driver | None) -> Judgement:
    """Judge what the next load of the module will apply, and name the line that decides."""
    type_ = ConditionType.NESTED_PERSISTENT
    load = observation.next_load
    if driver is None or load is None:
        return unknown(type_, 'NoDriver', 'no driver knows the module of this processor')
    if isinstance(load, Unread):
        return unread(type_, load)
    if load.kind is LoadKind.BUILTIN:
        return built_in(observation, policy, driver, load)
    if load.kind is LoadKind.MISSING:
        return _missing(observation, driver, load)
    install = _install(load)
    if install or load.kind is LoadKind.INSTALL:
        # What the command does is its secret.
        module, command = (install.module, install.text) if install else (load.module, load.command)
        return unknown(
            type_,
            'InstallCommand',
            f'{_at(install)}"{command}" is run instead of loading {module}; remove that line',
            remedy=Remedy.PERSON,
        )
    judgement = (
        _refused_by_kernel(load)
        or _dependency(observation, driver, load)
        or _stale_initramfs(observation, policy, driver, load)
        or _options(observation, policy, driver, load)
    )
    if judgement.condition.status is not Status.TRUE:
        return judgement
    return (_blacklisted(load, judgement) if policy.wanted else None) or (
        _unread_initramfs(load, judgement) or judgement
    )


def _options(observation: Observation, policy: Policy, driver: Driver, load: NextLoad) -> Judgement:
    type_ = ConditionType.NESTED_PERSISTENT
    release = kernel_release(observation)
    found = effect(driver, load.module, load.options, release)
    line = line_of(load.lines, found.number)
    if found.fatal:
        advice = (
            f'write "{driver.option(policy.wanted)}"'
            if names_parameter([found.option])
            else 'remove it'
        )
        return false(
            type_,
            'FatalValue',
            f'{_at(line)}"{found.option}" keeps {load.module} from loading; {advice}',
            Remedy.FIX if line and line.where.file == DROPIN else Remedy.PERSON,
            found.option,
        )
    on = found.on(driver, release)
    if found.value is None:
        reason = 'KernelDefault'
        message = f"no option sets nested; the kernel's default is {ON_OFF[on] or 'not known'}"
    else:
        reason = {True: 'OptionEnabled', False: 'OptionDisabled', None: 'DependsOnKernel'}[on]
        message = f'{_at(line)}nested is {ON_OFF[on] or "not certain"} at the next load'
    message += _notes(load)
    if on == policy.wanted:
        return true(type_, reason, message, ON_OFF[on])
    message += f', but the policy wants it {ON_OFF[policy.wanted]}'
    remedy = Remedy.FIX
    if line and _outranks(line):
        message += f'; it is applied after {DROPIN}, so it must be changed where it stands'
        remedy = Remedy.PERSON
    if on is None:
        return unknown(type_, reason, message, remedy=remedy)
    return false(type_, reason, message, remedy, ON_OFF[on])


def _outranks(line: ModuleLine) -> bool:
    """Whether a line is applied after the drop-in whatever the drop-in says."""
    if line.kind is LineKind.KERNEL_ARGUMENT:
        return True
    # kmod sorts all directories' files together, by name, bytewise; so UTF-8 sorts by character.
    mine, theirs = (name.rpartition('/')[2] for name in (DROPIN, line.where.file))
    return theirs > mine


def _at(line: ModuleLine | None) -> str:
    return f'{line.where}: ' if line else ''


def _install(load: NextLoad) -> ModuleLine | None:
    """Return the install line of the module, or of kvm, which it needs.

    A module's own has no effect where kmod loads it all the same (a softdep switches it off).
    """
    for line in load.lines:
        if line.kind is not LineKind.INSTALL or line.ignored:
            continue
        if load.kind is LoadKind.INSTALL or line.module.replace('-', '_') != load.module:
            return line
    return None


def _missing(observation: Observation, driver: Driver, load: NextLoad) -> Judgement:
    type_ = ConditionType.NESTED_PERSISTENT
    alias = next((each for each in load.lines if each.kind is LineKind.ALIAS), None)
    if alias:
        return false(
            type_,
            'Aliased',
            f'{_at(alias)}alias {alias.module} {alias.text} hides {load.module}; remove that line',
            Remedy.PERSON,
        )
    cpu = observation.cpu
    # On a processor without the flag the module would be of no use.
    advice = isinstance(cpu, CPU) and driver.flag in cpu.flags
    return false(
        type_,
        'ModuleMissing',
        f'the running kernel has no module {load.module}'
        + ('; install its modules package' if advice else ''),
        Remedy.PERSON,
    )


def _blacklists(load: NextLoad, by_kernel: bool) -> list[ModuleLine]:
    """Return the lines in force that keep the kernel, or udev, from loading the module."""
    return [
        line
        for line in load.lines
        if line.kind is LineKind.BLACKLIST
        and not line.ignored
        and line.text.startswith('module_blacklist') == by_kernel
    ]


def _refused_by_kernel(load: NextLoad) -> Judgement | None:
    for line in _blacklists(load, by_kernel=True):
        module = line.module.replace('-', '_')
        needed = '' if module == load.module else f', which {load.module} needs'
        return false(
            ConditionType.NESTED_PERSISTENT,
            'RefusedByKernel',
            f'{line.where}: the kernel argument {line.text} makes the kernel refuse {module}'
            f'{needed}; remove it and reboot',
            Remedy.PERSON,
        )
    return None


def _blacklisted(load: NextLoad, judgement: Judgement) -> Judgement | None:
    """Judge a module that would be right if anything loaded it.

    udev leaves it alone, and so does systemd-modules-load, whatever modules-load.d says: it calls
    libkmod with KMOD_PROBE_APPLY_BLACKLIST (systemd src/shared/module-util.c).
    """
    for line in _blacklists(load, by_kernel=False):
        return false(
            ConditionType.NESTED_PERSISTENT,
            'Blacklisted',
            f'{line.where} blacklists it: nothing loads {load.module} at boot by itself; remove '
            'that line',
            Remedy.PERSON,
            judgement.condition.observed,
        )
    return None


def _dependency(observation: Observation, driver: Driver, load: NextLoad) -> Judgement | None:
    release = kernel_release(observation)
    for name, needed in load.dependencies.items():
        found = effect(driver, name, needed.options, release)
        if found.fatal:
            return false(
                ConditionType.NESTED_PERSISTENT,
                'FatalValue',
                f'{_at(line_of(needed.lines, found.number))}"{found.option}" keeps {name} from '
                f'loading, which {load.module} needs; remove it',
                Remedy.PERSON,
                found.option,
            )
    return None


def _notes(load: NextLoad) -> str:
    notes = ''
    for line in _blacklists(load, by_kernel=False):
        notes += f'; {line.where} blacklists it: nothing loads it at boot by itself'
    for line in load.lines:
        if line.ignored and names_parameter(line.options):
            notes += f'; {line.where} has no effect ({line.ignored})'
    if isinstance(load.initramfs, Unread):
        notes += f'; whether {load.initramfs.source} holds an older copy is not known'
    return notes


def _unread_initramfs(load: NextLoad, judgement: Judgement) -> Judgement | None:
    image = load.initramfs
    if not isinstance(image, Unread):
        return None
    hints = {
        'EACCES': '; run as root to know',
        'Malformed': '; rebuild it (update-initramfs -u or dracut -f)',
    }
    return unknown(
        ConditionType.NESTED_PERSISTENT,
        'InitramfsUnreadable',
        f'{judgement.condition.message}: {image.detail} ({image.error})'
        + hints.get(image.error, ''),
        judgement.condition.observed,
    )


def _stale_initramfs(
    observation: Observation, policy: Policy, driver: Driver, load: NextLoad
) -> Judgement | None:
    image = load.initramfs
    if image is None or isinstance(image, Unread) or not image.has_module:
        return None
    release = kernel_release(observation)
    found = effect(driver, load.module, image.options, release)
    on = found.on(driver, release)
    if not found.fatal and on == policy.wanted:
        return None
    return false(
        ConditionType.NESTED_PERSISTENT,
        'StaleInitramfs',
        f'{image.image} loads {load.module} at boot with an older copy of the options '
        f'({" ".join(image.options) or "none"}); rebuild it (update-initramfs -u or dracut -f)',
        Remedy.PERSON,
        ON_OFF[on],
    )
