"""The modules a simulated node has, and what the kernel makes of their parameters.

Parameters are parsed and printed by their types, as kernel/params.c does.
"""

import dataclasses
from collections.abc import Mapping

from nested_agent.drivers.parameters import LoadValue, boolean, integer, unsigned
from tests.unit.nodes import RELEASE

L1D = ('auto', 'never', 'cond', 'always')


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A module parameter.

    :ivar kind: bool (Y, N), bint (a bool kept in an int), int, uint, charp, l1d (the words of
        vmentry_l1d_flush, which prints two more than it takes)
    :ivar default: as printed where it is not given
    """

    kind: str
    default: str
    writable: bool = False

    def parse(self, value: str | None) -> str | None:
        """Return what is printed afterwards, None where the kernel refuses the module."""
        if self.kind in ('bool', 'bint'):
            on = boolean(value, RELEASE)
            letters = {'bool': 'YN', 'bint': '10'}[self.kind]
            return {LoadValue.ON: letters[0], LoadValue.OFF: letters[1]}.get(on)
        if value is None:
            return None
        if self.kind in ('int', 'uint'):
            parser = integer if self.kind == 'int' else unsigned
            return None if parser(value, RELEASE) is LoadValue.FATAL else str(int(value, 0))
        if self.kind == 'l1d':
            return self.default if value in L1D else None
        return value


KVM = {
    'halt_poll_ns': Parameter('uint', '200000', writable=True),
    'ignore_msrs': Parameter('bool', 'N', writable=True),
    'lapic_timer_advance_ns': Parameter('int', '-1', writable=True),
    # A bint does not take the -1 it begins with.
    'pi_inject_timer': Parameter('bint', '-1', writable=True),
}
KVM_AMD = {
    'nested': Parameter('int', '1'),
    'npt': Parameter('bool', 'Y'),
    'avic': Parameter('bool', 'N'),
    'force_avic': Parameter('bool', 'N'),
    'pause_filter_count': Parameter('uint', '3000'),
}
KVM_INTEL = {
    'nested': Parameter('bool', 'Y'),
    'ept': Parameter('bool', 'Y'),
    'ple_gap': Parameter('uint', '128'),
    'vmentry_l1d_flush': Parameter('l1d', 'not required', writable=True),
}
CCP = {'init_ex_path': Parameter('charp', '(null)'), 'nqueues': Parameter('uint', '5')}
UNSAFE = ('force_avic',)


class Module:
    """A module there is.

    :ivar needs: the modules it depends on, first to load first
    """

    def __init__(self, parameters: Mapping[str, Parameter], *needs: str) -> None:
        self.parameters = parameters
        self.needs = needs


AMD = {
    'irqbypass': Module({}),
    'ccp': Module(CCP),
    'kvm': Module(KVM, 'irqbypass'),
    'kvm_amd': Module(KVM_AMD, 'irqbypass', 'ccp', 'kvm'),
}
INTEL = {
    'irqbypass': Module({}),
    'kvm': Module(KVM, 'irqbypass'),
    'kvm_intel': Module(KVM_INTEL, 'irqbypass', 'kvm'),
}
