"""All sources of this node, asked once: the Observation."""

import dataclasses
import socket
import time
from collections.abc import Mapping, Sequence

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
    Setting,
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


def observe(
    root: Root, drivers: loader.Loaded, sources: Sources
) -> tuple[Observation, Driver | None]:
    """Return the facts of this moment and the driver that fits the CPU."""
    now = time.time()
    processor = cpu.read(root)
    driver, problems = _choose(drivers, processor)
    running = kernel.read(root)
    modules = module.read(root, running.release)
    ours = _module(modules, driver)
    load = (
        next_load.read(root, driver.module, running, suspects=driver.suspects) if driver else None
    )
    compute = nova.read(root, config_files=sources.nova_files, config_dirs=sources.nova_directories)
    observation = Observation(
        host=sources.host or _nova_host(compute) or _hostname(root),
        root=str(root.base),
        live=root.live,
        time=now,
        boot_id=kernel.boot_id(root),
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


def _nova_host(compute: NovaCompute | Unread | None) -> str | None:
    if compute is None or isinstance(compute, Unread) or isinstance(compute.settings, Unread):
        return None
    setting = compute.settings.get('DEFAULT.host')
    if isinstance(setting, Setting) and isinstance(setting.value, str):
        return setting.value
    return None


def _hostname(root: Root) -> str:
    if root.live:
        return socket.gethostname()  # as nova's own default
    for name in ('/proc/sys/kernel/hostname', '/etc/hostname', '/sos_commands/host/hostname'):
        text = root.try_text(name)
        if isinstance(text, str) and text:
            return text.splitlines()[0]
    return 'unknown'
