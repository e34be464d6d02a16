"""VMX: kvm_intel, for Intel and Zhaoxin processors."""

from nested_agent.drivers.base import (
    CPUIDBit,
    Driver,
    Exposure,
    GuestCPU,
    LoadValue,
    kernel_version,
)
from nested_agent.drivers.parameters import boolean
from nested_agent.facts import CPU

# Enterprise kernels carry parts of newer ones under an old version number.
_BACKPORTING = ('.el7', '.el8')


class IntelDriver(Driver):
    """Facts of kvm_intel (arch/x86/kvm/vmx/vmx.c) and of libvirt's Intel CPU models."""

    name = 'intel'
    module = 'kvm_intel'
    flag = 'vmx'
    feature = CPUIDBit('0x1', 'ecx', 5)
    suspects = ('kvm', 'intel', 'vmx', 'kvm_vmx')
    parameters = dict.fromkeys(
        (
            'dump_invalid_vmcs',
            'emulate_invalid_guest_state',
            'enable_apicv',
            'enable_shadow_vmcs',
            'ept',
            'eptad',
            'flexpriority',
            'pml',
            'preemption_timer',
            'unrestricted_guest',
            'vnmi',
            'vpid',
        ),
        (boolean,),
    )

    def fits(self, cpu: CPU) -> int:
        """Intel's, and the processors of Zhaoxin and Centaur, which implement VMX."""
        vendors = ('GenuineIntel', 'CentaurHauls', 'Shanghai')
        return 10 if cpu.vendor in vendors else 0

    def load_value(self, text: str | None, release: str) -> LoadValue:
        """A bool, also on the kernels where it is off by default."""
        return boolean(text, release)

    def kernel_default(self, release: str) -> bool | None:
        """On since Linux 4.20 (commit 1e58e5e59148)."""
        version = kernel_version(release)
        if version is None:
            return None
        if version >= (4, 20):
            return True
        return None if any(mark in release for mark in _BACKPORTING) else False

    def missing_below(self, release: str) -> str | None:
        """Nested state can be saved and restored from Linux 4.20 on."""
        version = kernel_version(release)
        if version is None or version >= (4, 20):
            return None
        return (
            'below Linux 4.20 kvm_intel has nesting off by default and guests that nest cannot be '
            'migrated or saved'
        )

    def degraded(self, parameters: dict[str, str]) -> tuple[str, ...]:
        """Without EPT nested guests run on shadow page tables."""
        notes = {
            'ept': 'guests get no nested EPT: Hyper-V and ESXi do not run in them, KVM runs slowly',
            'unrestricted_guest': 'nested guests start in emulated real mode',
        }
        return tuple(
            f'{key}=N: {note}' for key, note in notes.items() if parameters.get(key) == 'N'
        )

    def named_model_exposes(self, guest: GuestCPU) -> Exposure:
        """libvirt's host-model carries vmx from QEMU's expansion; no model of cpu_map has it."""
        if guest.cpu_mode == 'custom':
            models = ', '.join(guest.cpu_models) or 'none'
            return Exposure(
                False,
                'ModelWithoutFlag',
                f'cpu_mode custom (cpu_models: {models}): no named Intel model includes vmx',
            )
        mode = 'cpu_mode host-model' if guest.cpu_mode else 'cpu_mode unset (host-model)'
        return Exposure(True, 'HostModel', f'{mode} includes vmx on Intel')
