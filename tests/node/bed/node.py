"""An emulated compute node, as a test sees it."""

import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.node.bed.channel import ChannelClosedError, NoReplyError, RemoteError
from tests.node.bed.machine import Emulator, Machine
from tests.node.bed.polling import Fact, poll
from tests.node.bed.process import CommandError, Result

# All of these times the machine's slowness. An idle host boots the fastest in 20 s.
BOOT_SECONDS = 300.0
COMMAND_SECONDS = 120.0
REPLY_SECONDS = 60.0
# How long a booting node gets to answer before it is asked again.
ANSWER_SECONDS = 5.0
LINES = 60
# What the emulator says of every CPU model.
HARMLESS = "warning: TCG doesn't support requested feature"
# How systemd shows, again and again, what it waits for.
WAITING = 'start running ('
PANIC = b'Kernel panic'


class BootError(Exception):
    """A node did not come up; the message ends with its console."""


class Node:
    """One private compute node; switched on by ``power_on`` or ``resume``, off by ``close``.

    Commands run as root. Methods that need a running node raise ChannelClosedError when it
    is off, and TimeoutError when it does not answer.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._emulator: Emulator | None = None
        # Where this boot begins in the console's log, in bytes; that of earlier power cycles.
        self._boot = 0
        self._earlier = ''

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def emulator(self) -> Emulator:
        """The machine while it is on; raises ChannelClosedError while it is off."""
        if not self._emulator:
            raise ChannelClosedError('the node is switched off')
        return self._emulator

    def resume(self, emulate: Callable[[], Emulator]) -> None:
        """Go on where ``emulate`` continues a machine that was up, at today's time."""
        try:
            self._emulator = emulate()
            self._emulator.agent.ping(self._patience(BOOT_SECONDS))
            self._emulator.agent.set_clock()
        except (ChannelClosedError, RemoteError, TimeoutError) as error:
            raise self._boot_error('did not resume') from error

    def power_on(self) -> None:
        """Boot from the disk and wait until the node is up."""
        self._earlier += self._log().decode(errors='replace')
        self.machine.serial.unlink(missing_ok=True)
        self._boot = 0
        try:
            self._emulator = self.machine.power_on()
        except (ChannelClosedError, TimeoutError) as error:
            raise self._boot_error('did not start') from error
        self._wait_up(previous='')

    def power_cut(self) -> None:
        """Take the power away: whatever the node had not synced to its disk is lost."""
        self.emulator.kill()
        self._emulator = None

    def close(self) -> None:
        """Switch the node off for good, if it is on."""
        if self._emulator:
            self.power_cut()

    def reboot(self) -> None:
        """Reboot in an orderly way and wait until the node is up again."""
        previous = self.boot_id()
        self._boot = len(self._log())
        with suppress(NoReplyError, RemoteError):
            # The agent may be stopped before it says that this has ended.
            reboot = ['systemctl', '--no-block', 'reboot']
            self.emulator.agent.execute(
                reboot,
                timeout=self._patience(COMMAND_SECONDS),
                reply=self._patience(ANSWER_SECONDS),
            )
        self._wait_up(previous)

    def boot_id(self) -> str:
        """Return what tells this boot from all others."""
        return self.read_file('/proc/sys/kernel/random/boot_id').strip()

    def run(
        self,
        command: str | Sequence[str],
        *,
        stdin: str = '',
        timeout: float = COMMAND_SECONDS,
        check: bool = True,
    ) -> Result:
        """Run a program with its arguments, or one string in a shell, and return how it ended.

        Raises CommandError if it fails, unless ``check`` is off; TimeoutError, and it is
        killed, after ``timeout`` seconds on the fastest kind of machine (there is a default). What
        it leaves in the background must not write to its output: use ``systemd-run``.
        """
        words = ['/bin/sh', '-c', command] if isinstance(command, str) else list(command)
        result = self.emulator.agent.execute(
            words,
            stdin=_bytes(stdin),
            timeout=self._patience(timeout),
            reply=self._patience(REPLY_SECONDS),
        )
        if check and result.returncode:
            raise CommandError(command if isinstance(command, str) else shlex.join(words), result)
        return result

    def write_file(self, path: str, data: str, mode: int = 0o644) -> None:
        """Write a file at an absolute path, making missing directories.

        One that is there is written in place: it keeps its owner.
        """
        script = 'mkdir -p "${1%/*}/" && cat > "$1" && chmod "$2" "$1"'
        self.run(['/bin/sh', '-c', script, 'write', path, f'{mode:o}'], stdin=data)

    def read_file(self, path: str) -> str:
        """Return a file's content; raises CommandError if it cannot be read."""
        return self.run(['cat', '--', path]).stdout

    def wait_until(
        self, fact: str | Callable[[], Fact | None], deadline: float = COMMAND_SECONDS
    ) -> Fact | bool:
        """Return the first true value of ``fact``, or True once that shell command succeeds.

        Raises TimeoutError after ``deadline`` seconds on the fastest kind of machine; there is
        a default.
        """
        deadline = self._patience(deadline)
        if isinstance(fact, str):
            command = fact
            return poll(lambda: not self.run(command, check=False).returncode, deadline, command)
        return poll(fact, deadline, getattr(fact, '__name__', repr(fact)))

    def console(self) -> str:
        """Return the end of what the node and its emulator had to say, over all boots."""
        console = self._earlier + self._log().decode(errors='replace')
        messages = self.machine.messages
        said = messages.read_text(errors='replace') if messages.exists() else ''
        return '\n'.join(_readable(console)[-LINES:] + _readable(said)[-LINES:])

    def _wait_up(self, previous: str) -> None:
        """Return when systemd is done with a boot other than ``previous``."""
        try:
            patience = self._patience(BOOT_SECONDS)
            poll(lambda: self._answers(previous), patience, 'the node answers')
            wait = ['systemctl', 'is-system-running', '--wait']
            self.emulator.agent.execute(wait, timeout=patience, reply=patience)
        except (ChannelClosedError, RemoteError, TimeoutError) as error:
            raise self._boot_error('did not boot') from error

    def _answers(self, previous: str) -> bool:
        console = self._log()[self._boot :]
        if PANIC in console:
            raise self._boot_error('kernel panic')
        if not self.emulator.alive:
            raise ChannelClosedError('the emulator has ended')
        if self.machine.listening not in console:
            return False
        agent = self.emulator.agent
        patience = self._patience(ANSWER_SECONDS)
        try:
            agent.ping(patience)
            show = ['cat', '/proc/sys/kernel/random/boot_id']
            found = agent.execute(show, timeout=patience, reply=patience)
        except (NoReplyError, RemoteError):
            return False
        return found.returncode == 0 and found.stdout.strip() != previous

    def _log(self) -> bytes:
        return self.machine.serial.read_bytes() if self.machine.serial.exists() else b''

    def _patience(self, seconds: float) -> float:
        return seconds * self.machine.slowness

    def _boot_error(self, what: str) -> BootError:
        console = self.console()
        self.close()
        return BootError(f'{what}; its console:\n{console}')


def _readable(console: str) -> list[str]:
    lines: list[str] = []
    for line in re.sub(r'\x1b(M|\[[0-9;]*[A-Za-z])', '', console).splitlines():
        if WAITING in line and lines and WAITING in lines[-1]:
            lines[-1] = line
        elif line.strip() and HARMLESS not in line:
            lines.append(line)
    return lines


def _bytes(text: str) -> bytes:
    return text.encode(errors='surrogateescape')
