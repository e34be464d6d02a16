"""What the operator wants of this node."""

import dataclasses
import enum


class Nested(enum.StrEnum):
    """Whether guests shall be able to run their own KVM guests."""

    ENABLED = 'enabled'
    DISABLED = 'disabled'


class FixCPUMode(enum.StrEnum):
    """How a guest CPU without the flag is mended."""

    HOST_PASSTHROUGH = 'host-passthrough'
    KEEP = 'keep'


#: The default of ``[policy] cpu_mode``: whatever really exposes the flag on this vendor.
ANY_EXPOSING = 'any-exposing'


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """The options of group ``[policy]``, typed.

    :ivar cpu_mode: :data:`ANY_EXPOSING` or one of nova's ``[libvirt] cpu_mode`` values
    :ivar manage_nova: ``[nova] manage_config``: whether nova-compute's files are ours to edit
    :ivar minimum_kernel: lowest accepted kernel release, (major, minor)
    """

    nested: Nested = Nested.ENABLED
    cpu_mode: str = ANY_EXPOSING
    fix_cpu_mode: FixCPUMode = FixCPUMode.HOST_PASSTHROUGH
    minimum_kernel: tuple[int, int] = (3, 0)
    manage_nova: bool = True

    @property
    def wanted(self) -> bool:
        """Whether nesting shall be on."""
        return self.nested is Nested.ENABLED
