"""The Observation: all facts of one moment."""

import dataclasses
from collections.abc import Mapping

from nested_agent.facts.machine import CPU, Firmware, Holders, Kernel, KVMDevice, Module
from nested_agent.facts.next_load import BootEntry, NextLoad
from nested_agent.facts.nova import NovaCompute
from nested_agent.unread import Unread


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """All facts of one moment.

    :ivar root: ``/`` or the captured tree that was read
    :ivar live: whether this is the running node (else ioctls and processes are Unread)
    :ivar time: seconds since the epoch
    :ivar modules: the kvm modules present, by name
    :ivar hypervisors: modules of other hypervisors that are loaded (``vboxdrv``, ``vmmon``)
    :ivar next_load: None when no driver knows a module for this CPU
    :ivar boot_entries: for a built-in module, every entry of the boot loader's configuration;
        None for a loadable one, or where no such configuration is found
    :ivar holders: None when nothing holds the module (refcnt 0) or it is not loaded
    :ivar firmware: None when nothing suggested looking
    :ivar nova: None when no nova-compute and no configuration of one was found
    """

    host: str
    root: str
    live: bool
    time: float
    boot_id: str | Unread
    kernel: Kernel
    cpu: CPU | Unread
    driver: str | None
    driver_problems: tuple[str, ...]
    modules: Mapping[str, Module] | Unread
    hypervisors: tuple[str, ...] | Unread
    kvm: KVMDevice | Unread
    next_load: NextLoad | Unread | None
    boot_entries: tuple[BootEntry, ...] | Unread | None
    holders: Holders | Unread | None
    firmware: Firmware | None
    nova: NovaCompute | Unread | None
