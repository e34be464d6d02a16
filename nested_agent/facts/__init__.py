"""What was observed on a node at one moment: the Observation and its parts.

Every fact is either its value or an :class:`Unread` that says why there is none;
``None`` always means "looked, and it is not there". Nothing here judges.
"""

from nested_agent.facts.machine import (
    CPU,
    CPUIDLeaf,
    Firmware,
    Holder,
    Holders,
    Kernel,
    KVMDevice,
    Module,
    ModuleState,
)
from nested_agent.facts.next_load import (
    BootEntry,
    Dependency,
    Initramfs,
    LineKind,
    LoadKind,
    ModuleLine,
    NextLoad,
)
from nested_agent.facts.nova import (
    KEEPS_NOVA_FROM_STARTING,
    ConfigFile,
    Manager,
    NovaCompute,
    NovaProcess,
    Occurrence,
    Setting,
)
from nested_agent.facts.observation import (
    Observation,
)
from nested_agent.unread import (
    Location,
    Unread,
)

__all__ = [
    'CPU',
    'KEEPS_NOVA_FROM_STARTING',
    'BootEntry',
    'CPUIDLeaf',
    'ConfigFile',
    'Dependency',
    'Firmware',
    'Holder',
    'Holders',
    'Initramfs',
    'KVMDevice',
    'Kernel',
    'LineKind',
    'LoadKind',
    'Location',
    'Manager',
    'Module',
    'ModuleLine',
    'ModuleState',
    'NextLoad',
    'NovaCompute',
    'NovaProcess',
    'Observation',
    'Occurrence',
    'Setting',
    'Unread',
]
