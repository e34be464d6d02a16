"""What a node runs on, whichever program emulates it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from tests.node.bed.agent import Agent


class Emulator(Protocol):
    """A machine that is switched on. It dies with the process that made it."""

    agent: Agent

    @property
    def pid(self) -> int:
        """The emulator's process."""

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""

    def kill(self) -> None:
        """Cut the power."""


@dataclass(frozen=True, slots=True)
class Machine(ABC):
    """What does not change while a machine is switched off and on."""

    # How many times as long as on the fastest kind of machine things may take.
    slowness: ClassVar[int] = 1
    # What the console says, in each boot, when the agent may be talked to.
    listening: ClassVar[bytes] = b''

    kernel: Path
    initramfs: Path
    disk: Path
    directory: Path
    cpu: str
    arguments: str = ''

    @abstractmethod
    def power_on(self) -> Emulator:
        """Boot from the disk; raises ChannelClosedError or TimeoutError if that cannot begin."""

    @property
    def serial(self) -> Path:
        """The log of the serial console since the machine was switched on."""
        return self.directory / 'serial.log'

    @property
    def messages(self) -> Path:
        """The log of the emulator's own messages."""
        return self.directory / 'emulator.log'
