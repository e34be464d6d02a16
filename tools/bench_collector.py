"""What one nested-collector takes on this machine, with a real RabbitMQ and its database beside it.

Agents are simulated by a process of its own that casts reports as agents do, each with the next
number, over oslo.messaging. Prints how many reports per second the collector has written, beside
the simulator and from a backlog without it; its memory and processor time; and how long ``node
list`` and ``node summary`` take meanwhile and after.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nested_agent import bootstrap  # noqa: F401  # before oslo.messaging

# isort: split
from oslo_config import cfg

from nested_agent.conf import load
from nested_agent.rpc.fleet_client import FleetClient
from tests.functional.broker import Broker
from tests.functional.collector import Collector
from tests.functional.mariadb import MariaDB
from tools.bench_agent import cpu_ms, memory

DEADLINE = 120.0

#: Reports per second: it takes several times as many wherever it is of use.
FEWEST = 100


class Simulator:
    """The process that casts; see :mod:`tools.simulate_agents`."""

    def __init__(self, conf: Path, nodes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tools.simulate_agents', conf, str(nodes)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Return when every node has reported once."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> int:
        """End it; return how many reports it cast in all."""
        self._process.terminate()
        return int(self._process.communicate()[0].split()[-1])


def milliseconds(ask: Callable[[], object], times: int) -> tuple[float, float]:
    """Return median and longest time of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken), max(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=10, help='of load (default: 10)')
    parser.add_argument('--nodes', type=int, default=10000, help='(default: 10000)')
    parser.add_argument('--backlog', type=float, default=60, help='seconds of it (default: 60)')
    parser.add_argument('--database', choices=('mariadb', 'sqlite'), default='mariadb')
    options = parser.parse_args()
    # Whose Python it is makes a third: not every one is built with optimizations.
    python = f'Python {sys.version.split()[0]} in {sys.base_prefix}'
    print(f'Linux {os.uname().release}, {python}, {os.cpu_count()} CPUs')
    print(f'{options.nodes} nodes, {options.database}')
    broker = Broker().start()
    database = MariaDB().start() if options.database == 'mariadb' else None
    if database:
        database.create()
    collector = Collector(broker.url, database.url if database else None)
    collector.setUp()
    try:
        collector.sync()
        collector.start()
        load.load(cfg.CONF, [str(collector.control_config)])
        with FleetClient(cfg.CONF) as client:
            measure(collector, client, options)
        commands(collector)
    finally:
        collector.cleanUp()
        if database:
            database.close()
        broker.close()


def measure(collector: Collector, client: FleetClient, options: argparse.Namespace) -> None:
    """Print what the collector takes, and how it answers meanwhile and after."""
    simulator = Simulator(collector.control_config, options.nodes)
    try:
        simulator.wait()
        sustained(collector, client, options.minutes * 60)
        collector.stop()
        left = collector.numbers()
        time.sleep(options.backlog)
    finally:
        cast = simulator.stop()
    alone(collector, cast, left)
    for name, ask in (
        ('list', lambda: list(client.nodes(DEADLINE, {}))),
        ('summary', lambda: client.summary(DEADLINE)),
        ('events', lambda: list(client.events(DEADLINE, {}, 50))),
    ):
        median, longest = milliseconds(ask, 10)
        print(f'RPC {name:8} {median:.0f} ms median, {longest:.0f} ms longest of 10')
    print(f'{len(list(client.nodes(DEADLINE, {})))} nodes listed')


def sustained(collector: Collector, client: FleetClient, seconds: float) -> None:
    """Print what it writes, and its memory, while the simulator casts what it can."""
    pid = collector.process.pid
    began, first, cpu = time.monotonic(), collector.numbers(), cpu_ms(pid)
    sizes = []
    while (now := time.monotonic()) < began + seconds:
        time.sleep(min(10.0, began + seconds - now))
        sizes.append(memory(pid)[0])
        summary, _ = milliseconds(lambda: client.summary(DEADLINE), 1)
        rate = (collector.numbers() - first) / (time.monotonic() - began)
        print(f'{rate:8.0f} reports/s, {sizes[-1]:.1f} MB RSS, summary {summary:.0f} ms')
    taken = time.monotonic() - began
    reports = collector.numbers() - first
    spent = cpu_ms(pid) - cpu
    print(f'{reports / taken:.0f} reports/s written over {taken:.0f} s beside the simulator')
    print(f'{spent / max(reports, 1):.2f} ms CPU of the collector per report')
    print(f'memory {sizes[0]:.1f} MB RSS after 10 s, {sizes[-1]:.1f} at the end')


def alone(collector: Collector, cast: int, left: int) -> None:
    """Print how fast it takes what had come while it was stopped, no simulator beside it."""
    print(f'{cast - left} reports wait in the broker')
    collector.start()
    began, first = time.monotonic(), collector.numbers()
    end = began + DEADLINE + (cast - first) / FEWEST
    while collector.numbers() < cast:
        if time.monotonic() > end:
            raise SystemExit(f'{collector.numbers()} of {cast} reports are all that came')
        time.sleep(0.5)
    taken = time.monotonic() - began
    print(f'{(cast - first) / taken:.0f} reports/s taken from the broker and written')


def commands(collector: Collector) -> None:
    """Print what the commands take, their start included."""
    for words in (('node', 'list'), ('node', 'list', '-f', 'json'), ('node', 'summary')):
        median, longest = milliseconds(lambda words=words: collector.control(*words), 5)
        print(
            f'nested-agentctl {" ".join(words):20} {median:.0f} ms, {longest:.0f} ms longest of 5'
        )


if __name__ == '__main__':
    main()
