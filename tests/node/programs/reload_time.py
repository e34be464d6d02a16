"""Runs in a node: how long it is without /dev/kvm, and without nova-compute, during a reload.

``reload_time N`` does a bare reload, a fix and a revert N times, and prints a line of JSON for
each reload: who made it and the seconds without either.
"""

import os
import subprocess
import sys
import threading
import time

from inotify_simple import INotify, flags

from tests.node.programs.fixes import forked, mend, revert, tell, warm_up

BARE = ('/bin/sh', '-ec', 'modprobe -r kvm_amd && modprobe kvm_amd && udevadm settle')
STAMPS = ('ActiveExitTimestampMonotonic', 'ActiveEnterTimestampMonotonic')
NOVA = 'nova-compute.service'


class Gap:
    """Notes when /dev/kvm goes and comes, at once, for it runs before all else on the node."""

    def __init__(self) -> None:
        self.gone: float | None = None
        self.seconds = 0.0
        self._inotify = INotify()
        self._inotify.add_watch('/dev', flags.CREATE | flags.DELETE)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        while True:
            for event in self._inotify.read():
                now = time.monotonic()
                if event.name != 'kvm':
                    continue
                if event.mask & flags.DELETE:
                    self.gone = now
                elif self.gone is not None:
                    self.seconds, self.gone = now - self.gone, None


def nova_down() -> float:
    """Return for how many seconds nova-compute was down the last time."""
    show = ['systemctl', 'show', *(f'--property={each}' for each in STAMPS), NOVA]
    done = subprocess.run(show, capture_output=True, text=True, check=True)
    found = dict(line.split('=') for line in done.stdout.split())
    ended, began = (int(found[each]) for each in STAMPS)
    return (began - ended) / 1e6


def main(times: int) -> None:
    gap = Gap()
    warm_up()
    for _ in range(times):
        subprocess.run(BARE, check=True)
        tell({'who': 'modprobe', 'kvm': gap.seconds})
        for who, fix in (('fix', mend), ('revert', revert)):
            forked(fix)
            tell({'who': who, 'kvm': gap.seconds, 'nova': nova_down()})


if __name__ == '__main__':
    main(int(sys.argv[1]))
