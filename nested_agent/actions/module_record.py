"""What a kernel module was like before it was touched, and what of that can be given back."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Self

from nested_agent.actions.site import Site
from nested_agent.actions.step import Undo
from nested_agent.exceptions import StepError
from nested_agent.facts import ModuleState, Unread
from nested_agent.node import kernel, kvm_access, module
from nested_agent.node.kvm_access import Access
from nested_agent.verify.effect import PARAMETER

# Of what the kernel prints (kernel/params.c) this is what it takes for the same again. Not
# "(null)" and nothing (a pointer and an array that were not set); not "not required" and "EPT
# disabled" (vmentry_l1d_flush says so and takes neither).
_GIVEN_BACK = re.compile(r'[\w.,:/+-]+', re.ASCII)
# An int takes it, a bool kept in an int (param_set_bint) does not. It stands for "automatic",
# which is what a parameter that is not given is.
_AUTOMATIC = '-1'
#: module_param_unsafe(): giving them at all, even to be off, taints the kernel.
_TAINTING = ('force_avic', 'force_emulation_prefix')
_OFF = ('0', 'N')


def options(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Return the module options that give parameters back, as far as the kernel takes them."""
    return tuple(
        f'{name}={text}'
        for name, text in parameters.items()
        if _GIVEN_BACK.fullmatch(text)
        and (text != _AUTOMATIC or name == PARAMETER)
        and not (name in _TAINTING and text in _OFF)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """A module that was loaded.

    :ivar parameters: those that can be read, as the kernel printed them
    """

    name: str
    parameters: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleRecord:
    """A module and those it depends on.

    :ivar boot_id: of the boot that was; None if unreadable
    :ivar loaded: those that were loaded, first to load first
    :ivar device: /dev/kvm; None if there was none
    """

    module: str
    boot_id: str | None
    loaded: tuple[Loaded, ...]
    device: Access | None

    @property
    def parameters(self) -> Mapping[str, str] | None:
        """The module's own; None: it was not loaded."""
        return next((each.parameters for each in self.loaded if each.name == self.module), None)

    def to_dict(self) -> Undo:
        """Return plain values for the journal."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Undo) -> Self:
        """Return what :meth:`to_dict` made plain.

        :raises KeyError, TypeError, ValueError: it is none
        """
        loaded = tuple(
            Loaded(str(each['name']), dict(each['parameters'])) for each in data['loaded']
        )
        device = None if data['device'] is None else Access.from_dict(data['device'])
        return cls(str(data['module']), data['boot_id'], loaded, device)


def take(site: Site, name: str) -> ModuleRecord:
    """Return what a module is like now.

    :raises StepError: what it takes to have it back cannot be read
    """
    found = module.family(site.root, kernel.read(site.root).release, name)
    if isinstance(found, Unread):
        raise StepError(f'which modules are loaded is not known ({found})')
    loaded = []
    for each in found.values():
        if isinstance(each.state, Unread):
            raise StepError(f'whether {each.name} is loaded is not known ({each.state})')
        if each.state is not ModuleState.BUILTIN:
            texts = {key: text for key, text in each.parameters.items() if isinstance(text, str)}
            loaded.append(Loaded(each.name, texts))
    device = kvm_access.read(site.root)
    if isinstance(device, Unread):
        raise StepError(f'who may open the device is not known ({device})')
    record = ModuleRecord(name, site.boot_id, tuple(loaded), device)
    if record.parameters is not None and PARAMETER not in record.parameters:
        raise StepError(f'{name} was loaded with a {PARAMETER} that cannot be read')
    return record
