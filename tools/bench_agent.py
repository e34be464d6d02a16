"""What the daemon costs on this machine, with a real RabbitMQ beside it.

Prints its memory, its CPU time per minute, how soon an edited file shows in its status, and the
latency of status requests beside a bare oslo.messaging echo server.
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
import oslo_messaging
from oslo_config import cfg

from nested_agent.reporting import state_file
from tests.functional.broker import Broker
from tests.functional.daemon import Daemon

TICKS = os.sysconf('SC_CLK_TCK')

#: The least an RPC server can be: what oslo.messaging itself costs for the same payload.
ECHO = """
from nested_agent import bootstrap
import json, sys, oslo_messaging
from oslo_config import cfg
class Echo:
    target = oslo_messaging.Target(version='1.0')
    def status(self, context):
        return payload
payload = json.load(open(sys.argv[2]))
cfg.CONF([])
server = oslo_messaging.get_rpc_server(
    oslo_messaging.get_rpc_transport(cfg.CONF, sys.argv[1]),
    oslo_messaging.Target(topic='echo', server='echo'), [Echo()],
    access_policy=oslo_messaging.DefaultRPCAccessPolicy)
server.start(override_pool_size=4)
server.wait()
"""


def memory(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of a process, in MB."""
    kilobytes = {}
    for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        kilobytes[name] = int(value)
    return kilobytes['Rss:'] / 1024, kilobytes['Pss:'] / 1024


def cpu_ms(pid: int) -> float:
    """Return CPU time of a process and its ended children, in milliseconds."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    # The scheduler's own count is finer than the ticks of the stat file, for its threads.
    own = sum(
        int(Path(task, 'schedstat').read_text().split()[0]) / 1e6
        for task in Path(f'/proc/{pid}/task').iterdir()
    )
    return own + sum(int(field) for field in fields[13:15]) * 1000 / TICKS


def latencies(ask: Callable[[], object], times: int) -> tuple[float, float]:
    """Return median and 99th percentile of a call, in milliseconds."""
    for _ in range(50):
        ask()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def edits(daemon: Daemon, times: int) -> tuple[float, float]:
    """Return median and longest time from an edit to the status that has it, in seconds."""
    taken = []
    for number in range(times):
        sequence = daemon.stored().report.sequence
        start = time.perf_counter()
        mode = ('none', 'host-model')[number % 2]
        daemon.nova_conf.write_text(f'[libvirt]\ncpu_mode = {mode}\n')
        daemon.report_after(sequence)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), max(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=2, help='of idling (default: 2)')
    parser.add_argument('--requests', type=int, default=2000, help='per server (default: 2000)')
    options = parser.parse_args()
    broker = Broker().start()
    daemon = Daemon()
    daemon.setUp()
    try:
        daemon.configure(f'[DEFAULT]\ntransport_url = {broker.url}\n', interval=60)
        daemon.start_and_settle()
        daemon.says('answering as')
        pid = daemon.process.pid
        print(f'Linux {os.uname().release}, Python {sys.version.split()[0]}')
        before = cpu_ms(pid)
        time.sleep(options.minutes * 60)
        print(f'CPU {(cpu_ms(pid) - before) / options.minutes:.1f} ms per minute, interval 60 s')
        rss, pss = memory(pid)
        print(f'memory {rss:.1f} MB RSS, {pss:.1f} MB PSS, one process')
        median, longest = edits(daemon, 20)
        print(f'edit to status {median:.2f} s median, {longest:.2f} s longest of 20')
        requests(broker, daemon, options.requests)
        print(f'memory after the requests {memory(pid)[0]:.1f} MB RSS')
    finally:
        daemon.cleanUp()
        broker.close()


def requests(broker: Broker, daemon: Daemon, times: int) -> None:
    """Print latencies of the daemon and of the echo server, measured in turns."""
    cfg.CONF([])
    transport = oslo_messaging.get_rpc_transport(cfg.CONF, broker.url)
    report = daemon.stored().report
    payload = daemon.state_dir / state_file.NAME
    size = payload.stat().st_size
    echo = subprocess.Popen([sys.executable, '-c', ECHO, broker.url, str(payload)])
    try:
        targets = {
            'nested-agent get_status': ('nested_agent', report.host, 'get_status'),
            'oslo.messaging echo': ('echo', 'echo', 'status'),
        }
        medians = {}
        for name, (topic, server, method) in targets.items():
            target = oslo_messaging.Target(topic=topic, server=server, version='1.0')
            client = oslo_messaging.get_rpc_client(transport, target, timeout=60)
            median, late = latencies(lambda c=client, m=method: c.call({}, m), times)
            medians[name] = median
            print(f'{name:24} p50 {median:.2f} ms, p99 {late:.2f} ms ({size} bytes)')
        ratio = medians['nested-agent get_status'] / medians['oslo.messaging echo']
        print(f'ratio of the medians {ratio:.2f}')
    finally:
        echo.kill()
        echo.wait()


if __name__ == '__main__':
    main()
