"""Where steps work: the node, its limits, and what the agent remembers of its own changes."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from nested_agent.actions.changes import Changes
from nested_agent.exceptions import StepError
from nested_agent.facts import Unread
from nested_agent.node.root import Completed, Root
from nested_agent.report import Judged


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    :ivar modprobe: a load or unload of a module
    :ivar nova: a start or a stop of nova-compute, by systemd
    :ivar settle: how long nova-compute has to run before it counts as started
    :ivar device: until /dev/kvm has its mode and owner again
    """

    modprobe: float = 60.0
    nova: float = 300.0
    settle: float = 30.0
    device: float = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """The node as steps see it.

    :ivar look: observes and judges the node anew
    :ivar changes: what the agent changed, for revert
    :ivar boot_id: of the present boot; None if unreadable
    :ivar alive: called at least every few seconds while anything is waited for
    """

    root: Root
    look: Callable[[], Judged]
    changes: Changes
    boot_id: str | None
    limits: Limits = Limits()
    alive: Callable[[], object] = lambda: None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def run(self, command: Sequence[str], *, timeout: float) -> Completed:
        """Run a command by its absolute path and return how it ended.

        :raises StepError: it is not there, or did not end within ``timeout`` seconds
        """
        done = self.root.run(command, timeout=timeout, alive=self.alive)
        if isinstance(done, Unread):
            raise StepError(f'{" ".join(command)}: {done.detail} ({done.error})')
        return done

    def wait_for(self, fact: Callable[[], bool], seconds: float, pause: float = 0.2) -> bool:
        """Return whether ``fact`` came true within some seconds."""
        end = self.clock() + seconds
        while not fact():
            if self.clock() >= end:
                return False
            self.alive()
            self.sleep(pause)
        return True
