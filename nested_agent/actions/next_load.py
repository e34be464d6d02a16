"""What the next load of the module applies: whether that is as it should be, and as it is."""

from nested_agent.drivers.base import Driver, parse_nested
from nested_agent.exceptions import StepError
from nested_agent.facts import LoadKind, NextLoad, Observation
from nested_agent.model import ConditionType, Status
from nested_agent.report import Judged
from nested_agent.verify.effect import PARAMETER, effect, kernel_release, line_of
from nested_agent.verify.judgement import vendor_module

#: Reasons about what happens at boot alone: a load from the running system is right all the same.
AT_BOOT = frozenset({'StaleInitramfs', 'InitramfsUnreadable', 'Blacklisted'})


def proved(judged: Judged, wanted: bool) -> str:
    """Return what the next load applies, and what a person has to do for the boot, as a sentence.

    :param judged: by a policy that wants the same
    :raises StepError: it would not apply it; names the file and line that decide
    """
    condition = judged.verdict[ConditionType.NESTED_PERSISTENT].condition
    load, driver = judged.observation.next_load, judged.driver
    if driver is None or not isinstance(load, NextLoad) or load.kind is not LoadKind.MODULE:
        raise StepError(condition.message)
    release = kernel_release(judged.observation)
    found = effect(driver, load.module, load.options, release)
    if found.on(driver, release) != wanted:
        if condition.reason not in AT_BOOT:
            raise StepError(condition.message)
        line = line_of(load.lines, found.number)
        where = f'{line.where}: ' if line else ''
        raise StepError(f'{where}"{found.option}" decides what the next load of {load.module} does')
    if condition.status is not Status.TRUE and condition.reason not in AT_BOOT:
        raise StepError(condition.message)
    said = f'the next load of {load.module} has {driver.option(wanted)}'
    return f'{said}, but {condition.message}' if condition.reason in AT_BOOT else said


def differs(observation: Observation, driver: Driver) -> bool:
    """Whether the module is known to nest otherwise now than by the next load."""
    load, module = observation.next_load, vendor_module(observation, driver)
    if module is None or not isinstance(load, NextLoad) or load.kind is not LoadKind.MODULE:
        return False
    text = module.parameters.get(PARAMETER)
    now = parse_nested(text) if isinstance(text, str) else None
    release = kernel_release(observation)
    then = effect(driver, load.module, load.options, release).on(driver, release)
    return None not in (now, then) and now != then
