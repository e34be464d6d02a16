"""Judges of nova-compute: GuestCPU, VirtType, NovaConfigCurrent."""

import datetime
from collections.abc import Mapping

from nested_agent.drivers.base import Driver, GuestCPU
from nested_agent.facts import Manager, NovaCompute, Observation, Setting, Unread
from nested_agent.guest_cpu import mended, refusal, requires
from nested_agent.model import ConditionType, Status
from nested_agent.policy import ANY_EXPOSING, Policy
from nested_agent.verify.judgement import Judgement, Remedy, false, true, unknown, unread

#: Where to make a change that the owner of the configuration does not revert.
PLACE_TO_CHANGE: Mapping[Manager, str] = {
    Manager.KOLLA: (
        '/etc/kolla/config/nova/nova-compute.conf on the deployment host, then kolla-ansible '
        'reconfigure'
    ),
    Manager.EDPM: 'the nova-extra-config ConfigMap of the data plane, then a new deployment',
    Manager.TRIPLEO: 'NovaComputeExtraConfig in the heat templates, then overcloud deploy',
    Manager.SNAP: 'snap set openstack-hypervisor compute.cpu-mode=MODE',
    Manager.OPENSTACK_ANSIBLE: (
        'nova_cpu_mode and nova_nova_conf_overrides in user_variables.yml, then os-nova-install.yml'
    ),
    Manager.CONTAINER: 'the source of the configuration that is mounted into the container',
}

MODE = 'libvirt.cpu_mode'
MODELS = 'libvirt.cpu_models'
FLAGS = 'libvirt.cpu_model_extra_flags'
VIRT_TYPE = 'libvirt.virt_type'


def _settings(
    type_: ConditionType, observation: Observation
) -> tuple[NovaCompute, Mapping[str, Setting]] | Judgement:
    """Return nova's usable settings, or the judgement that there are none."""
    nova = observation.nova
    if nova is None:
        return unknown(type_, 'NotInstalled', 'no nova-compute and no configuration of one found')
    if isinstance(nova, Unread):
        return unread(type_, nova)
    if isinstance(nova.settings, Unread):
        fault = nova.settings
        if fault.error in ('EACCES', 'EPERM', 'NotAvailable'):
            return unread(type_, fault)
        return unknown(
            type_,
            'ConfigInvalid',
            f'{fault.source}: {fault.detail}; nova-compute cannot start with it, mend it by hand',
            remedy=Remedy.PERSON,
        )
    driver = nova.settings.get('DEFAULT.compute_driver')
    name = driver.value if driver else None
    if isinstance(name, str) and not name.startswith('libvirt.'):
        return unknown(type_, 'NotLibvirt', f'nova-compute uses {name}, not libvirt', name)
    return nova, nova.settings


def _invalid(type_: ConditionType, option: str, fault: Unread) -> Judgement:
    if fault.error == 'InvalidValue':
        return unknown(
            type_,
            'ConfigInvalid',
            f'{fault.source}: {fault.detail}; nova-compute cannot start with it, mend it by hand',
            remedy=Remedy.PERSON,
        )
    return unknown(type_, 'Unresolved', f'[{option}] {fault}')


def _unless_overridden(observation: Observation, judgement: Judgement) -> Judgement:
    """Return the judgement, or that nova's environment, which beats its files, is not known."""
    nova = observation.nova
    condition = judgement.condition
    if not isinstance(nova, NovaCompute) or nova.process is None:
        return judgement
    environment = nova.process.environment
    if not isinstance(environment, Unread) or condition.status is Status.UNKNOWN:
        return judgement
    hidden = unread(condition.type, environment).condition
    message = f'{condition.message}; whether its environment says otherwise: {hidden.message}'
    return unknown(condition.type, hidden.reason, message, condition.observed)


def _text(setting: Setting | None) -> str | None:
    value = setting.value if setting else None
    return value if isinstance(value, str) else None


def _list(setting: Setting | None) -> tuple[str, ...]:
    value = setting.value if setting else None
    return value if isinstance(value, tuple) else ()


def _place(setting: Setting | None) -> str:
    return f'{setting.where}: ' if setting and setting.where else ''


def guest_cpu_settings(settings: Mapping[str, Setting]) -> GuestCPU:
    """Return the four settings as a driver wants them; nova's defaults where unset."""
    return GuestCPU(
        _text(settings.get(VIRT_TYPE)) or 'kvm',
        _text(settings.get(MODE)),
        _list(settings.get(MODELS)),
        _list(settings.get(FLAGS)),
    )


def editable(nova: NovaCompute) -> bool:
    """Whether nova's configuration is this node's own, so a change made here lasts."""
    return nova.manager not in PLACE_TO_CHANGE


def _remedy(nova: NovaCompute, *settings: Setting | None) -> tuple[Remedy, str]:
    """Return who can change these settings, and what to add to the message."""
    for setting in settings:
        if setting and isinstance(setting.where, str):
            return Remedy.PERSON, f'; {setting.where} comes from the environment of nova-compute'
    if not editable(nova):
        return (
            Remedy.PERSON,
            f'; managed by {nova.manager}, change {PLACE_TO_CHANGE[nova.manager]}',
        )
    return Remedy.FIX, ''


def guest_cpu(observation: Observation, policy: Policy, driver: Driver | None) -> Judgement:
    """Judge what CPU nova-compute's configuration gives new guests."""
    return _unless_overridden(observation, _guest_cpu(observation, policy, driver))


def _guest_cpu(observation: Observation, policy: Policy, driver: Driver | None) -> Judgement:
    type_ = ConditionType.GUEST_CPU
    found = _settings(type_, observation)
    if isinstance(found, Judgement):
        return found
    nova, settings = found
    for option in (VIRT_TYPE, MODE, MODELS, FLAGS):
        setting = settings.get(option)
        if setting and isinstance(setting.value, Unread):
            return _invalid(type_, option, setting.value)
    if driver is None:
        return unknown(type_, 'NoDriver', 'no driver knows which flag guests would need')
    guest = guest_cpu_settings(settings)
    mode, models, flags = (settings.get(option) for option in (MODE, MODELS, FLAGS))
    observed = guest.cpu_mode or 'unset'
    refused = refusal(guest)
    if refused:
        reason, message = refused
        remedy, hint = _mendable(nova, guest, policy, driver, mode, models)
        about = models if models and models.value else mode
        return false(type_, reason, f'{_place(about)}{message}{hint}', remedy, observed)
    if not policy.wanted:
        return _unwanted(nova, flags, driver, guest)
    exposure = driver.exposes(guest)
    about = flags if exposure.reason.startswith('Flag') else mode
    message = f'{_place(about)}{exposure.message}'
    if exposure.exposed is None:
        return unknown(type_, exposure.reason, message, observed, Remedy.PERSON)
    if exposure.reason == 'NotKVM':
        return unknown(type_, 'NotKVM', f'{exposure.message}; see VirtType', observed)
    if not exposure.exposed:
        remedy, hint = _mendable(nova, guest, policy, driver, mode, flags)
        if exposure.reason == 'FlagDisabled':
            remedy, hint = (
                Remedy.PERSON,
                '; somebody wrote that on purpose, so it is theirs to mend',
            )
        return false(type_, exposure.reason, f'{message}{hint}', remedy, observed)
    named = guest.cpu_mode or 'host-model'
    if policy.cpu_mode not in (ANY_EXPOSING, named):
        remedy, hint = _mendable(nova, guest, policy, driver, mode)
        message += f', but [policy] cpu_mode asks for {policy.cpu_mode}'
        return false(type_, 'OtherMode', f'{message}{hint}', remedy, observed)
    return true(type_, exposure.reason, message, observed)


def _mendable(
    nova: NovaCompute,
    guest: GuestCPU,
    policy: Policy,
    driver: Driver,
    *settings: Setting | None,
) -> tuple[Remedy, str]:
    remedy, hint = _remedy(nova, *settings)
    if remedy is Remedy.FIX and (not policy.wanted or mended(guest, policy, driver) is None):
        asked = f'[policy] cpu_mode {policy.cpu_mode}, fix_cpu_mode {policy.fix_cpu_mode}'
        return Remedy.PERSON, f'; {asked} leave no way to mend it' if policy.wanted else ''
    return remedy, hint


def _unwanted(
    nova: NovaCompute, flags: Setting | None, driver: Driver, guest: GuestCPU
) -> Judgement:
    """Judge under policy disabled: only an explicit request for the flag is in the way."""
    type_ = ConditionType.GUEST_CPU
    observed = guest.cpu_mode or 'unset'
    if any(requires(flag, driver) for flag in guest.extra_flags):
        remedy, hint = _remedy(nova, flags)
        return false(
            type_,
            'FlagRequired',
            f'{_place(flags)}cpu_model_extra_flags requires {driver.flag}, which KVM shall not '
            f'offer: guests would not start{hint}',
            remedy,
            observed,
        )
    return true(type_, 'NotRequired', f'guests get {driver.flag} only if KVM offers it', observed)


def virt_type(observation: Observation, policy: Policy, kvm: Judgement) -> Judgement:
    """Judge whether nova-compute runs guests under KVM."""
    return _unless_overridden(observation, _virt_type(observation, policy, kvm))


def _virt_type(observation: Observation, policy: Policy, kvm: Judgement) -> Judgement:
    type_ = ConditionType.VIRT_TYPE
    found = _settings(type_, observation)
    if isinstance(found, Judgement):
        return found
    nova, settings = found
    setting = settings.get(VIRT_TYPE)
    if setting and isinstance(setting.value, Unread):
        return _invalid(type_, VIRT_TYPE, setting.value)
    value = _text(setting) or 'kvm'
    message = f'{_place(setting)}virt_type is {value}'
    if not policy.wanted:
        return true(type_, 'NotRequired', message, value)
    if value == 'kvm':
        return true(type_, 'KVM', message, value)
    remedy, hint = _remedy(nova, setting)
    message += ': guests do not run under KVM'
    if remedy is Remedy.FIX and kvm.condition.status is not Status.TRUE:
        # Never written before KVM is seen to work: every new guest would fail.
        remedy, hint = Remedy.NONE, '; it is set to kvm once KVM is usable'
    return false(type_, 'NotKVM', f'{message}{hint}', remedy, value)


def nova_config_current(observation: Observation) -> Judgement:
    """Judge whether nova-compute started after the last change of its files."""
    type_ = ConditionType.NOVA_CONFIG_CURRENT
    nova = observation.nova
    if nova is None:
        return unknown(type_, 'NotInstalled', 'no nova-compute and no configuration of one found')
    if isinstance(nova, Unread):
        return unread(type_, nova)
    process = nova.process
    if process is None:
        if not observation.live:
            return unknown(type_, 'Unreadable', 'a captured tree has no processes')
        return unknown(type_, 'NotRunning', 'nova-compute does not run; start it')
    if isinstance(process.started, Unread):
        return unread(type_, process.started)
    for file in nova.files:
        if isinstance(file.changed, Unread):
            return unread(type_, file.changed)
    changed = [file for file in nova.files if _seconds(file.changed) > process.started]
    observed = f'pid {process.pid}'
    if changed:
        latest = max(changed, key=lambda file: _seconds(file.changed))
        return unknown(
            type_,
            'ChangedSinceStart',
            f'{latest.path} was changed at {_clock(latest.changed)}, after nova-compute (pid '
            f'{process.pid}) started at {_clock(process.started)}: which values it runs with '
            'cannot be told; restart it',
            observed,
        )
    return true(
        type_,
        'StartedAfterChange',
        f'nova-compute (pid {process.pid}) started after its files were last changed'
        + _others(nova),
        observed,
    )


def _others(nova: NovaCompute) -> str:
    pids = ', '.join(str(pid) for pid in nova.others)
    return f'; another one runs here and was not looked at: pid {pids}' if pids else ''


def _seconds(value: float | Unread) -> float:
    return value if isinstance(value, float | int) else 0.0


def _clock(value: float | Unread) -> str:
    moment = datetime.datetime.fromtimestamp(_seconds(value), datetime.UTC)
    return moment.strftime('%Y-%m-%dT%H:%M:%SZ')
