"""Which line each option of the next load stands in."""

import bisect
import dataclasses
from collections.abc import Iterable

from nested_agent.facts import ModuleLine
from nested_agent.node import arguments, modprobe_d


def attributed(found: Iterable[ModuleLine], effective: tuple[str, ...]) -> tuple[ModuleLine, ...]:
    """Return the lines with the options that stand in each, cut as the kernel cuts the whole.

    A quote or ``--`` in one line reaches into the next ones, so no line can be cut by itself.

    :param effective: all options in force; where the lines in force do not come to these, it
        cannot be told which line set what, and none is said to
    """
    found = tuple(found)
    begins = [0]
    for line in filter(modprobe_d.sets, found):
        begins.append(begins[-1] + len(line.text) + 1)
    parts: list[list[str]] = [[] for _ in begins]
    for at, option in arguments.cut(f'{modprobe_d.options(found)} '):
        parts[bisect.bisect_right(begins, at) - 1].append(option)
    known = effective == tuple(option for part in parts for option in part)
    cut = iter(parts)
    result = []
    for line in found:
        own: Iterable[str] = ()
        if modprobe_d.sets(line):
            own = next(cut) if known else ()
        elif line.ignored and line.kind in modprobe_d.OPTIONS:
            own = arguments.split(line.text)
        result.append(dataclasses.replace(line, options=tuple(own)))
    return tuple(result)
