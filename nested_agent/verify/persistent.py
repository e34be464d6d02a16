"""Judge of NestedPersistent: what the next load of the module will apply, and who decides that."""

from nested_agent.drivers.base import Driver, LoadValue
from nested_agent.facts import (
    LineKind,
    LoadKind,
    ModuleLine,
    NextLoad,
    Observation,
    Unread,
)
from nested_agent.model import ConditionType
from nested_agent.policy import Policy
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

ON = {LoadValue.ON: True, LoadValue.OFF: False}


def nested_persistent(observation: Observation, policy: Policy, driver: Driver | None) -> Judgement:
    """Judge what the next load of the module will apply, and name the line that decides."""
    type_ = ConditionType.NESTED_PERSISTENT
    load = observation.next_load
    if driver is None or load is None:
        return unknown(type_, 'NoDriver', 'no driver knows the module of this processor')
    if isinstance(load, Unread):
        return unread(type_, load)
    if load.kind is LoadKind.BUILTIN:
        return _builtin(observation, policy, driver, load)
    if load.kind is LoadKind.MISSING:
        return _missing(load)
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
    refused = _refused_by_kernel(load)
    if refused:
        return false(type_, 'Blacklisted', refused, Remedy.PERSON)
    stale = _stale_initramfs(observation, policy, driver, load)
    return stale or _options(observation, policy, driver, load)


def _options(observation: Observation, policy: Policy, driver: Driver, load: NextLoad) -> Judgement:
    type_ = ConditionType.NESTED_PERSISTENT
    release = _release(observation)
    value, fatal = effective(driver, load.options, release)
    if fatal:
        line = _line_with(load, fatal)
        return false(
            type_,
            'FatalValue',
            f'{_at(line)}"{fatal}" keeps {load.module} from loading; write '
            f'"{driver.option(policy.wanted)}"',
            Remedy.FIX if line and line.where.file == DROPIN else Remedy.PERSON,
            fatal,
        )
    line = deciding_line(load)
    on = driver.kernel_default(release) if value is None else ON.get(value)
    if value is None:
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


def _release(observation: Observation) -> str:
    release = observation.kernel.release
    return release if isinstance(release, str) else ''


def effective(
    driver: Driver, options: tuple[str, ...], release: str
) -> tuple[LoadValue | None, str | None]:
    """Return the value of the last ``nested`` option (None: no such option), and the first
    option that keeps the module from loading, if any.

    The kernel parses them left to right and gives up at the first it cannot take.
    """
    value = None
    for option in options:
        name, equals, text = option.partition('=')
        if name != 'nested':
            continue
        value = driver.load_value(text.strip('"') if equals else None, release)
        if value is LoadValue.FATAL:
            return value, option
    return value, None


def deciding_line(load: NextLoad) -> ModuleLine | None:
    """Return the line whose ``nested`` option is applied last, or None."""
    for line in reversed(load.lines):
        if line.ignored is None and line.kind in (LineKind.OPTIONS, LineKind.KERNEL_ARGUMENT):
            names = [word.partition('=')[0] for word in line.text.split()]
            if 'nested' in names:
                return line
    return None


def _line_with(load: NextLoad, option: str) -> ModuleLine | None:
    for line in load.lines:
        if line.ignored is None and option in line.text:
            return line
    return None


def _outranks(line: ModuleLine) -> bool:
    """Whether a line is applied after the drop-in whatever the drop-in says."""
    if line.kind is LineKind.KERNEL_ARGUMENT:
        return True
    # kmod sorts all directories' files together, by name, bytewise.
    mine, theirs = (name.rpartition('/')[2].encode() for name in (DROPIN, line.where.file))
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


def _missing(load: NextLoad) -> Judgement:
    type_ = ConditionType.NESTED_PERSISTENT
    alias = next((each for each in load.lines if each.kind is LineKind.ALIAS), None)
    if alias:
        return false(
            type_,
            'Aliased',
            f'{_at(alias)}alias {alias.module} {alias.text} hides {load.module}; remove that line',
            Remedy.PERSON,
        )
    return false(
        type_,
        'ModuleMissing',
        f'the running kernel has no module {load.module}; install its modules package',
        Remedy.PERSON,
    )


def _refused_by_kernel(load: NextLoad) -> str | None:
    for line in load.lines:
        if line.ignored or line.kind is not LineKind.BLACKLIST:
            continue
        if line.text.startswith('module_blacklist'):
            return (
                f'{line.where}: the kernel argument {line.text} makes the kernel refuse '
                f'{load.module}; remove it and reboot'
            )
    return None


def _notes(load: NextLoad) -> str:
    notes = ''
    for line in load.lines:
        if line.kind is LineKind.BLACKLIST and not line.ignored:
            notes += f'; {line.where} blacklists it: nothing loads it at boot by itself'
        elif line.ignored and line.kind is LineKind.OPTIONS and 'nested' in line.text:
            notes += f'; {line.where} has no effect ({line.ignored})'
    if isinstance(load.initramfs, Unread):
        notes += f'; whether {load.initramfs.source} holds an older copy is not known'
    return notes


def _stale_initramfs(
    observation: Observation, policy: Policy, driver: Driver, load: NextLoad
) -> Judgement | None:
    image = load.initramfs
    if image is None or isinstance(image, Unread) or not image.has_module:
        return None
    release = _release(observation)
    value, fatal = effective(driver, image.options, release)
    on = driver.kernel_default(release) if value is None else ON.get(value)
    if not fatal and on == policy.wanted:
        return None
    return false(
        ConditionType.NESTED_PERSISTENT,
        'StaleInitramfs',
        f'{image.image} loads {load.module} at boot with an older copy of the options '
        f'({" ".join(image.options) or "none"}); rebuild it (update-initramfs -u or dracut -f)',
        Remedy.PERSON,
        ON_OFF[on],
    )


def _builtin(observation: Observation, policy: Policy, driver: Driver, load: NextLoad) -> Judgement:
    type_ = ConditionType.NESTED_PERSISTENT
    found = observation.boot_arguments
    if isinstance(found, Unread):
        return unread(type_, found)
    if found is None:  # booted from elsewhere: the best witness is how it was booted this time
        found = tuple(line for line in load.lines if line.kind is LineKind.KERNEL_ARGUMENT)
    advice = (
        f'{driver.module} is built in: add "{driver.kernel_argument(policy.wanted)}" to the '
        "kernel command line in the boot loader's configuration and reboot"
    )
    entries: dict[str, list[str]] = {}
    for line in found:
        entries.setdefault(str(line.where), []).append(line.text)
    release = _release(observation)
    values = {
        place: effective(driver, tuple(texts), release)[0] for place, texts in entries.items()
    }
    values = {place: value for place, value in values.items() if value is not None}
    places = ', '.join(values)
    if len(set(values.values())) > 1:
        message = f'{places} set nested differently; {advice}'
        return unknown(type_, 'BootEntriesDisagree', message, remedy=Remedy.PERSON)
    if values:
        on = ON.get(next(iter(values.values())) or LoadValue.UNKNOWN)
        reason, message = 'KernelArgument', f'{places}: nested is {ON_OFF[on]} at the next boot'
    else:
        on = driver.kernel_default(release)
        reason, message = 'KernelDefault', f"the kernel's default for nested is {ON_OFF[on]}"
    if on == policy.wanted:
        return true(type_, reason, f'{message} ({driver.module} is built in)', ON_OFF[on])
    return false(type_, 'BuiltIn', f'{message}; {advice}', Remedy.PERSON, ON_OFF[on])
