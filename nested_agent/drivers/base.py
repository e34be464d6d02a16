"""The contract of a vendor driver, on one page.

A driver is pure: it knows facts about one vendor's KVM and judges values it is given. It has no
way to read or change the node, and needs no configuration. To add one, subclass
:class:`Driver` and name it in the entry point group ``nested_agent.drivers``.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from nested_agent.drivers.flags import parse_flag
from nested_agent.drivers.parameters import KVM, LoadValue, Parser, kernel_version
from nested_agent.facts import CPU

__all__ = [
    'CPUIDBit',
    'Driver',
    'Exposure',
    'GuestCPU',
    'LoadValue',
    'kernel_version',
    'parse_nested',
]


@dataclasses.dataclass(frozen=True, slots=True)
class CPUIDBit:
    """Where CPUID shows the flag: a leaf, a register (``ecx``) and a bit number."""

    leaf: str
    register: str
    bit: int


@dataclasses.dataclass(frozen=True, slots=True)
class GuestCPU:
    """The nova settings that decide what a new guest's CPU looks like (``[libvirt]``).

    :ivar cpu_mode: None when unset
    :ivar extra_flags: ``cpu_model_extra_flags``
    """

    virt_type: str
    cpu_mode: str | None
    cpu_models: tuple[str, ...]
    extra_flags: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Exposure:
    """Whether a guest CPU shows the vendor's flag, given that KVM offers it.

    :ivar exposed: None when it cannot be told
    :ivar reason: one CamelCase word
    :ivar message: one sentence, without the name of the file (the caller knows it)
    """

    exposed: bool | None
    reason: str
    message: str


def parse_nested(text: str) -> bool | None:
    """Return whether a ``nested`` parameter as sysfs prints it is on; None if it is neither.

    bool (kvm_intel, kvm_hv) prints Y or N, int (kvm_amd, kvm on s390) a decimal number of which
    every one but 0 is on (kernel/params.c: param_get_bool, param_get_int).
    """
    if text in ('Y', 'y'):
        return True
    if text in ('N', 'n'):
        return False
    try:
        return int(text) != 0
    except ValueError:
        return None


class Driver(abc.ABC):
    """What differs between vendors.

    :cvar name: name of the driver, as its entry point
    :cvar module: the kernel module whose parameter ``nested`` decides
    :cvar flag: CPU flag in ``/proc/cpuinfo``, libvirt and nova alike
    :cvar feature: the same flag in CPUID
    :cvar suspects: names people write in modprobe.d where they mean :attr:`module`
    :cvar parameters: of :attr:`module`, beside ``nested``, those that could keep it from loading,
        with the parser of every type each has had
    """

    name: str
    module: str
    flag: str
    feature: CPUIDBit
    suspects: tuple[str, ...] = ()
    parameters: ClassVar[Mapping[str, tuple[Parser, ...]]] = {}

    @abc.abstractmethod
    def fits(self, cpu: CPU) -> int:
        """Return how well this driver fits the CPU: 0 not at all; the built-in ones say 10."""

    @abc.abstractmethod
    def load_value(self, text: str | None, release: str) -> LoadValue:
        """Return what the kernel makes of ``nested=TEXT``; None is the bare word ``nested``."""

    @abc.abstractmethod
    def kernel_default(self, release: str) -> bool | None:
        """Return whether nesting is on when no option says so; None if it cannot be told."""

    @abc.abstractmethod
    def missing_below(self, release: str) -> str | None:
        """Return what nesting lacks on this kernel, one clause, or None."""

    @abc.abstractmethod
    def degraded(self, parameters: dict[str, str]) -> tuple[str, ...]:
        """Return module parameters, as ``ept=N: what it costs``, that make nesting poorer."""

    @abc.abstractmethod
    def named_model_exposes(self, guest: GuestCPU) -> Exposure:
        """Return whether a named CPU model shows the flag: cpu_mode host-model, unset or custom.

        Asked only where nothing common to all vendors decides (:meth:`exposes`).
        """

    def refuses(self, module: str, name: str, text: str | None, release: str) -> bool:
        """Whether :attr:`module` or ``kvm`` does not load with a parameter other than ``nested``.

        False for a parameter not known here, and where it depends on the kernel.
        """
        known = {'kvm': KVM, self.module: self.parameters}.get(module, {})
        parsers = known.get(name.replace('-', '_'), ())
        return bool(parsers) and all(parser(text, release) is LoadValue.FATAL for parser in parsers)

    def option(self, enabled: bool) -> str:
        """Return the module option; a digit is right for bool and int parameters alike."""
        return f'nested={int(enabled)}'

    def option_line(self, enabled: bool) -> str:
        """Return the modprobe.d line."""
        return f'options {self.module} {self.option(enabled)}'

    def kernel_argument(self, enabled: bool) -> str:
        """Return the kernel argument, for a built-in module."""
        return f'{self.module}.{self.option(enabled)}'

    def exposes(self, guest: GuestCPU) -> Exposure:
        """Return whether a new guest's CPU shows the flag (nova virt/libvirt/driver.py)."""
        if guest.virt_type != 'kvm':
            return Exposure(
                False,
                'NotKVM',
                f'virt_type {guest.virt_type} does not run guests under KVM, so none sees '
                f'{self.flag}',
            )
        if guest.cpu_mode == 'none':
            return Exposure(
                False,
                'ModeNone',
                f'cpu_mode none leaves the CPU to QEMU (qemu64), which has no {self.flag}; '
                'nova ignores cpu_model_extra_flags in this mode',
            )
        flags = {parse_flag(flag) for flag in guest.extra_flags}
        required = (self.flag, True) in flags
        disabled = (self.flag, False) in flags
        if required and disabled:
            return Exposure(
                None,
                'FlagContradiction',
                f'cpu_model_extra_flags both requires and disables {self.flag}; nova keeps them '
                'in a set, so which one wins is chance',
            )
        if disabled:
            return Exposure(
                False,
                'FlagDisabled',
                f'cpu_model_extra_flags takes {self.flag} away (-{self.flag})',
            )
        if required:
            return Exposure(True, 'FlagRequired', f'cpu_model_extra_flags requires {self.flag}')
        if guest.cpu_mode == 'host-passthrough':
            return Exposure(
                True, 'HostPassthrough', f'cpu_mode host-passthrough passes {self.flag} to guests'
            )
        return self.named_model_exposes(guest)
