"""The one seam to the node: where its files are, and the one place that runs commands.

Paths are always given as the node sees them (``/proc/cpuinfo``). A captured tree is read
without ever following a link out of it.
"""

import contextlib
import errno
import fcntl
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nested_agent.facts import Unread

# Far above every file read here; keeps a wrong path (a disk image) from filling memory.
READ_LIMIT = 4 << 20
LINK_LIMIT = 40
KILL_SECONDS = 2.0

# Over these ProtectHome= of a unit puts directories that nobody may enter (systemd.exec(5)). To
# CAP_DAC_OVERRIDE they look empty.
HOMES = ('/home', '/root', '/run/user')

# A clean environment: no LD_*, no PYTHON*, no MODPROBE_OPTIONS, messages in English.
ENVIRONMENT = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C'}


class Completed(NamedTuple):
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str


def shown(name: str) -> str:
    """Return a file name that can be printed: bytes that are not UTF-8 become U+FFFD.

    It sorts among ASCII names where the real one does: behind them.
    """
    return os.fsencode(name).decode(errors='replace')


def unread(source: str, error: OSError) -> Unread:
    """Return why ``source`` could not be read, by errno name."""
    name = errno.errorcode.get(error.errno, 'EUNKNOWN') if error.errno else type(error).__name__
    return Unread(shown(source), name, error.strerror or str(error))


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a command with all it started, unless it has ended, and let go of its output."""
    # Not poll(): until it is waited for its number is nobody else's, and it may have children.
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        # What hangs in the kernel cannot be killed; it is not waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_SECONDS)
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


class Root:
    """A node's file system: this host's, or a captured tree of another.

    :param path: ``/`` for this host, else the directory that holds the tree
    """

    def __init__(self, path: str | Path = '/') -> None:
        self.base = Path(path)
        self._base = str(self.base)
        #: Whether this is the running node: only then are there devices and processes to ask.
        self.live = str(path) == '/'
        self._homes: tuple[str, ...] = HOMES

    def path(self, name: str) -> Path:
        """Return where the node's absolute path ``name`` really is.

        Links, also absolute ones and those in the middle of the path, are resolved inside the
        root. What does not exist is returned as it would be named.

        :raises OSError: ELOOP after 40 links, as the kernel does; EINVAL for a NUL in the name,
            which a damaged file can put there and Python refuses with another exception
        """
        return Path(self._real(name))

    def _real(self, name: str) -> str:
        # Hot, so text: a Path costs ten times as much, and each interns its parts anew.
        if '\0' in name:
            raise OSError(errno.EINVAL, 'a NUL byte in the name', name)
        if self._base == '/':
            return name
        todo = [part for part in name.split('/') if part][::-1]
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == '.':
                continue
            if part == '..':
                done[-1:] = []
                continue
            try:
                target = os.readlink('/'.join((self._base, *done, part)))  # noqa: PTH115
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > LINK_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            if target.startswith('/'):
                done.clear()
            todo.extend([part for part in target.split('/') if part][::-1])
        return '/'.join((self._base, *done))

    def below(self, name: str) -> 'Root':
        """Return a root of the same kind for a directory inside this one (``/proc/PID/root``).

        What ProtectHome= hides there is hidden from that process too, so for it not there.
        """
        inner = Root(self.path(name))
        inner.live = self.live
        inner._homes = ()
        return inner

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file or device of the node and return the descriptor.

        :raises OSError: as open(2)
        """
        try:
            return os.open(self._real(name), flags | os.O_CLOEXEC | os.O_NOCTTY)
        except FileNotFoundError:
            self._reveal(name)
            raise

    def open_regular(self, name: str) -> int:
        """Open a regular file for reading and return the descriptor.

        :raises OSError: as open(2); EISDIR; EINVAL for what is not a regular file (a device or
            pipe in a captured tree could block for ever)
        """
        fd = self.open(name, os.O_RDONLY | os.O_NONBLOCK)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        os.close(fd)
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        raise OSError(errno.EINVAL, 'not a regular file', name)

    def ioctl(self, fd: int, request: int, argument: int | bytearray = 0) -> int:
        """Ask a device opened with :meth:`open`; a buffer is changed in place.

        :raises OSError: as ioctl(2)
        """
        # Not negative: ioctl(2) failing is the OSError. A bytearray is passed by reference.
        return int(fcntl.ioctl(fd, request, argument))

    def read_bytes(self, name: str, limit: int = READ_LIMIT) -> bytes:
        """Return the content of a regular file.

        :raises OSError: as :meth:`open_regular` and read(2); EFBIG beyond ``limit`` bytes
        """
        with os.fdopen(self.open_regular(name), 'rb', buffering=0) as file:
            chunks = []
            size = 0
            while chunk := file.read(65536):
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise OSError(errno.EFBIG, f'larger than {limit} bytes', name)
            return b''.join(chunks)

    def read_text(self, name: str, limit: int = READ_LIMIT) -> str:
        """Return a file as text; bytes that are not UTF-8 become U+FFFD.

        :raises OSError: as :meth:`read_bytes`
        """
        return self.read_bytes(name, limit).decode(errors='replace')

    def try_text(self, name: str) -> str | Unread:
        """Return a file's text without the white space around it, or why it cannot be read."""
        try:
            return self.read_text(name).strip()
        except OSError as error:
            return unread(name, error)

    def stat(self, name: str) -> os.stat_result:
        """Return stat(2) of a path, links followed inside the root.

        :raises OSError: as stat(2)
        """
        try:
            return os.stat(self._real(name))  # noqa: PTH116  # text, as above
        except FileNotFoundError:
            self._reveal(name)
            raise

    def _reveal(self, name: str) -> None:
        """Make sure that what was not found is not hidden from this process.

        :raises PermissionError: it may be
        """
        top = next((each for each in self._homes if name.startswith(f'{each}/')), None)
        if top is None:
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_IMODE(Path(self._real(top)).stat().st_mode):
                raise PermissionError(errno.EACCES, 'hidden by ProtectHome= of the unit', name)

    def present(self, name: str) -> bool:
        """Whether there is something at a path.

        :raises OSError: it cannot be told, such as EACCES in a directory on the way
        """
        try:
            self.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def exists(self, name: str) -> bool:
        """Whether there is something at a path; False also where it cannot be told.

        Only for optional places: where absence is a fact, ask :meth:`present`.
        """
        try:
            return self.present(name)
        except OSError:
            return False

    def names(self, name: str) -> list[str]:
        """Return the sorted names in a directory.

        :raises OSError: as scandir(3)
        """
        return sorted(os.listdir(self._real(name)))  # noqa: PTH208  # names, not paths

    def pids(self) -> Iterator[int]:
        """Yield the node's process ids in ascending order; none in a captured tree."""
        if self.live:
            yield from sorted(int(name) for name in self.names('/proc') if name.isdigit())

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        alive: Callable[[], object] = lambda: None,
    ) -> Completed | Unread:
        """Run a command, with a clean environment, and wait for it.

        :param command: an absolute path and its arguments
        :param timeout: seconds after which it is killed
        :param alive: called every second meanwhile
        """
        shown = ' '.join(command)
        if not self.live:
            return Unread(shown, 'NotAvailable', 'commands are not run for a captured tree')
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                cwd='/',
                encoding='utf-8',
                errors='replace',
                process_group=0,
            )
        except OSError as error:
            return unread(shown, error)
        end = time.monotonic() + timeout
        try:
            while True:
                left = end - time.monotonic()
                try:
                    stdout, stderr = process.communicate(timeout=max(min(left, 1.0), 0.0))
                    return Completed(process.returncode, stdout, stderr)
                except subprocess.TimeoutExpired:
                    alive()
                    if left <= 0:
                        return Unread(shown, 'Timeout', f'no answer within {timeout:g} s')
        finally:
            _end(process)

    def filtered(self, command: Sequence[str], source: int, *, timeout: float) -> Iterator[bytes]:
        """Yield what a filter such as ``zstd -dc`` makes of an open file, from its offset on.

        It is this host's filter also for a captured tree: it says nothing about either. It is
        killed after ``timeout`` seconds or when the iteration is given up.

        :raises OSError: it is not installed; EIO when it fails, ETIMEDOUT when it was killed
        """
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd='/',
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        overdue = threading.Timer(timeout, end)
        overdue.start()
        try:
            output = process.stdout.fileno() if process.stdout else -1
            while piece := os.read(output, 65536):
                yield piece
            if process.wait() and late.is_set():
                # Not EIO: what was read may be as it should be.
                raise OSError(errno.ETIMEDOUT, f'no end within {timeout:g} s', command[0])
            if process.returncode:
                raise OSError(errno.EIO, f'failed with status {process.returncode}', command[0])
        finally:
            overdue.cancel()
            process.kill()
            process.communicate()
