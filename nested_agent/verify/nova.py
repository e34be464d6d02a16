"""Judges of nova-compute's configuration: GuestCPU and VirtType."""

import dataclasses
from collections.abc import Mapping

from nested_agent.drivers.base import Driver, GuestCPU
from nested_agent.facts import NovaCompute, Observation, Setting
from nested_agent.guest_cpu import FLAGS, MODE, MODELS, edits, refusal, requires
from nested_agent.model import ConditionType, Status
from nested_agent.policy import ANY_EXPOSING, Policy
from nested_agent.verify.judgement import Judgement, Remedy, false, true, unknown
from nested_agent.verify.nova_settings import (
    VIRT_TYPE,
    guest_cpu_settings,
    place,
    text,
    unless_overridden,
    usable,
    who_changes,
)


def guest_cpu(
    observation: Observation, policy: Policy, driver: Driver | None, virt: Judgement
) -> Judgement:
    """Judge what CPU nova-compute's configuration gives new guests.

    :param virt: the judgement of virt_type; where that is mended to kvm in the same plan, so is
        the CPU, as it will be then
    """
    return unless_overridden(observation, _guest_cpu(observation, policy, driver, virt))


def _guest_cpu(
    observation: Observation, policy: Policy, driver: Driver | None, virt: Judgement
) -> Judgement:
    type_ = ConditionType.GUEST_CPU
    found = usable(type_, observation, (VIRT_TYPE, MODE, MODELS, FLAGS))
    if isinstance(found, Judgement):
        return found
    nova, settings = found
    if driver is None:
        return unknown(type_, 'NoDriver', 'no driver knows which flag guests would need')
    guest = guest_cpu_settings(settings)
    observed = guest.cpu_mode or 'unset'
    mode, models, flags = (settings.get(option) for option in (MODE, MODELS, FLAGS))
    refused = refusal(guest)
    if refused:
        reason, message = refused
        remedy, hint = Remedy.PERSON, ''  # under disabled only the flag is the agent's to change
        if policy.wanted:
            remedy, hint = _remedy(nova, settings, policy, driver, virt)
        about = models if models and models.value else mode
        return false(type_, reason, f'{place(about)}{message}{hint}', remedy, observed)
    if not policy.wanted:
        return _unwanted(nova, settings, policy, driver, guest)
    once = ''
    if guest.virt_type != 'kvm':
        if virt.remedy is not Remedy.FIX:
            message = driver.exposes(guest).message
            return unknown(type_, 'NotKVM', f'{message}; see VirtType', observed)
        guest = dataclasses.replace(guest, virt_type='kvm')
        once = 'once virt_type is kvm: '
    exposure = driver.exposes(guest)
    about = flags if exposure.reason.startswith('Flag') else mode
    message = f'{once}{place(about)}{exposure.message}'
    if exposure.exposed is None:
        return unknown(type_, exposure.reason, message, observed, Remedy.PERSON)
    if exposure.reason == 'FlagDisabled':
        hint = '; somebody wrote that on purpose, so it is theirs to mend'
        return false(type_, exposure.reason, f'{message}{hint}', Remedy.PERSON, observed)
    remedy, hint = _remedy(nova, settings, policy, driver, virt)
    if not exposure.exposed:
        return false(type_, exposure.reason, f'{message}{hint}', remedy, observed)
    if policy.cpu_mode not in (ANY_EXPOSING, guest.cpu_mode or 'host-model'):
        message += f', but [policy] cpu_mode asks for {policy.cpu_mode}'
        return false(type_, 'OtherMode', f'{message}{hint}', remedy, observed)
    if once:
        return unknown(type_, 'NotKVM', f'{message}; see VirtType', observed)
    return true(type_, exposure.reason, message, observed)


def _remedy(
    nova: NovaCompute,
    settings: Mapping[str, Setting],
    policy: Policy,
    driver: Driver,
    virt: Judgement,
) -> tuple[Remedy, str]:
    """Return who can mend the guest CPU, by what would have to change, and what to add."""
    guest = guest_cpu_settings(settings)
    if guest.virt_type != 'kvm' and virt.remedy is not Remedy.FIX:
        # The wish supposes KVM: under QEMU alone host-passthrough makes every spawn fail.
        return Remedy.NONE, '; it is mended together with VirtType'
    wish = edits(guest, policy, driver)
    if not wish:
        asked = f'[policy] cpu_mode {policy.cpu_mode}, fix_cpu_mode {policy.fix_cpu_mode}'
        return Remedy.PERSON, f'; {asked} leave no way to mend it'
    return who_changes(nova, settings, wish, policy)


def _unwanted(
    nova: NovaCompute,
    settings: Mapping[str, Setting],
    policy: Policy,
    driver: Driver,
    guest: GuestCPU,
) -> Judgement:
    """Judge under policy disabled: only an explicit request for the flag is in the way."""
    type_ = ConditionType.GUEST_CPU
    observed = guest.cpu_mode or 'unset'
    if any(requires(flag, driver) for flag in guest.extra_flags):
        remedy, hint = who_changes(nova, settings, (FLAGS,), policy)
        return false(
            type_,
            'FlagRequired',
            f'{place(settings.get(FLAGS))}cpu_model_extra_flags requires {driver.flag}, which KVM '
            f'shall not offer: guests would not start{hint}',
            remedy,
            observed,
        )
    return true(type_, 'NotRequired', f'guests get {driver.flag} only if KVM offers it', observed)


def virt_type(observation: Observation, policy: Policy, kvm: Judgement) -> Judgement:
    """Judge whether nova-compute runs guests under KVM."""
    return unless_overridden(observation, _virt_type(observation, policy, kvm))


def _virt_type(observation: Observation, policy: Policy, kvm: Judgement) -> Judgement:
    type_ = ConditionType.VIRT_TYPE
    found = usable(type_, observation, (VIRT_TYPE,))
    if isinstance(found, Judgement):
        return found
    nova, settings = found
    setting = settings.get(VIRT_TYPE)
    value = text(setting) or 'kvm'
    message = f'{place(setting)}virt_type is {value}'
    if not policy.wanted:
        return true(type_, 'NotRequired', message, value)
    if value == 'kvm':
        return true(type_, 'KVM', message, value)
    message += ': guests do not run under KVM'
    if value != 'qemu':
        hint = '; its containers would be lost: move them away and set virt_type to kvm by hand'
        return false(type_, 'NotKVM', f'{message}{hint}', Remedy.PERSON, value)
    remedy, hint = who_changes(nova, settings, (VIRT_TYPE,), policy)
    if remedy is Remedy.FIX and kvm.condition.status is not Status.TRUE:
        # Never written before KVM is seen to work: every new guest would fail.
        remedy, hint = Remedy.NONE, '; it is set to kvm once KVM is usable'
    return false(type_, 'NotKVM', f'{message}{hint}', remedy, value)
