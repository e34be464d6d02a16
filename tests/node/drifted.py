"""A node whose module and nova-compute are not as the default policy wants them, and its signs."""

import json
from typing import Any

from tests.node.bed.bed import INTEL
from tests.node.bed.node import Node

KVM_CONF = '/etc/modprobe.d/kvm.conf'
MODPROBE_DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'
NOVA_CONF = '/etc/nova/nova.conf'
NOVA = 'nova-compute.service'
STARTS = '/var/lib/nova/starts'
REFUSED = 1
# All there is in the directories that the agent writes to, as the bed makes them.
NAMES = [KVM_CONF, '/etc/nova/nova-compute.conf', NOVA_CONF]
#: And after a revert: nova-compute's directory must not look changed after its start.
REVERTED_NAMES = sorted([*NAMES, '/etc/nova/.nested-agent'])
# And when it is mended: where second names of files are kept meanwhile is empty then, but there.
MENDED_NAMES = sorted(
    [*NAMES, MODPROBE_DROPIN, '/etc/modprobe.d/.nested-agent', '/etc/nova/.nested-agent']
)

# nova starts with this, but no guest gets svm; kvm.conf of the root file system has nested=0.
BEFORE = """\
# Ours since 2019.
[DEFAULT]
transport_url=rabbit://nova:s3cret@controller

[libvirt]
# What every processor here can do.
cpu_mode  =  custom
cpu_models = EPYC,
    EPYC-Rome
# A comment between.
virt_type = kvm
[workarounds]
; Nothing yet.
"""
AFTER = BEFORE.replace('custom', 'host-passthrough').replace(
    'cpu_models = EPYC,\n    EPYC-Rome\n', ''
)
assert AFTER.count('\n') == BEFORE.count('\n') - 2


def drift(node: Node) -> None:
    """Give nova-compute another guest CPU, and have it run with that."""
    node.write_file(NOVA_CONF, BEFORE, 0o640)
    node.run(f'systemctl restart {NOVA}')
    assert last_start(node)['cpu_mode'] == 'custom'


def starts(node: Node) -> list[dict[str, Any]]:
    """Return the starts of nova-compute, the first first, each with the options it read."""
    done = node.run(['cat', STARTS], check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def last_start(node: Node) -> dict[str, Any]:
    """Return the start of the nova-compute that runs now, once it has read its options."""

    def found() -> dict[str, Any] | None:
        running = (int(main_pid(node)), node.boot_id())
        return next((s for s in starts(node) if (s['pid'], s['boot_id']) == running), None)

    last = node.wait_until(found)
    assert isinstance(last, dict)
    return last


def main_pid(node: Node, unit: str = NOVA) -> str:
    return node.run(['systemctl', 'show', '-P', 'MainPID', unit]).stdout.strip()


def module(node: Node) -> str:
    """Return the name of the module that is its KVM."""
    return 'kvm_intel' if node.machine.cpu == INTEL else 'kvm_amd'


def nested_guest_runs(node: Node) -> bool:
    """Whether a guest really ran a guest of its own (VMRUN or VMLAUNCH): what all is about."""
    kind = 'vmx' if module(node) == 'kvm_intel' else 'svm'
    code = node.run(f'kvmprobe {kind}', check=False).returncode
    assert code in (0, REFUSED), code
    return code == 0


def parameter(node: Node, name: str = 'nested') -> str:
    return node.read_file(f'/sys/module/{module(node)}/parameters/{name}').strip()


def nested(node: Node) -> bool:
    """Whether the loaded module says that it is on: a boolean of kvm_intel, a number of kvm_amd."""
    return {'Y': True, '1': True, 'N': False, '0': False}[parameter(node)]


def load_of_module(node: Node) -> str:
    """Return what differs after every load of the module: its inode in sysfs."""
    return node.run(['stat', '-c', '%i', f'/sys/module/{module(node)}']).stdout


def hold(node: Node) -> str:
    """Have a process hold a virtual machine until ``systemctl stop hold``; return its pid."""
    node.run(['systemd-run', '--unit=hold', 'kvmprobe', 'hold', '86400'])
    node.wait_until(f'test "$(cat /sys/module/{module(node)}/refcnt)" != 0')
    return main_pid(node, 'hold')


def owner_and_mode(node: Node, path: str) -> str:
    return node.run(['stat', '-c', '%U:%G %a', path]).stdout.strip()


def names(node: Node) -> list[str]:
    """Return all there is in the directories that the agent writes to."""
    return sorted(node.run('find /etc/modprobe.d /etc/nova -mindepth 1').stdout.split())
