"""The one place of the test bed that starts processes on this machine."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# As the test run was given it: a test case may point HOME elsewhere later, and a git hook
# sets GIT_DIR and its like for the repository that it belongs to.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith('GIT_')},
    'PATH': os.environ.get('PATH', '/usr/bin:/bin') + ':/usr/local/sbin:/usr/sbin:/sbin',
    'LC_ALL': 'C.UTF-8',
}
BUILD_SECONDS = 900.0


class Result(NamedTuple):
    """A finished command: its exit code (negative: the signal that ended it) and output."""

    returncode: int
    stdout: str
    stderr: str


class CommandError(Exception):
    """A command that had to succeed did not."""

    def __init__(self, command: str, result: Result) -> None:
        self.command = command
        self.result = result
        super().__init__(command, result)

    def __str__(self) -> str:
        output = (self.result.stdout + self.result.stderr)[-4000:].strip()
        return f'{self.command!r} ended with {self.result.returncode}:\n{output}'


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: str = '',
    timeout: float = BUILD_SECONDS,
) -> str:
    """Run ``command`` to its end and return its standard output.

    ``environment`` is added to that of the test run; ``timeout`` is in seconds. Raises
    CommandError when it fails and subprocess.TimeoutExpired when it takes too long. It is
    told to stop when the test run dies.
    """
    done = subprocess.run(
        ['setpriv', '--pdeathsig', 'TERM', *command],
        env={**ENVIRONMENT, **(environment or {})},
        input=stdin,
        capture_output=True,
        text=True,
        errors='replace',
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        result = Result(done.returncode, done.stdout, done.stderr)
        raise CommandError(' '.join(map(str, command)), result)
    return done.stdout


def run_inside(tree: Path, command: Sequence[str], *, timeout: float = BUILD_SECONDS) -> str:
    """Run ``command`` with the root file system ``tree`` and a clean environment; see run."""
    clean = ['env', '-i', 'PATH=/usr/sbin:/usr/bin', 'LC_ALL=C.UTF-8', 'HOME=/root']
    return run(['chroot', tree, *clean, *command], timeout=timeout)


def start(
    command: Sequence[str | Path], *, directory: Path, log: Path, descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start ``command`` in ``directory``, its output appended to ``log``; do not wait for it.

    It inherits the open ``descriptors``. The kernel kills it when the test run dies, however
    that happens: no emulator is ever left behind.
    """
    with log.open('ab') as output:
        return subprocess.Popen(
            ['setpriv', '--pdeathsig', 'KILL', *command],
            cwd=directory,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=descriptors,
        )
