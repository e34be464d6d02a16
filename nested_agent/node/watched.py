"""The paths whose change makes an observation out of date."""

from nested_agent.facts import NovaCompute, Observation
from nested_agent.node.kvm import DEVICE
from nested_agent.node.modprobe_d import DIRECTORIES

#: Where nova-compute's files are, also those that are not there yet.
NOVA = '/etc/nova'


def paths(observation: Observation) -> set[str]:
    """Return files, directories and the device node (it comes and goes with the module).

    sysfs tells nothing by inotify; devtmpfs does.
    """
    found = {DEVICE, NOVA, *DIRECTORIES}
    nova = observation.nova
    if isinstance(nova, NovaCompute):
        prefix = '' if nova.root == '/' else nova.root
        found |= {f'{prefix}{each.path}' for each in (*nova.files, *nova.directories)}
    return found
