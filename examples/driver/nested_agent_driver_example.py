"""XVM: kvm_example, for the processors of Example Chips, which do not exist.

In a real driver every fact names its source: the kernel's file, libvirt's CPU map, QEMU's code.
"""

from collections.abc import Mapping
from typing import ClassVar

from nested_agent.drivers.base import (
    CPUIDBit,
    Driver,
    Exposure,
    GuestCPU,
    LoadValue,
    kernel_version,
)
from nested_agent.drivers.parameters import Parser, boolean
from nested_agent.facts import CPU


class ExampleDriver(Driver):
    """Facts of kvm_example; nothing here looks at the node."""

    name = 'example'
    module = 'kvm_example'
    flag = 'xvm'
    # Leaf 0xC0000001 of CPUID, bit 7 of EDX.
    feature = CPUIDBit('0xc0000001', 'edx', 7)
    # What people write in modprobe.d where they mean kvm_example.
    suspects = ('kvm', 'example', 'xvm')
    # With a value that is no bool the module does not load.
    parameters: ClassVar[Mapping[str, tuple[Parser, ...]]] = {'two_level_paging': (boolean,)}

    def fits(self, cpu: CPU) -> int:
        """As well as a built-in driver: 10. More would take processors away from one of those."""
        return 10 if cpu.vendor == 'ExampleChips' else 0

    def load_value(self, text: str | None, release: str) -> LoadValue:
        """``nested`` of kvm_example is a bool."""
        return boolean(text, release)

    def kernel_default(self, release: str) -> bool | None:
        """On since Linux 6.6, off before."""
        version = kernel_version(release)
        return None if version is None else version >= (6, 6)

    def missing_below(self, release: str) -> str | None:
        """Nested state cannot be saved before Linux 6.9."""
        version = kernel_version(release)
        if version is None or version >= (6, 9):
            return None
        return 'below Linux 6.9 guests that nest on kvm_example cannot be migrated or saved'

    def degraded(self, parameters: dict[str, str]) -> tuple[str, ...]:
        """Without paging of two levels nested guests are slow."""
        if parameters.get('two_level_paging') == 'N':
            return ('two_level_paging=N: nested guests run on shadow page tables',)
        return ()

    def named_model_exposes(self, guest: GuestCPU) -> Exposure:
        """host-model includes xvm, no named model of libvirt does."""
        if guest.cpu_mode == 'custom':
            models = ', '.join(guest.cpu_models)
            text = f'cpu_mode custom (cpu_models: {models}): no named model includes xvm'
            return Exposure(False, 'ModelWithoutFlag', text)
        return Exposure(True, 'HostModel', 'cpu_mode host-model includes xvm')
