"""nested-agent on a simulated compute node: ``python -m`` this module; all else is the real one."""

import argparse
import contextlib
import functools
import sys
import time
from pathlib import Path

from nested_agent import local, service
from nested_agent.cmd import agent
from tests.unit.simulated import SimulatedNode
from tests.unit.test_remediator import WRONG, SimulatedRemediator


def _hold(marker, command):
    """Stay at the first load of the module, until killed."""
    if 'modprobe' in command and '-r' in command:
        marker.touch()
        time.sleep(3600)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--config-file', required=True)
    parser.add_argument('--tree', type=Path, help='where to tell the root of the node')
    parser.add_argument('--fail', action='store_true', help='the module cannot be loaded')
    parser.add_argument('--refuse', action='store_true', help='nova-compute has no unit')
    parser.add_argument('--hold', type=Path, help='made, and stayed at, where KVM is unloaded')
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        stack.addCleanup = stack.callback  # as a test has it
        node = SimulatedNode(stack, files=dict(WRONG))
        if options.fail:
            node.hangs.add('load')
        if options.refuse:
            node.systemd.properties['LoadState'] = 'not-found'
        if options.hold:
            node.before = functools.partial(_hold, options.hold)
        options.tree.write_text(str(node.root.base))
        SimulatedRemediator.node = node
        local.Remediator = SimulatedRemediator
        service.AgentService = functools.partial(service.AgentService, root=node.root)
        return agent.main([f'--config-file={options.config_file}'])


if __name__ == '__main__':
    sys.exit(main())
