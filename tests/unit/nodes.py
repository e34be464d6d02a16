"""Compute nodes as trees: what real Intel and AMD nodes show, with one thing changed at a time."""

import dataclasses
import struct
from pathlib import Path
from typing import Any

from nested_agent.facts import Unread
from nested_agent.node.root import Completed
from tests.unit.fakes import FakeRoot, make_tree

RELEASE = '6.1.0-18-cloud-amd64'

DEBIAN_NOVA = {
    '/etc/nova/nova.conf': '[libvirt]\nvirt_type = kvm\ncpu_mode = host-passthrough\n',
    '/etc/nova/nova-compute.conf': '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n',
}


@dataclasses.dataclass
class Node:
    """A node to be: its parts as people speak of them.

    :ivar nested: the parameter as sysfs shows it; None: the module is not loaded
    :ivar offered: whether KVM offers the flag; None: as ``nested`` says
    :ivar options: what ``modprobe -D`` prints after the module's path
    :ivar kvm: errno of opening /dev/kvm, None where it works
    :ivar files: more files, or other contents; None removes one
    """

    vendor: str = 'AuthenticAMD'
    module: str = 'kvm_amd'
    flags: str = 'fpu svm npt'
    release: str = RELEASE
    cmdline: str = 'root=/dev/vda quiet'
    nested: str | None = '1'
    builtin: bool = False
    refcnt: int = 0
    offered: bool | None = None
    options: str = ''
    modprobe: Completed | Unread | None = None
    kvm: OSError | None = None
    files: dict[str, str | None] = dataclasses.field(default_factory=dict)
    live: bool = True

    def tree(self) -> dict[str, str | bytes]:
        files: dict[str, Any] = {
            '/proc/cpuinfo': (
                f'processor\t: 0\nvendor_id\t: {self.vendor}\nmodel name\t: A {self.vendor} CPU\n'
                f'flags\t\t: {self.flags}\n\nprocessor\t: 1\n'
            ),
            '/proc/sys/kernel/osrelease': f'{self.release}\n',
            '/proc/sys/kernel/random/boot_id': '3c7b0fd4-6a2a-4a4f-9d0f-4b8f8f0b3a10\n',
            '/proc/cmdline': f'{self.cmdline}\n',
            '/proc/1/cmdline': '/sbin/init\0',
            '/proc/uptime': '5000.00 9000.00\n',
            '/proc/stat': 'btime 1700000000\n',
            '/etc/hostname': 'node1\n',
            '/usr/sbin/modprobe': '',
            '/etc/modprobe.d/README': '',
            '/sys/module/kernel/parameters/panic': '0\n',
            **DEBIAN_NOVA,
        }
        if not self.kvm:
            files['/dev/kvm'] = ''
        if self.nested is not None:
            module = f'/sys/module/{self.module}'
            files[f'{module}/parameters/nested'] = f'{self.nested}\n'
            files['/sys/module/kvm/parameters/halt_poll_ns'] = '200000\n'
            if not self.builtin:
                files[f'{module}/initstate'] = 'live\n'
                files[f'{module}/refcnt'] = f'{self.refcnt}\n'
        files.update(self.files)
        return {name: content for name, content in files.items() if content is not None}

    def offers(self) -> bool:
        return self.nested in ('1', 'Y') if self.offered is None else self.offered

    def ioctl(self, request: int, argument: int | bytearray) -> int:
        if request == 0xAE00:
            return 12
        if request == 0xAE03:
            return 4224
        assert isinstance(argument, bytearray)
        ecx = {'0x1': 0x9ED82203, '0x80000001': 0x3F3}
        if self.offers():
            ecx['0x1' if self.module == 'kvm_intel' else '0x80000001'] |= (
                1 << 5 if self.module == 'kvm_intel' else 1 << 2
            )
        struct.pack_into('=I', argument, 0, 2)
        struct.pack_into('=7I', argument, 8, 1, 0, 0, 0, 0, ecx['0x1'], 0)
        struct.pack_into('=7I', argument, 48, 0x80000001, 0, 0, 0, 0, ecx['0x80000001'], 0)
        return 0

    def root(self, case: Any) -> FakeRoot:
        """Return the node's Root; the tree is removed with the test case."""
        directory = make_tree(self.tree())
        case.addCleanup(directory.cleanup)
        ko = self.module.replace('_', '-')
        path = f'/lib/modules/{self.release}/kernel/arch/x86/kvm'
        shown = f'insmod {path}/kvm.ko \ninsmod {path}/{ko}.ko {self.options}\n'
        if self.builtin:
            shown = f'builtin {self.module}\n'
        answer = self.modprobe or Completed(0, shown, '')
        root = FakeRoot(
            Path(directory.name),
            live=self.live,
            commands={f'/usr/sbin/modprobe -D {self.module}': answer},
            ioctls=self.ioctl,
        )
        if self.kvm:
            refusal = self.kvm
            plain = root.open

            def open_(name: str, flags: int = 0) -> int:
                if name == '/dev/kvm':
                    raise refusal
                return plain(name, flags)

            root.open = open_
        return root


def amd(**changes: Any) -> Node:
    """Return an AMD node that is as an operator wants it, but for ``changes``."""
    return Node(**changes)


def intel(**changes: Any) -> Node:
    """Return an Intel node that is as an operator wants it, but for ``changes``."""
    parts: dict[str, Any] = {
        'vendor': 'GenuineIntel',
        'module': 'kvm_intel',
        'flags': 'fpu vmx ept',
        'nested': 'Y',
    }
    return Node(**{**parts, **changes})


def nova_process(pid: int = 700, *, ticks: int = 490000, environ: str = '') -> dict[str, str]:
    """Return the /proc files of a Debian nova-compute.

    :param ticks: its start in clock ticks after boot (100 a second; the node is up 5000 s)
    """
    argv = (
        '/usr/bin/python3',
        '/usr/bin/nova-compute',
        '--config-file=/etc/nova/nova.conf',
        '--config-file=/etc/nova/nova-compute.conf',
    )
    fields = ' '.join(['0'] * 18)
    return {
        f'/proc/{pid}/comm': 'nova-compute\n',
        f'/proc/{pid}/cmdline': '\0'.join(argv) + '\0',
        f'/proc/{pid}/stat': f'{pid} (nova-compute) S {fields} {ticks} 0 0\n',
        f'/proc/{pid}/status': 'Name:\tnova-compute\nPPid:\t1\nUid:\t64060\t64060\t64060\t64060\n',
        f'/proc/{pid}/environ': environ,
        f'/proc/{pid}/cgroup': '0::/system.slice/nova-compute.service\n',
        f'/proc/{pid}/root': '-> /',
        f'/proc/{pid}/cwd': '-> /var/lib/nova',
    }
