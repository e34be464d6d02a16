"""How long a node is without KVM while the agent reloads its module, beside a bare modprobe.

In an emulated compute node with the real kvm_amd; needs root, see tests/node. Prints medians and
the ratio. The seconds are those of an emulated processor, some ten times those of a real one.
"""

import argparse
import json
import statistics
from collections import defaultdict
from contextlib import ExitStack

from tests.node import drifted, in_node
from tests.node.base import BED
from tests.node.daemon import CONFIG

SECONDS_EACH = 300.0


def measure(times: int) -> dict[str, list[float]]:
    """Return the seconds of each reload, by who made it and what was missing."""
    found = defaultdict(list)
    with ExitStack() as stack:
        node = BED.node(stack)
        drifted.drift(node)
        node.write_file(CONFIG, '[remediation]\nnova_settle = 0\n')
        in_node.install(node)
        command = in_node.command('reload_time', str(times))
        done = node.run(command, timeout=times * SECONDS_EACH)
    for line in done.stdout.splitlines():
        said = json.loads(line)
        for what in said.keys() - {'who'}:
            found[f'{said["who"]} {what}'].append(said[what])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--times', type=int, default=7, help='reloads of each kind')
    found = measure(parser.parse_args().times)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    for title, name in (
        ('without /dev/kvm, modprobe -r && modprobe', 'modprobe kvm'),
        ('without /dev/kvm, remediate', 'fix kvm'),
        ('without /dev/kvm, revert', 'revert kvm'),
        ('without nova-compute, remediate', 'fix nova'),
        ('without nova-compute, revert', 'revert nova'),
    ):
        spread = f'{min(found[name]):.3f} to {max(found[name]):.3f}, {len(found[name])} times'
        print(f'{title:45} {medians[name]:7.3f} s  ({spread})')
    print(
        f'{"ratio, remediate to modprobe":45} {medians["fix kvm"] / medians["modprobe kvm"]:7.2f}'
    )


if __name__ == '__main__':
    main()
