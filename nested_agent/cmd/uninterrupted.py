"""Signals wait until a remediation has ended: it is finished or undone, never torn."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

#: All that a terminal, a session that ends, or somebody else stops a command with.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)

FINISHING = b'finishing what was begun, or undoing it: please wait\n'


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal interrupt the block; whoever sends one is told to wait."""
    before = {each: signal.signal(each, _tell) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _tell(number: int, frame: FrameType | None) -> None:
    # Not by way of sys.stderr, which may be at work; and its terminal may be gone.
    with contextlib.suppress(OSError):
        os.write(2, FINISHING)
