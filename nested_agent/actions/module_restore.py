"""A module put back as it was, whatever became of it meanwhile."""

from collections.abc import Mapping

from nested_agent.actions import kmod, kvm_device
from nested_agent.actions.module_record import ModuleRecord, options
from nested_agent.actions.site import Site
from nested_agent.exceptions import BusyError, StepError
from nested_agent.facts import Module, ModuleState
from nested_agent.verify.effect import PARAMETER


def restore(site: Site, before: ModuleRecord) -> str:
    """Load or unload a module so that it is as recorded, and return what was done, as a clause.

    :raises StepError: it could not be done; says what is left to do by hand
    """
    name = before.module
    now = kmod.settled(site, name)
    if now is not None and now.state is ModuleState.BUILTIN:
        return f'{name} is built in'
    done = f'{name} is as it was'
    if not _same(now, before.parameters):
        problems = _reload(site, before, now)
        done = f'{name} is {"unloaded" if before.parameters is None else "loaded"} again'
        done += (
            f', {"; ".join(problems)}' if problems else ' as it was' if before.parameters else ''
        )
    if before.parameters is None:
        return done
    device = kvm_device.restore(site, before.device)
    return f'{done}; {device}' if device else done


class _LoadedByAnotherError(StepError):
    """Our load found the module loaded already: by the modprobe of somebody who was killed."""


def _reload(site: Site, before: ModuleRecord, now: Module | None) -> list[str]:
    """Unload what is there and load what was; returns what is not as it was, each as a clause.

    Once more where a load came in between that nobody waits for any more.
    """
    for last in (False, True):
        if now is not None:
            _unload(site, now)
        try:
            return _load(site, before)
        except _LoadedByAnotherError:
            if last:
                raise
            now = kmod.settled(site, before.module)
    return []


def _same(now: Module | None, parameters: Mapping[str, str] | None) -> bool:
    """Whether a module never was reloaded, or has everything back that can be given back."""
    if now is None or parameters is None:
        return now is None and parameters is None
    texts = {key: text for key, text in now.parameters.items() if isinstance(text, str)}
    return set(options(texts)) == set(options(parameters))


def _unload(site: Site, now: Module) -> None:
    try:
        kmod.require_idle(site, now.name)
        kmod.unload(site, now.name)
    except BusyError as error:
        raise StepError(
            f'{error}, so it stays loaded with {PARAMETER}={now.parameters.get(PARAMETER)}; once '
            f'it is idle, "modprobe -r {now.name} && modprobe {now.name}" loads it as configured'
        ) from error


def _load(site: Site, before: ModuleRecord) -> list[str]:
    """Load what was loaded, and return what is not as it was, each as a clause."""
    problems = []
    for each in reversed(before.loaded):
        # A load that failed leaves what it had loaded before, with other parameters.
        now = kmod.find(site, each.name)
        if now is not None and not _same(now, each.parameters):
            try:
                kmod.unload(site, each.name)
            except StepError as error:
                problems.append(f'not with its parameters of before: {error}')
    for each in before.loaded:
        if each.name == before.module:
            problems += _load_vendor(site, each.name, each.parameters)
        elif kmod.find(site, each.name) is None:
            # Before the module that needs it, whose load would give it other parameters.
            try:
                kmod.load_with(site, each.name, options(each.parameters))
            except StepError as error:
                problems.append(f'not with its parameters of before: {error}')
    return problems


def _load_vendor(site: Site, name: str, parameters: Mapping[str, str]) -> list[str]:
    """Load a module with its parameters, else with the one that matters, else somehow."""
    nested = parameters[PARAMETER]
    problems = []
    for words, given in (
        ('with all its parameters', options(parameters)),
        (f'with {PARAMETER} alone', options({PARAMETER: nested})),
        ('as configured', None),
    ):
        try:
            if given is None:
                kmod.load(site, name)
            else:
                kmod.load_with(site, name, given)
        except StepError as error:
            problems.append(f'not {words}: {error}')
            continue
        break
    found = kmod.settled(site, name)
    if found is None:
        raise StepError(
            f'KVM is gone from this node: {"; ".join(problems)}; find the cause in the kernel log '
            f'(dmesg), then "modprobe {name}" or reboot'
        )
    now = found.parameters.get(PARAMETER)
    if now != nested:
        told = f'{name} is loaded, but with {PARAMETER}={now} instead of {nested}'
        if not problems:
            raise _LoadedByAnotherError(told)
        raise StepError('; '.join((told, *problems)))
    return problems
