"""Finds the drivers that are installed and picks the one for a CPU."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from stevedore import extension

from nested_agent.drivers.base import CPUIDBit, Driver
from nested_agent.facts import CPU

NAMESPACE = 'nested_agent.drivers'


class Loaded(NamedTuple):
    """The drivers that could be loaded, by name, and a sentence for each that could not."""

    drivers: tuple[Driver, ...]
    problems: tuple[str, ...]


@functools.cache
def load() -> Loaded:
    """Load every driver once; one that fails is reported, never fatal."""
    problems = []

    def failed(_manager: object, entry_point: object, error: BaseException) -> None:
        name = getattr(entry_point, 'name', entry_point)
        problems.append(f'driver {name} cannot be loaded: {type(error).__name__}: {error}')

    manager: extension.ExtensionManager[Any] = extension.ExtensionManager(
        NAMESPACE, on_load_failure_callback=failed
    )
    drivers = []
    for each in sorted(manager, key=lambda found: str(found.name)):
        try:
            driver = each.plugin()
        except Exception as error:  # noqa: BLE001  # another party's code; reported
            failed(manager, each, error)
            continue
        if not isinstance(driver, Driver):
            problems.append(f'driver {each.name} is no {Driver.__module__}.{Driver.__name__}')
        elif wrong := _wrong_attributes(driver):
            problems.append(f'driver {each.name} is not used: {", ".join(wrong)} not as described')
        else:
            drivers.append(driver)
    return Loaded(tuple(drivers), tuple(problems))


def _wrong_attributes(driver: Driver) -> list[str]:
    """Return the attributes that are not of the type the contract names."""
    texts = ('name', 'module', 'flag')
    wrong = [
        name
        for name in texts
        if not isinstance(value := getattr(driver, name, None), str) or not value
    ]
    feature = getattr(driver, 'feature', None)
    if (
        not isinstance(feature, CPUIDBit)
        or feature.register not in ('eax', 'ebx', 'ecx', 'edx')
        or not isinstance(feature.leaf, str)
        or feature.bit not in range(32)
    ):
        wrong.append('feature')
    suspects = driver.suspects
    if not isinstance(suspects, tuple) or not all(isinstance(each, str) for each in suspects):
        wrong.append('suspects')
    if not isinstance(driver.parameters, Mapping):
        wrong.append('parameters')
    return wrong


def choose(loaded: Loaded, cpu: CPU) -> tuple[Driver | None, tuple[str, ...]]:
    """Return the driver that fits best, or None, and what went wrong on the way.

    Of two that fit alike the first by name is taken, and that is said.
    """
    problems = list(loaded.problems)
    fitting = []
    for driver in loaded.drivers:
        try:
            fit = driver.fits(cpu)
            if fit > 0:
                fitting.append((fit, driver))
        except Exception as error:  # noqa: BLE001  # another party's code; reported
            problems.append(f'driver {driver.name} failed: {type(error).__name__}: {error}')
    if not fitting:
        return None, tuple(problems)
    best = max(fit for fit, _ in fitting)
    ties = [driver for fit, driver in fitting if fit == best]
    if len(ties) > 1:
        names = ', '.join(driver.name for driver in ties)
        problems.append(f'drivers {names} fit alike; {ties[0].name} is used')
    return ties[0], tuple(problems)
