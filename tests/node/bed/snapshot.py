"""The state of a node that has just booted, so that a test need not wait for a boot."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.node.bed.digest import digest
from tests.node.bed.disk import Disk
from tests.node.bed.node import BootError, Node
from tests.node.bed.process import run
from tests.node.bed.qemu import Qemu, QemuMachine
from tests.node.bed.store import Store

HERE = Path(__file__).parent
# One for each CPU model and set of kernel arguments that a test run uses.
KEEP = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A booted node: what its disk and its memory hold."""

    path: Path

    @property
    def image(self) -> Path:
        """The disk, on top of the one it booted from."""
        return self.path / 'disk.qcow2'

    @property
    def memory(self) -> Path:
        """The rest of its state."""
        return self.path / 'memory'


def snapshot(store: Store, disk: Disk, cpu: str, arguments: str) -> Snapshot:
    """Return the snapshot of ``disk`` booted with this CPU model and these kernel arguments."""
    code = (HERE / 'snapshot.py', HERE / 'qemu.py')
    key = digest(disk.key, *code, cpu, arguments, _emulator_version())

    def build(path: Path) -> None:
        _build(store, Snapshot(path), disk, cpu, arguments)

    return Snapshot(store.entry('snapshot', key, build, keep=KEEP))


def overlay(image: Path, backing: Path, kind: str) -> None:
    """Make a disk ``image`` that holds the changes to ``backing``, which stays as it is."""
    run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', backing, '-F', kind, image])


@cache
def _emulator_version() -> str:
    # Another version need not understand the saved state.
    return run(['qemu-system-x86_64', '--version'])


def _build(store: Store, new: Snapshot, disk: Disk, cpu: str, arguments: str) -> None:
    overlay(new.image, disk.image, 'raw')
    base = disk.distribution
    with store.scratch() as scratch:
        machine = QemuMachine(base.kernel, base.initramfs, new.image, scratch, cpu, arguments)
        with Node(machine) as node:
            node.power_on()
            failed = node.run('systemctl list-units --failed --plain --no-legend').stdout
            if failed:
                raise BootError(f'units failed:\n{failed}\n{node.console()}')
            node.run('udevadm settle && sync')
            emulator = node.emulator
            assert isinstance(emulator, Qemu), emulator
            emulator.save_memory(new.memory)
            emulator.quit()
