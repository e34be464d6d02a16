"""Judges of the machine: CPUSupported, KernelSupported, KVMUsable."""

from nested_agent.drivers.base import Driver, kernel_version
from nested_agent.facts import CPU, ModuleState, Observation, Unread
from nested_agent.model import ConditionType
from nested_agent.policy import Policy
from nested_agent.verify.judgement import (
    Judgement,
    Remedy,
    false,
    hindrance,
    other_accelerators,
    true,
    unknown,
    unread,
    vendor_module,
)

#: Reasons of CPUSupported that leave guests no way to nest, whatever KVM is told. Not
#: FirmwareDisabled: an old kernel shows the flag all the same, and its log may be of another day.
CANNOT = frozenset({'NoDriver', 'OtherAccelerator', 'HiddenByHypervisor', 'FlagAbsent'})


def cpu_supported(observation: Observation, policy: Policy, driver: Driver | None) -> Judgement:
    """Judge whether the processor, as this kernel may use it, can virtualize."""
    type_ = ConditionType.CPU_SUPPORTED
    cpu = observation.cpu
    if isinstance(cpu, Unread):
        if cpu.error == 'OtherArchitecture':
            return _cannot(policy, 'NoDriver', f'{cpu.source}: {cpu.detail}', None)
        return unread(type_, cpu)
    if driver is None:
        problems = ''.join(f'; {each}' for each in observation.driver_problems)
        text = f'no driver knows processors of vendor {cpu.vendor}{problems}'
        if problems:
            return unknown(type_, 'NoDriver', text, cpu.vendor)
        return _cannot(policy, 'NoDriver', text, cpu.vendor)
    blame = _firmware_blame(observation, driver)
    if driver.flag in cpu.flags:
        if blame:
            return _firmware_off(policy, driver, blame, 'FirmwareDisabled')
        return true(
            type_, 'FlagPresent', f'{cpu.model or cpu.vendor} has {driver.flag}', driver.flag
        )
    if blame:
        return _firmware_off(policy, driver, blame, 'FlagAbsent')
    return _flag_absent(observation, policy, driver, cpu)


def _flag_absent(observation: Observation, policy: Policy, driver: Driver, cpu: CPU) -> Judgement:
    others = other_accelerators(observation, driver)
    if others and not isinstance(observation.kvm, Unread):
        return _cannot(
            policy,
            'OtherAccelerator',
            f'KVM is provided by {", ".join(others)} and the processor shows no {driver.flag}: '
            'guests cannot be given it',
            cpu.vendor,
        )
    if cpu.hypervisor:
        return _cannot(
            policy,
            'HiddenByHypervisor',
            f'this node is itself a virtual machine and its hypervisor hides {driver.flag}; '
            'enable nesting there',
            cpu.vendor,
        )
    return _cannot(
        policy,
        'FlagAbsent',
        f'the kernel shows no {driver.flag} on {cpu.model or cpu.vendor}; if the processor has '
        'it, it is switched off in firmware',
        cpu.vendor,
    )


def _cannot(policy: Policy, reason: str, message: str, observed: str | None) -> Judgement:
    if not policy.wanted:
        return true(ConditionType.CPU_SUPPORTED, reason, message, observed)
    return false(ConditionType.CPU_SUPPORTED, reason, message, Remedy.IMPOSSIBLE, observed)


def _firmware_off(policy: Policy, driver: Driver, blame: str, harmless: str) -> Judgement:
    """Judge by evidence against firmware; ``harmless`` is the reason where nesting is unwanted."""
    message = f'{driver.flag} is switched off in firmware: {blame}'
    if not policy.wanted:
        return true(ConditionType.CPU_SUPPORTED, harmless, message, 'off')
    return false(
        ConditionType.CPU_SUPPORTED,
        'FirmwareDisabled',
        f'{message}; switch it on in the firmware setup and reboot',
        Remedy.PERSON,
        'off',
    )


def _firmware_blame(observation: Observation, driver: Driver) -> str | None:
    """Return the evidence that firmware switched virtualization off, or None."""
    found = observation.firmware
    if found is None:
        return None
    if not isinstance(found.kernel_log, Unread) and found.kernel_log:
        return f'the kernel logged "{found.kernel_log[-1]}"'
    if isinstance(found.raw_cpuid, Unread) or isinstance(observation.cpu, Unread):
        return None
    leaf = found.raw_cpuid.get(driver.feature.leaf)
    if leaf is None or driver.flag in observation.cpu.flags:
        return None
    if getattr(leaf, driver.feature.register) >> driver.feature.bit & 1:
        return f'the processor reports {driver.flag} by CPUID and the kernel dropped it'
    return None


def kernel_supported(observation: Observation, policy: Policy, driver: Driver | None) -> Judgement:
    """Judge the kernel release against ``[policy] minimum_kernel``."""
    type_ = ConditionType.KERNEL_SUPPORTED
    release = observation.kernel.release
    if isinstance(release, Unread):
        return unread(type_, release)
    version = kernel_version(release)
    if version is None:
        return unknown(type_, 'Malformed', f'{release!r} is no kernel release', release)
    lowest = '.'.join(str(number) for number in policy.minimum_kernel)
    if version < policy.minimum_kernel and policy.wanted:
        return false(
            type_,
            'TooOld',
            f'Linux {release} is below [policy] minimum_kernel {lowest}; install a newer kernel',
            Remedy.PERSON,
            release,
        )
    missing = driver.missing_below(release) if driver else None
    if missing:
        return true(type_, 'Limited', f'Linux {release}; {missing}', release)
    return true(type_, 'Recent', f'Linux {release}', release)


def kvm_usable(observation: Observation, policy: Policy, driver: Driver | None) -> Judgement:
    """Judge whether ``/dev/kvm`` works, whoever provides it."""
    type_ = ConditionType.KVM_USABLE
    kvm = observation.kvm
    module = vendor_module(observation, driver)
    if not isinstance(kvm, Unread):
        others = other_accelerators(observation, driver)
        if module is None and others:
            return true(
                type_, 'OtherAccelerator', f'/dev/kvm is provided by {", ".join(others)}', others[0]
            )
        return true(type_, 'Usable', f'/dev/kvm answers (API {kvm.api_version})', 'usable')
    if kvm.error in ('EACCES', 'EPERM', 'NotAvailable', 'Timeout', 'EMFILE', 'ENFILE', 'ENOMEM'):
        return unread(type_, kvm)
    if not policy.wanted:
        return true(type_, 'NotUsable', f'no guest can use KVM at all: {kvm}', kvm.error)
    if driver is None:
        return false(type_, 'NotUsable', str(kvm), Remedy.IMPOSSIBLE, kvm.error)
    if isinstance(observation.modules, Unread):
        return unread(type_, observation.modules)
    hindered = hindrance(observation)
    if module is None:
        remedy, how = hindered or (Remedy.FIX, 'load it')
        return false(
            type_,
            'ModuleNotLoaded',
            f'{driver.module} is not loaded, so there is no usable /dev/kvm; {how}',
            remedy,
            kvm.error,
        )
    state = module.state
    if state in (ModuleState.COMING, ModuleState.GOING):
        return unknown(type_, 'ModuleChanging', f'{driver.module} is {state} right now', state)
    return false(
        type_,
        'NotUsable',
        f'{driver.module} is there, but {kvm.source} fails: {kvm.detail} ({kvm.error}); '
        + (f'{hindered[1]}; ' if hindered else '')
        + 'see the kernel log',
        Remedy.PERSON,
        kvm.error,
    )
