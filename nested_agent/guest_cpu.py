"""What nova's guest CPU settings should become. Pure; verify asks whether, plan asks how."""

import dataclasses
from collections.abc import Mapping

from nested_agent.drivers.base import Driver, GuestCPU
from nested_agent.drivers.flags import parse_flag
from nested_agent.policy import ANY_EXPOSING, FixCPUMode, Policy

MODE = 'libvirt.cpu_mode'
MODELS = 'libvirt.cpu_models'
FLAGS = 'libvirt.cpu_model_extra_flags'


def edits(guest: GuestCPU, policy: Policy, driver: Driver) -> Mapping[str, str | None]:
    """Return the options to change and their new text, None to be without it.

    Empty where nothing is to change or no change of them would do.
    """
    wish = mended(guest, policy, driver)
    if wish is None:
        return {}
    pairs = (
        (MODE, guest.cpu_mode, wish.cpu_mode),
        (MODELS, ','.join(guest.cpu_models), ','.join(wish.cpu_models)),
        (FLAGS, ','.join(guest.extra_flags), ','.join(wish.extra_flags)),
    )
    return {option: after or None for option, before, after in pairs if before != after}


def mended(guest: GuestCPU, policy: Policy, driver: Driver) -> GuestCPU | None:
    """Return the settings closest to the present ones that the policy accepts.

    None where no change of them would do (cpu_mode none asked for, custom without models).
    virt_type is taken to be kvm: it has a condition of its own.
    """
    if not policy.wanted:
        rest = [each for each in guest.extra_flags if not requires(each, driver)]
        return dataclasses.replace(guest, extra_flags=tuple(rest))
    if policy.cpu_mode != ANY_EXPOSING:
        return _with_flag(guest, policy.cpu_mode, driver)
    if policy.fix_cpu_mode is FixCPUMode.KEEP:
        return _with_flag(guest, guest.cpu_mode, driver)
    # Models left behind, say: the mode is good once they are gone.
    same = _in_mode(guest, guest.cpu_mode, guest.extra_flags)
    if _will_do(same, driver):
        return same
    return _with_flag(guest, 'host-passthrough', driver)


def _in_mode(guest: GuestCPU, mode: str | None, flags: tuple[str, ...]) -> GuestCPU:
    return GuestCPU('kvm', mode, guest.cpu_models if mode == 'custom' else (), flags)


def _with_flag(guest: GuestCPU, mode: str | None, driver: Driver) -> GuestCPU | None:
    for flags in (guest.extra_flags, (*guest.extra_flags, driver.flag)):
        wish = _in_mode(guest, mode, flags)
        if _will_do(wish, driver):
            return wish
    return None


def _will_do(guest: GuestCPU, driver: Driver) -> bool:
    return driver.exposes(guest).exposed is True and refusal(guest) is None


def requires(flag: str, driver: Driver) -> bool:
    """Whether one entry of ``cpu_model_extra_flags`` asks for the driver's flag."""
    return parse_flag(flag) == (driver.flag, True)


def refusal(guest: GuestCPU) -> tuple[str, str] | None:
    """Return why nova-compute would refuse to start, as reason and clause, or None.

    Source: ``_check_cpu_compatibility`` of nova's virt/libvirt/driver.py.
    """
    if guest.virt_type not in ('kvm', 'qemu') and guest.cpu_mode not in (None, 'none'):
        return 'ModeWithoutKVM', (
            f'cpu_mode {guest.cpu_mode} with virt_type {guest.virt_type} keeps nova-compute from '
            'starting'
        )
    if guest.cpu_models and guest.cpu_mode != 'custom':
        return 'ModelsLeftBehind', (
            f'cpu_models ({", ".join(guest.cpu_models)}) without cpu_mode custom keeps '
            'nova-compute from starting; remove it'
        )
    if guest.cpu_mode == 'custom' and not guest.cpu_models:
        return (
            'ModelsMissing',
            'cpu_mode custom without cpu_models keeps nova-compute from starting',
        )
    return None
