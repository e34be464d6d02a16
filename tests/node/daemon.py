"""The daemon in a node, as its unit runs it, and what it says of that node on its disk."""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.node.bed.node import Node

CHECKOUT = Path(__file__).parents[2]
UNIT = 'nested-agent.service'
CONFIG = '/etc/nested-agent/nested-agent.conf'
# Read too, without being asked for, and after the file.
DROPIN = '/etc/nested-agent/nested-agent.conf.d/50-test.conf'
STATE = '/var/lib/nested-agent'
# Nothing in these tests may be seen because the interval has passed.
NEVER = 86400
DEADLINE = 300.0


def install(node: Node, options: str = '', unit: str = '') -> None:
    """Configure the agent and its unit; ``unit`` is a drop-in."""
    text = (CHECKOUT / 'etc' / 'systemd' / UNIT).read_text()
    node.write_file(f'/etc/systemd/system/{UNIT}', text.replace('/usr/bin/', '/usr/local/bin/'))
    if unit:
        node.write_file(f'/etc/systemd/system/{UNIT}.d/test.conf', unit)
    configure(node, options)
    node.run('systemctl daemon-reload')


def configure(node: Node, options: str = '') -> None:
    node.write_file(CONFIG, f'[agent]\ninterval = {NEVER}\n')
    node.write_file(DROPIN, f'{options}\n')


def show(node: Node, name: str, unit: str = UNIT) -> str:
    return node.run(f'systemctl show -P {name} {unit}').stdout.strip()


def stored(node: Node) -> dict[str, Any]:
    """Return the report on the node's disk; reading a file is what costs least in there.

    It is packed for the way out: some nodes have but a serial port.
    """
    packed = node.run(['gzip', '-c', f'{STATE}/report.json']).stdout
    data = json.loads(gzip.decompress(packed.encode(errors='surrogateescape')))
    report: dict[str, Any] = data['report']
    return report


def conditions(report: dict[str, Any]) -> dict[str, str]:
    return {each['type']: f'{each["status"]}/{each["reason"]}' for each in report['conditions']}


def message(report: dict[str, Any], type_: str) -> str:
    return next(str(each['message']) for each in report['conditions'] if each['type'] == type_)


def runs(node: Node) -> list[dict[str, Any]]:
    """Return the runs in the history, the last first; none before the first."""
    done = node.run(f'cat {STATE}/history.json', check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)['runs'] if done.stdout else []
    return found
