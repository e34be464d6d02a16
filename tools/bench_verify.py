#!/usr/bin/env python3
"""What a verification costs on this machine, beside a shell script that reads the same facts.

Prints the median of many runs. CPU is user and system time, children (modprobe) included.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nested_agent.drivers import loader
from nested_agent.node.observe import Sources
from nested_agent.node.root import Root
from nested_agent.policy import Policy
from nested_agent.report import make_report

# The four facts by hand: flag, loaded value, next load, nova's mode.
SHELL = """
grep -m1 -wo -e vmx -e svm /proc/cpuinfo
for module in kvm_intel kvm_amd; do
    cat /sys/module/$module/parameters/nested 2>/dev/null
    /sbin/modprobe -D $module 2>/dev/null | grep -o 'nested=.*'
done
sed -n '/^\\[libvirt\\]/,/^\\[/s/^cpu_mode *= *//p' /etc/nova/*.conf 2>/dev/null
true
"""


def cpu_seconds() -> float:
    """Return user and system time of this process and its ended children."""
    spent = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        spent += usage.ru_utime + usage.ru_stime
    return spent


def measure(run: Callable[[], object], times: int) -> tuple[float, float]:
    """Return the median CPU and wall time of a run, in milliseconds."""
    cpu, wall = [], []
    for _ in range(times):
        before, start = cpu_seconds(), time.perf_counter()
        run()
        wall.append((time.perf_counter() - start) * 1000)
        cpu.append((cpu_seconds() - before) * 1000)
    return statistics.median(cpu), statistics.median(wall)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--times', type=int, default=200, help='runs of each (default: 200)')
    times = parser.parse_args().times
    root, drivers, policy = Root(), loader.load(), Policy()

    def verify() -> object:
        return make_report(root, drivers, Sources(), policy)

    def run(*command: str) -> Callable[[], object]:
        # check=False: the exit code of check is the state of this machine.
        return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=False)

    report = make_report(root, drivers, Sources(), policy)
    command = str(Path(sys.executable).with_name('nested-agentctl'))
    rows = {
        'verification in a warm process': measure(verify, times),
        'nested-agentctl check': measure(run(command, 'check'), max(times // 10, 5)),
        'shell script, four facts': measure(run('/bin/sh', '-c', SHELL), times),
    }
    processes = len(list(root.pids()))
    print(
        f'Linux {os.uname().release}, {os.cpu_count()} processors, {processes} processes, '
        f'Python {sys.version.split()[0]}, driver {report.driver}, state {report.state}'
    )
    for name, (cpu, wall) in rows.items():
        print(f'{name:32} {cpu:8.2f} ms CPU {wall:8.2f} ms wall')


if __name__ == '__main__':
    main()
