"""What module options come to, as the kernel applies them, and which line stands behind that."""

import dataclasses
from collections.abc import Iterable

from nested_agent.drivers.base import Driver, LoadValue
from nested_agent.facts import ModuleLine, Observation

PARAMETER = 'nested'

_ON = {LoadValue.ON: True, LoadValue.OFF: False}


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """The option that decides: the first that keeps the module from loading, else the last nested.

    :ivar value: None when no option decides, so that the kernel's default is in force
    :ivar number: its place among the options
    """

    value: LoadValue | None = None
    option: str = ''
    number: int | None = None

    @property
    def fatal(self) -> bool:
        """Whether the module does not load at all."""
        return self.value is LoadValue.FATAL

    def on(self, driver: Driver, release: str) -> bool | None:
        """Return whether nesting is on then; None where it cannot be told."""
        if self.value is None:
            return driver.kernel_default(release)
        return _ON.get(self.value)


def effect(driver: Driver, module: str, options: Iterable[str], release: str) -> Effect:
    """Return what decides about a module, the driver's own or one it depends on."""
    found = Effect()
    for number, option in enumerate(options):
        name, equals, text = option.partition('=')
        written = text if equals else None
        if name == PARAMETER and module == driver.module:
            found = Effect(driver.load_value(written, release), option, number)
        elif driver.refuses(module, name, written, release):
            found = Effect(LoadValue.FATAL, option, number)
        if found.fatal:
            break
    return found


def line_of(lines: Iterable[ModuleLine], number: int | None) -> ModuleLine | None:
    """Return the line that the option of this number stands in; None where that is not known."""
    if number is None:
        return None
    for line in lines:
        if line.ignored is None:
            if number < len(line.options):
                return line
            number -= len(line.options)
    return None


def names_parameter(options: Iterable[str]) -> bool:
    """Whether one of the options is ``nested``."""
    return any(option.partition('=')[0] == PARAMETER for option in options)


def kernel_release(observation: Observation) -> str:
    """Return the release of the running kernel; empty, which no driver knows, if unreadable."""
    release = observation.kernel.release
    return release if isinstance(release, str) else ''
