"""What the judges of nova-compute share: its usable settings, and who can change them."""

from collections.abc import Iterable, Mapping

from nested_agent.drivers.base import GuestCPU
from nested_agent.facts import (
    KEEPS_NOVA_FROM_STARTING,
    Location,
    Manager,
    NovaCompute,
    NovaProcess,
    Observation,
    Setting,
    Unread,
)
from nested_agent.guest_cpu import FLAGS, MODE, MODELS, refusal
from nested_agent.model import ConditionType, Status
from nested_agent.policy import Policy
from nested_agent.verify.judgement import Judgement, Remedy, unknown, unread

VIRT_TYPE = 'libvirt.virt_type'
COMPUTE_DRIVER = 'DEFAULT.compute_driver'

#: The agent's own file in a configuration directory that nova-compute reads last.
OWN_FILE = 'zz-nested-agent.conf'

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


def usable(
    type_: ConditionType, observation: Observation, options: Iterable[str]
) -> tuple[NovaCompute, Mapping[str, Setting]] | Judgement:
    """Return nova's settings, every one of ``options`` with a value, or why there are none.

    There are none either if another option keeps nova-compute from working: it would not come
    back from a restart.
    """
    nova = observation.nova
    if nova is None:
        return unknown(type_, 'NotInstalled', 'no nova-compute and no configuration of one found')
    if isinstance(nova, Unread):
        return unread(type_, nova)
    if isinstance(nova.settings, Unread):
        return config_invalid(type_, nova) or unread(type_, nova.settings)
    name = text(nova.settings.get(COMPUTE_DRIVER))
    if name is not None and not name.startswith('libvirt.'):
        return unknown(type_, 'NotLibvirt', f'nova-compute uses {name}, not libvirt', name)
    invalid = config_invalid(type_, nova)
    if invalid:
        return invalid
    for option in (COMPUTE_DRIVER, *options):
        setting = nova.settings.get(option)
        if setting and isinstance(setting.value, Unread):
            fault = setting.value
            return unknown(type_, 'Unresolved', f'{fault.source}: {option}: {fault.detail}')
    return nova, nova.settings


def config_invalid(type_: ConditionType, nova: NovaCompute) -> Judgement | None:
    """Return that a person must mend nova's configuration before anything can be said, if so."""
    if isinstance(nova.settings, Unread):
        faults = [nova.settings] if nova.settings.error in KEEPS_NOVA_FROM_STARTING else []
    else:
        values = (setting.value for setting in nova.settings.values())
        faults = [
            value for value in values if isinstance(value, Unread) and value.error != 'Unresolved'
        ]
    if not faults:
        return None
    message = f'{faults[0].source}: {faults[0].detail}; nova-compute cannot work with it'
    return unknown(type_, 'ConfigInvalid', f'{message}, mend it by hand', remedy=Remedy.PERSON)


def unstartable(nova: NovaCompute) -> str | None:
    """Return why nova-compute would not start with these settings, None if nothing says so."""
    invalid = config_invalid(ConditionType.GUEST_CPU, nova)
    if invalid:
        return invalid.condition.message
    if isinstance(nova.settings, Unread):
        return None
    name = text(nova.settings.get(COMPUTE_DRIVER))
    if name is not None and not name.startswith('libvirt.'):
        return None
    refused = refusal(guest_cpu_settings(nova.settings))
    return refused[1] if refused else None


def unless_overridden(observation: Observation, judgement: Judgement) -> Judgement:
    """Return the judgement, or that nova's environment, which beats its files, is not known."""
    nova = observation.nova
    condition = judgement.condition
    if not isinstance(nova, NovaCompute) or condition.status is Status.UNKNOWN:
        return judgement
    hidden = nova.process
    if isinstance(hidden, NovaProcess):
        hidden = hidden.environment if isinstance(hidden.environment, Unread) else None
    if hidden is None:
        return judgement
    why = unread(condition.type, hidden).condition
    message = f'{condition.message}; whether a running nova-compute says otherwise: {why.message}'
    return unknown(condition.type, why.reason, message, condition.observed)


def text(setting: Setting | None) -> str | None:
    """Return a value that is one text, None where it is unset."""
    value = setting.value if setting else None
    return value if isinstance(value, str) else None


def _list(setting: Setting | None) -> tuple[str, ...]:
    value = setting.value if setting else None
    return value if isinstance(value, tuple) else ()


def place(setting: Setting | None) -> str:
    """Return where a value is from as the beginning of a message."""
    return f'{setting.where}: ' if setting and setting.where else ''


def guest_cpu_settings(settings: Mapping[str, Setting]) -> GuestCPU:
    """Return the four settings as a driver wants them; nova's defaults where unset."""
    return GuestCPU(
        text(settings.get(VIRT_TYPE)) or 'kvm',
        text(settings.get(MODE)),
        _list(settings.get(MODELS)),
        _list(settings.get(FLAGS)),
    )


def file_to_set(nova: NovaCompute, setting: Setting | None) -> str | None:
    """Return the file where a new value of an option will be in force, or None.

    Where it is in force now, else the last file that is read; or, where that is in a directory of
    small files, a small file of the agent's own behind it.
    """
    if setting and isinstance(setting.where, Location):
        return setting.where.file
    # --config-file /dev/null is how the default files are turned off.
    files = [file.path for file in nova.files if not file.path.startswith('/dev/')]
    if not files:
        return None
    directory, _, last = files[-1].rpartition('/')
    listed = directory in {each.path for each in nova.directories} and last.endswith('.conf')
    # A file that was named as well makes a directory look as if it were read last.
    if listed and directory.endswith('.d') and files.count(files[-1]) == 1 and last < OWN_FILE:
        return f'{directory}/{OWN_FILE}'
    return files[-1]


def who_changes(
    nova: NovaCompute, settings: Mapping[str, Setting], options: Iterable[str], policy: Policy
) -> tuple[Remedy, str]:
    """Return who can change these options, and what to add to the message."""
    files = []
    for option in options:
        setting = settings.get(option)
        if setting and isinstance(setting.where, str):
            hint = f'; {setting.where} comes from the environment of nova-compute'
            return Remedy.PERSON, hint
        file = file_to_set(nova, setting)
        if file is None:
            return Remedy.PERSON, '; nova-compute reads no file that could say so'
        files.append(file)
    if nova.manager in PLACE_TO_CHANGE:
        change = PLACE_TO_CHANGE[nova.manager]
        return Remedy.PERSON, f'; managed by {nova.manager}, change {change}'
    if nova.root != '/':
        return Remedy.PERSON, (
            f'; nova-compute has files of its own ({nova.root}: by a container, or mounts of its '
            "unit or the agent's), change what they are made from"
        )
    if not policy.manage_nova:
        where = ', '.join(dict.fromkeys(files))
        return Remedy.PERSON, (
            f'; [nova] manage_config is false, so change it where {where} is written from'
        )
    return Remedy.FIX, ''
