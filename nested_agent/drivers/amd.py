"""SVM: kvm_amd, for AMD and Hygon processors."""

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
from nested_agent.drivers.parameters import Parser, boolean, integer
from nested_agent.facts import CPU


class AMDDriver(Driver):
    """Facts of kvm_amd (arch/x86/kvm/svm/svm.c) and of what QEMU does to named AMD models."""

    name = 'amd'
    module = 'kvm_amd'
    flag = 'svm'
    feature = CPUIDBit('0x80000001', 'ecx', 2)
    suspects = ('kvm', 'amd', 'svm', 'kvm_svm')
    # avic is left out: int, bool and a parser of its own, which takes "auto".
    parameters: ClassVar[Mapping[str, tuple[Parser, ...]]] = {
        'npt': (integer, boolean),  # an int before Linux 5.13
        'nrips': (integer,),
        'vls': (integer,),
        'vgif': (integer,),
        'lbrv': (integer,),
        'tsc_scaling': (integer,),
        'intercept_smi': (boolean,),
        'dump_invalid_vmcb': (boolean,),
    }

    def fits(self, cpu: CPU) -> int:
        """AMD's, and Hygon's, which share the design."""
        return 10 if cpu.vendor in ('AuthenticAMD', 'HygonGenuine') else 0

    def load_value(self, text: str | None, release: str) -> LoadValue:
        """An int: what kstrtoint does not take keeps the module from loading."""
        return integer(text, release)

    def kernel_default(self, release: str) -> bool | None:
        """On since 2009 (commit 4b6e4dca701), which is before any release in use."""
        return None if kernel_version(release) is None else True

    def missing_below(self, release: str) -> str | None:
        """Nested state can be saved and restored from Linux 5.8 on (commit cc440cdad5b7)."""
        version = kernel_version(release)
        if version is None or version >= (5, 8):
            return None
        return 'below Linux 5.8 guests that nest on kvm_amd cannot be migrated or saved'

    def degraded(self, parameters: dict[str, str]) -> tuple[str, ...]:
        """Without nested paging nested guests run on shadow page tables."""
        if parameters.get('npt') in ('0', 'N'):
            return (
                f'npt={parameters["npt"]}: guests get no nested paging: Hyper-V does not run in '
                'them, KVM runs slowly',
            )
        return ()

    def named_model_exposes(self, guest: GuestCPU) -> Exposure:
        """QEMU sets svm=off for every named model under KVM, and host-model becomes one."""
        if guest.cpu_mode == 'custom':
            models = ', '.join(guest.cpu_models) or 'none'
            return Exposure(
                False,
                'ModelWithoutFlag',
                f'cpu_mode custom (cpu_models: {models}): QEMU switches svm off in every named '
                'model',
            )
        mode = 'cpu_mode host-model' if guest.cpu_mode else 'cpu_mode unset (host-model)'
        return Exposure(
            False,
            'HostModelWithoutFlag',
            f'{mode} does not include svm on AMD: QEMU switches it off in every named model',
        )
