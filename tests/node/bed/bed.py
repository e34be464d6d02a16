"""Where tests get their nodes from."""

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from tests.node.bed import prerequisite
from tests.node.bed.bochs import BochsMachine
from tests.node.bed.bundle import bundle
from tests.node.bed.disk import Disk, disk
from tests.node.bed.machine import Machine
from tests.node.bed.node import Node
from tests.node.bed.qemu import Qemu, QemuMachine
from tests.node.bed.snapshot import overlay, snapshot
from tests.node.bed.store import Store

AMD = 'EPYC'
# Under Bochs, and some five times slower; it has no network.
INTEL = 'corei7_haswell_4770'
# Has neither svm nor, under this emulator, vmx.
UNSUPPORTED = 'Haswell'


class Bed:
    """Nodes that have the project of one checkout installed."""

    def __init__(self, checkout: Path, store: Store) -> None:
        self._checkout = checkout
        self._store = store

    def node(
        self, stack: ExitStack, *, cpu: str = AMD, arguments: str = '', cold: bool = False
    ) -> Node:
        """Return a running node that is private, and gone when ``stack`` closes.

        It resumes where a node with this CPU model and these extra kernel ``arguments``
        had just booted; ``cold`` makes it boot instead, which INTEL always does. Raises
        MissingPrerequisiteError when this machine cannot have nodes, BootError when it does
        not come up.
        """
        prerequisite.require()
        directory = stack.enter_context(self._store.scratch())
        base = self._disk.distribution
        boot = (base.kernel, base.initramfs)
        if cpu == INTEL:
            intel = BochsMachine(*boot, self._disk.image, directory, cpu, arguments)
            return _booted(stack, intel)
        image = directory / 'disk.qcow2'
        machine = QemuMachine(*boot, image, directory, cpu, arguments)
        if cold:
            overlay(image, self._disk.image, 'raw')
            return _booted(stack, machine)
        ready = snapshot(self._store, self._disk, cpu, arguments)
        overlay(image, ready.image, 'qcow2')
        node = stack.enter_context(Node(machine))
        node.resume(lambda: Qemu(machine, ready.memory))
        return node

    @cached_property
    def _disk(self) -> Disk:
        return disk(self._store, bundle(self._store, self._checkout))


def _booted(stack: ExitStack, machine: Machine) -> Node:
    node = stack.enter_context(Node(machine))
    node.power_on()
    return node
