"""What a vendor's proof consists of, and how it is judged."""

import dataclasses
from collections.abc import Callable

from nested_agent.proof import long_mode
from nested_agent.proof.assembly import Program
from nested_agent.proof.finding import Finding, Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Halted:
    """L1 when it halted.

    :ivar rip: the address behind the HLT
    :ivar memory: all of L1's memory
    """

    rip: int
    rsp: int
    rbx: int
    rcx: int
    rsi: int
    rdi: int
    memory: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Ran:
    """L2 ran; ``how`` is a clause."""

    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class Trouble:
    """L2 did not run; ``what`` is a clause."""

    what: str


@dataclasses.dataclass(frozen=True, slots=True)
class Guest:
    """L1 of one vendor.

    :ivar image: makes its memory
    :ivar program: its code; the instruction labelled ``enable`` switches virtualization on
    :ivar enabling: that instruction, for people
    :ivar judge: tells what came of L2 from L1 as it halted
    """

    image: Callable[[], bytes]
    program: Program
    enabling: str
    judge: Callable[[Halted], Ran | Trouble]

    def finding(self, end: Halted | Trouble) -> Finding:
        """Return what L1's end means."""
        if isinstance(end, Trouble):
            return Finding(Outcome.FAILED, 'GuestDied', end.what)
        vector = long_mode.exception(end.rip)
        if vector is not None:
            return self._exception(end, vector)
        judged = self.judge(end)
        if isinstance(judged, Ran):
            message = f'a guest ran a guest of its own: {judged.how}'
            return Finding(Outcome.PROVED, 'GuestRan', message)
        return Finding(Outcome.FAILED, 'GuestDidNotRun', judged.what)

    def _exception(self, end: Halted, vector: int) -> Finding:
        address = long_mode.interrupted(end.memory, vector, end.rsp)
        name = f'{long_mode.EXCEPTIONS.get(vector, "exception")} (vector {vector})'
        if address == self.program['enable']:
            message = f'a guest that switches virtualization on takes {name}: {self.enabling}'
            return Finding(Outcome.REFUSED, 'GuestRefused', message, vector)
        text = ' '.join((self.program.text(address) or f'address {address:#x}').split())
        message = f'L1 switched virtualization on, then took {name} at "{text}"'
        return Finding(Outcome.FAILED, 'GuestException', message, vector)
