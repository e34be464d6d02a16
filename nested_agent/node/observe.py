"""All sources of this node, asked once: the Observation."""

import dataclasses
import socket
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nested_agent.drivers import loader
from nested_agent.drivers.base import Driver
from nested_agent.facts import (
    CPU,
    Firmware,
    Holders,
    LoadKind,
    Module,
    NextLoad,
    NovaCompute,
    Observation,
    Unread,
)
from nested_agent.node import (
    boot_config,
    cpu,
    firmware,
    holders,
    kernel,
    kvm,
    module,
    next_load,
    nova,
)
from nested_agent.node.root import Root


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """Where to look, beyond what the node itself tells.

    :ivar host: name to report under; None: nova-compute's own, else the host name
    :ivar nova_files: configuration files of a nova-compute that does not run
    :ivar nova_directories: its configuration directories
    """

    host: str | None = None
    nova_files: Sequence[str] = ()
    nova_directories: Sequence[str] = ()


class Last(NamedTuple):
    """The name the node was last reported under, and in which boot."""

    host: str
    boot_id: str | None


def observe(
    root: Root, drivers: loader.Loaded, sources: Sources, last: Last | None = None
) -> tuple[Observation, Driver | None]:
    """Return the facts of this moment and the driver that fits the CPU.

    :param last: that name stays the node's while nova-compute's own cannot be told
    """
    now = time.time()
    processor = cpu.read(root)
    driver, problems = _choose(drivers, processor)
    running = kernel.read(root)
    modules = module.read(root, running.release)
    ours = _module(modules, driver)
    load = (
        next_load.read(root, driver.module, running, suspects=driver.suspects) if driver else None
    )
    boot_id = kernel.boot_id(root)
    compute = nova.read(root, config_files=sources.nova_files, config_dirs=sources.nova_directories)
    observation = Observation(
        host=sources.host or _nova_host(compute, last, boot_id) or _hostname(root),
        root=str(root.base),
        live=root.live,
        time=now,
        boot_id=boot_id,
        kernel=running,
        cpu=processor,
        driver=driver.name if driver else None,
        driver_problems=problems,
        modules=modules,
        hypervisors=module.hypervisors(root),
        kvm=kvm.read(root),
        next_load=load,
        boot_entries=(
            boot_config.read(root, load.module)
            if isinstance(load, NextLoad) and load.kind is LoadKind.BUILTIN
            else None
        ),
        holders=_holders(root, ours),
        firmware=_firmware(root, processor, driver, ours),
        nova=compute,
    )
    return observation, driver


def _choose(
    drivers: loader.Loaded, processor: CPU | Unread
) -> tuple[Driver | None, tuple[str, ...]]:
    if isinstance(processor, Unread):
        return None, drivers.problems
    return loader.choose(drivers, processor)


def _module(modules: Mapping[str, Module] | Unread, driver: Driver | None) -> Module | None:
    if driver is None or isinstance(modules, Unread):
        return None
    return modules.get(driver.module)


def _holders(root: Root, ours: Module | None) -> Holders | Unread | None:
    # The scan costs; refcnt 0 already says that there is nobody.
    if ours is None or ours.refcnt == 0 or ours.refcnt is None:
        return None
    return holders.read(root)


def _firmware(
    root: Root, processor: CPU | Unread, driver: Driver | None, ours: Module | None
) -> Firmware | None:
    if driver is None or isinstance(processor, Unread):
        return None
    if driver.flag in processor.flags and ours is not None:
        return None
    return firmware.read(root)


def _nova_host(
    compute: NovaCompute | Unread | None, last: Last | None, boot_id: str | Unread
) -> str | None:
    """Return the name Nova knows the node by; None: the host name, as far as is known."""
    # Under another name it would be another node to everybody else.
    known = last.host if last else None
    if compute is None:
        # That of a container may only be down for a moment, and its files with it.
        return known if last and last.boot_id == boot_id else None
    # Without any file nova-compute does not run: what it has read is gone.
    if isinstance(compute, Unread) or isinstance(compute.settings, Unread) or not compute.files:
        return known
    host = compute.settings['DEFAULT.host'].value
    if isinstance(host, Unread):
        return known
    return host if isinstance(host, str) else None


def _hostname(root: Root) -> str:
    if root.live:
        return socket.gethostname()  # as nova's own default
    for name in ('/proc/sys/kernel/hostname', '/etc/hostname', '/sos_commands/host/hostname'):
        text = root.try_text(name)
        if isinstance(text, str) and text:
            return text.splitlines()[0]
    return 'unknown'
