"""Module parameters that were set while the module ran, and that a reload would lose.

tuned, for one, writes ``halt_poll_ns`` into sysfs, where no modprobe.d file knows of it.
"""

from collections.abc import Iterator

from nested_agent.actions import kmod
from nested_agent.actions.module_record import ModuleRecord, options
from nested_agent.actions.site import Site
from nested_agent.facts import NextLoad
from nested_agent.node import module
from nested_agent.verify.effect import PARAMETER


def keep(site: Site, before: ModuleRecord) -> list[str]:
    """Give parameters that no option sets the values they had; return what became of each.

    A parameter that can only be set by a load keeps the value the configuration gave it.
    """
    configured = _configured(site)
    return [
        _give(site, name, parameter, text)
        for name, parameter, text in _lost(site, before)
        if (name, parameter) not in configured
    ]


def _configured(site: Site) -> set[tuple[str, str]]:
    load = site.look().observation.next_load
    if not isinstance(load, NextLoad):
        return set()
    given = {load.module: load.options}
    given |= {name: each.options for name, each in load.dependencies.items()}
    return {
        (name, option.partition('=')[0].replace('-', '_'))
        for name, each in given.items()
        for option in each
    }


def _lost(site: Site, before: ModuleRecord) -> Iterator[tuple[str, str, str]]:
    for each in before.loaded:
        now = kmod.find(site, each.name)
        for option in options(each.parameters) if now else ():
            parameter, _, text = option.partition('=')
            found = now.parameters.get(parameter) if now else None
            if parameter != PARAMETER and isinstance(found, str) and found != text:
                yield each.name, parameter, text


def _give(site: Site, name: str, parameter: str, text: str) -> str:
    path = site.root.path(module.parameter(name, parameter))
    try:
        if path.stat().st_mode & 0o222:
            path.write_text(text)
            return f'{name} {parameter}={text}, which no file sets, was set again'
    except OSError as error:
        return f'{name} {parameter} was {text}, which cannot be set again: {error.strerror}'
    return f'{name} {parameter} was {text}, which no file sets and only a load can set'
