"""Machine code as a listing: bytes and what a disassembler says of them, with labels."""

import dataclasses
from collections.abc import Sequence


def u32(value: int) -> bytes:
    """Return 4 bytes, the lowest first: an immediate or absolute address of an instruction."""
    return value.to_bytes(4, 'little')


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One instruction.

    :ivar text: in Intel's syntax, as ``objdump -M intel`` prints it; of a jump without its target
    :ivar code: its bytes; of a jump without the distance
    :ivar to: label a short jump leads to
    :ivar label: a name for its address
    """

    text: str
    code: bytes
    to: str | None = None
    label: str | None = None

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.code) + (self.to is not None)


class Program:
    """A listing at its address in memory."""

    def __init__(self, address: int, lines: Sequence[Line]) -> None:
        self._lines: dict[int, Line] = {}
        end = address
        for line in lines:
            self._lines[end] = line
            end += line.size
        self._labels = {line.label: at for at, line in self._lines.items() if line.label}
        self.address = address
        self.code = b''.join(self._code(at, line) for at, line in self._lines.items())

    def __getitem__(self, label: str) -> int:
        """Return the address of a label."""
        return self._labels[label]

    def after(self, label: str) -> int:
        """Return the address behind the instruction with this label."""
        return self[label] + self._lines[self[label]].size

    def text(self, address: int) -> str | None:
        """Return the instruction at an address; None where none begins."""
        line = self._lines.get(address)
        if line is None:
            return None
        return line.text if line.to is None else f'{line.text} {self[line.to]:#x}'

    def listing(self) -> list[tuple[int, str]]:
        """Return address and text of every instruction."""
        return [(at, self.text(at) or '') for at in self._lines]

    def _code(self, at: int, line: Line) -> bytes:
        if line.to is None:
            return line.code
        # A short jump counts from the instruction behind it [SDM 2, Jcc].
        distance = self._labels[line.to] - (at + line.size)
        return line.code + distance.to_bytes(1, 'little', signed=True)
