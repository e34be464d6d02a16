"""Judge of NestedPersistent where the module is built in: what the next boot will apply."""

from collections.abc import Sequence

from nested_agent.drivers.base import Driver, LoadValue
from nested_agent.facts import NextLoad, Observation, Unread
from nested_agent.model import ConditionType
from nested_agent.policy import Policy
from nested_agent.verify.effect import effect, kernel_release, names_parameter
from nested_agent.verify.judgement import ON_OFF, Judgement, Remedy, false, true, unknown, unread

_TYPE = ConditionType.NESTED_PERSISTENT
_SHOWN = 3


def built_in(observation: Observation, policy: Policy, driver: Driver, load: NextLoad) -> Judgement:
    """Judge by every boot entry, for any may be booted, taking them for this kernel's.

    Only ``nested`` counts: another argument the kernel does not take it passes over.
    """
    found = observation.boot_entries
    if isinstance(found, Unread):
        return unread(_TYPE, found)
    if found is None:  # booted from elsewhere: the best witness is how it was booted this time
        here = next((str(line.where) for line in load.lines if not line.ignored), 'this boot')
        entries = [(here, load.options)]
    else:
        entries = [(str(entry.where), entry.options) for entry in found]
    advice = (
        f'{driver.module} is built in: add "{driver.kernel_argument(policy.wanted)}" to the '
        "kernel command line in the boot loader's configuration and reboot"
    )
    release = kernel_release(observation)
    places: dict[bool, list[str]] = {}
    for place, options in entries:
        nested = [option for option in options if names_parameter([option])]
        outcome = effect(driver, driver.module, nested, release)
        on = outcome.on(driver, release)
        if outcome.value in (LoadValue.FATAL, LoadValue.UNKNOWN):
            message = f'{place}: what this kernel makes of "{outcome.option}" is not certain'
            return unknown(_TYPE, 'DependsOnKernel', f'{message}; {advice}', remedy=Remedy.PERSON)
        if on is None:
            message = f"{place} does not set nested, and this kernel's default is not known"
            return unknown(_TYPE, 'KernelDefault', f'{message}; {advice}', remedy=Remedy.PERSON)
        places.setdefault(on, []).append(place)
    if len(places) > 1:
        message = '; '.join(f'{ON_OFF[on]} with {_list(places[on])}' for on in places)
        message = f'nested would be {message}; {advice}, for every entry'
        return unknown(_TYPE, 'BootEntriesDisagree', message, remedy=Remedy.PERSON)
    ((on, where),) = places.items()
    if any(names_parameter(options) for _, options in entries):
        reason, message = 'KernelArgument', f'{_list(where)}: nested is {ON_OFF[on]} at every boot'
    else:
        reason, message = 'KernelDefault', f"the kernel's default for nested is {ON_OFF[on]}"
    if on == policy.wanted:
        return true(_TYPE, reason, f'{message} ({driver.module} is built in)', ON_OFF[on])
    return false(_TYPE, 'BuiltIn', f'{message}; {advice}', Remedy.PERSON, ON_OFF[on])


def _list(places: Sequence[str]) -> str:
    more = len(places) - _SHOWN
    return ', '.join(places[:_SHOWN]) + (f' and {more} more' if more > 0 else '')
