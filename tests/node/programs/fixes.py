"""Runs in a node: fixes as the agent's commands make them, each in a process of its own.

It is forked off, for starting Python is what takes time in an emulated node; all that a fix needs
once is cached before by :func:`warm_up`.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oslo_config import cfg

from nested_agent.conf import load
from nested_agent.exceptions import NestedAgentError
from nested_agent.local import Local
from nested_agent.model import Run, Trigger
from nested_agent.remediation.remediator import Remediator

DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'
NOVA_CONF = '/etc/nova/nova.conf'
STATE = Path('/var/lib/nested-agent')
ROOMS = ('/etc/modprobe.d', '/etc/nova')
OURS = ('/etc/', f'{STATE}/', '/sys/')
WRITES = os.O_WRONLY | os.O_RDWR
TWO_NAMES = {'os.rename', 'os.link'}
ONE_NAME = {'os.remove', 'os.mkdir', 'os.rmdir'}
ORDERS = {'start', 'stop', 'restart', 'try-restart'}
SHOW_NOVA = ('systemctl', 'show', '-P', 'ActiveState', 'nova-compute.service')

#: Shorter than any command takes here.
DURING_SECONDS = 0.02

Fix = Callable[[Remediator], Run | None]


class Change(NamedTuple):
    """A change of the node that is about to be made, perhaps by a command."""

    what: str
    command: bool
    disruptive: bool


def change(event: str, arguments: Sequence[Any]) -> Change | None:
    """Return what an audit event announces, None if no change of the node."""
    if event == 'subprocess.Popen':
        return _command([str(each) for each in arguments[1]])
    if event not in TWO_NAMES | ONE_NAME and event != 'open':
        return None
    # Of two names it is the second that is another file's from then on.
    name = arguments[1 if event in TWO_NAMES else 0]
    path = '' if isinstance(name, int) else os.fsdecode(name)
    if not path.startswith(OURS) or (event == 'open' and not arguments[2] & WRITES):
        return None
    disruptive = event in ('os.rename', 'os.remove') and path in (DROPIN, NOVA_CONF)
    return Change(f'{event} {path}', command=False, disruptive=disruptive)


def _command(words: list[str]) -> Change | None:
    name = words[0].rpartition('/')[2]
    if (name == 'modprobe' and words[1] != '-D') or (name == 'systemctl' and ORDERS & {*words}):
        return Change(' '.join(words), command=True, disruptive=True)
    return None


class Audience:
    """Who is told of changes, before they are made."""

    def __init__(self) -> None:
        self.tell: Callable[[Change], None] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: Sequence[Any]) -> None:
        if self.tell and (found := change(event, arguments)):
            self.tell(found)


AUDIENCE = Audience()


def local() -> Local:
    conf = cfg.ConfigOpts()
    load.load(conf)
    return Local(conf)


def warm_up() -> None:
    """Have what Python and stevedore cache, so that every process to come has it."""
    local().look()


def mend(remediator: Remediator) -> Run:
    return remediator.remediate(Trigger.COMMAND, 'test')


def revert(remediator: Remediator) -> Run:
    return remediator.revert('test')


def forked(fix: Fix, die_at: int = 0) -> dict[str, Any]:
    """Have a process of its own make a fix, and perhaps die at a point of that number.

    Returns its exit code and, by what it came to, ``run`` and ``message``, ``refused``,
    ``before`` or ``during``.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _child(fix, die_at, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said: dict[str, Any] = json.loads(pipe.read() or '{}')
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {**said, 'code': code}


def _child(fix: Fix, die_at: int, writing: int) -> None:
    points = 0

    def say(**said: Any) -> None:
        os.write(writing, json.dumps(said).encode())

    def tell(found: Change) -> None:
        nonlocal points
        points += 1
        if points == die_at:
            say(before=found.what)
            os.kill(os.getpid(), signal.SIGKILL)
        if found.command:
            points += 1
            if points == die_at:
                say(during=found.what)
                # Nobody handles it; the command goes on.
                signal.setitimer(signal.ITIMER_REAL, DURING_SECONDS)

    try:
        AUDIENCE.tell = tell
        run = fix(local().remediator)
        AUDIENCE.tell = None
        if run:
            say(run=run.result, message=run.message, points=points)
        os._exit(0)
    except NestedAgentError as error:
        say(refused=str(error))
        os._exit(1)
    except BaseException:  # noqa: BLE001  # a child must not go on as its parent
        traceback.print_exc()
        os._exit(2)


def facts() -> dict[str, Any]:
    """Return what is so on the node."""
    show = subprocess.run(SHOW_NOVA, capture_output=True, text=True, check=True)
    return {
        'dropin': _text(Path(DROPIN)),
        'nova_conf': _text(Path(NOVA_CONF)),
        'access': [_access(Path(NOVA_CONF)), _access(Path('/dev/kvm'))],
        'names': sorted(str(each) for room in ROOMS for each in Path(room).rglob('*')),
        'records': sorted(str(each.relative_to(STATE)) for each in STATE.rglob('*')),
        'nested': _text(Path('/sys/module/kvm_amd/parameters/nested')),
        'nova': show.stdout.strip(),
    }


def effects() -> list[Any]:
    """Return which of its states the node is in: what its fixes change."""
    now = facts()
    return [now[name] for name in ('dropin', 'nova_conf', 'nested')]


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _access(path: Path) -> tuple[int, int, int] | None:
    if not path.exists():
        return None
    found = path.stat()
    return found.st_uid, found.st_gid, found.st_mode


def tell(said: dict[str, Any]) -> None:
    """Print a line for the test."""
    sys.stdout.write(f'{json.dumps(said)}\n')
    sys.stdout.flush()
