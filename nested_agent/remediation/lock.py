"""One remediation at a time on a node, across the daemon and the commands."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nested_agent import lock
from nested_agent.exceptions import LockTimeoutError, RemediationBusyError, RemediationError

#: Seconds to wait for the lock: others look whether it is held, or prove something, for a moment.
PATIENCE = 2.0


class Lock:
    """The right to change the node; it ends with the process that has it, however that ends."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / lock.REMEDIATION
        #: Whether this object has it.
        self.mine = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it.

        :raises RemediationBusyError: somebody else does
        :raises RemediationError: it cannot be made
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock.held(self._path, exclusive=True, timeout=PATIENCE))
            except LockTimeoutError as error:
                message = 'another remediation, or a proof, is under way on this node'
                raise RemediationBusyError(message) from error
            except OSError as error:
                raise RemediationError(f'{self._path}: {error.strerror}') from error
            self.mine = True
            try:
                yield
            finally:
                self.mine = False

    def anothers(self) -> bool:
        """Whether another process has it; False also where that cannot be told."""
        return not self.mine and lock.held_exclusively(self._path)
