"""Runs in a node: interrupts fixes of that node at every point, and has them put right.

A point is the moment before a change of the node: a file opened for writing, renamed, linked or
removed, a directory made or removed, a command that loads, unloads, starts or stops something;
and, of a command, one while it runs. Between two points the node stays the same, so these are all
the states that a fix can be interrupted in. Python itself tells of them (sys.addaudithook); the
product knows nothing of this.

A revert counts as a fix, too. ``kill mend|revert`` kills it at each of its points, recovers, and
prints what is so as a line of JSON. ``hang mend|revert`` waits for a number in a file, stops it for
good after so many disruptive changes, says in another file what the last was, and waits for the
power to go.
"""

import itertools
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nested_agent.remediation.remediator import Remediator
from tests.node.programs.fixes import (
    AUDIENCE,
    ROOMS,
    STATE,
    Change,
    Fix,
    effects,
    facts,
    forked,
    local,
    mend,
    revert,
    tell,
    warm_up,
)

READY, NUMBER, SAID = (Path(f'/run/interrupt.{name}') for name in ('ready', 'number', 'said'))
KEPT = Path('/root/beginning')


class Beginning:
    """The node as it is now, to begin there again; cheaper than to undo a fix."""

    def __init__(self) -> None:
        self._effects = effects()
        self._copies = {
            room: KEPT / room.removeprefix('/').replace('/', '-') for room in (*ROOMS, str(STATE))
        }
        KEPT.mkdir()
        for room, copy in self._copies.items():
            subprocess.run(['cp', '-a', room, copy], check=True)

    def restore(self) -> None:
        for room, copy in self._copies.items():
            subprocess.run(['rm', '-r', room], check=True)
            subprocess.run(['cp', '-a', copy, room], check=True)
        if effects() != self._effects:
            subprocess.run(['modprobe', '-r', 'kvm_amd'], check=True)
            subprocess.run(['modprobe', 'kvm_amd'], check=True)


def prepare(name: str) -> tuple[Fix, Fix]:
    """Bring the node where the fix of that name begins; returns it, and what undoes it."""
    STATE.mkdir(exist_ok=True)
    warm_up()
    if name == 'mend':
        return mend, revert
    forked(mend)
    return revert, mend


def kill(name: str) -> None:
    """Kill a fix at each of its points and recover, until there is no point left.

    Each begins where the first one did. Every other state that a recovery leads to is brought to
    the end once, and the fix then undone.
    """
    fix, undo = prepare(name)
    beginning = Beginning()
    known: list[Any] = []
    for number in itertools.count(1):
        clock = time.monotonic()
        told: dict[str, Any] = {'number': number, 'killed': forked(fix, number) | facts()}
        ended = 'run' in told['killed']
        if not ended:
            # Every fourth time the recovery is killed as well.
            if number % 4 == 3:
                told['again'] = forked(Remediator.recover, 1 + number // 4)
            told['recovered'] = forked(Remediator.recover) | facts()
            if effects() not in known:
                known.append(effects())
                told['made'] = forked(fix) | facts()
                told['undone'] = forked(undo) | facts()
            beginning.restore()
        tell({**told, 'seconds': round(time.monotonic() - clock, 1)})
        if ended:
            return


def hang(name: str) -> None:
    """Stop a fix for good once the disruptive change of the number that is told was made."""
    fix, _ = prepare(name)
    READY.touch()
    while not NUMBER.exists():
        time.sleep(0.1)
    left = int(NUMBER.read_text())
    last = ''

    def meet(found: Change) -> None:
        nonlocal left, last
        if not left:
            SAID.write_text(last)
            while True:
                signal.pause()
        if found.disruptive:
            left, last = left - 1, found.what

    remediator = local().remediator
    AUDIENCE.tell = meet
    fix(remediator)
    AUDIENCE.tell = None
    SAID.write_text('the end')


if __name__ == '__main__':
    if sys.argv[1] == 'kill':
        kill(sys.argv[2])
    else:
        hang(sys.argv[2])
