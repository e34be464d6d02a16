"""QEMU without KVM: one process is one powered-on machine."""

import shlex
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.node.bed.agent import RESET, Agent
from tests.node.bed.channel import Channel, ChannelClosedError, RemoteError
from tests.node.bed.machine import Machine
from tests.node.bed.polling import poll
from tests.node.bed.process import start

MEMORY_MB = 1024
KERNEL_ARGUMENTS = (
    'disk=vda console=ttyS0 panic=0 quiet mitigations=off net.ifnames=0 systemd.show_status=1 '
    'TERM=dumb'
)
MONITOR_SECONDS = 60.0
RESUME_SECONDS = 120.0


class QemuMachine(Machine):
    """A machine of which the ``disk`` is a qcow2 image that is written to."""

    def power_on(self) -> 'Qemu':
        """Boot from the disk; the emulator itself loads kernel and initramfs."""
        return Qemu(self)


class Qemu:
    """A running machine: booting, or continued from a ``memory`` that save_memory wrote.

    Raises ChannelClosedError when the emulator does not start. It dies with the process that
    made it.
    """

    def __init__(self, machine: QemuMachine, memory: Path | None = None) -> None:
        monitor, monitor_end = socket.socketpair()
        agent, agent_end = socket.socketpair()
        with monitor_end, agent_end:
            descriptors = (monitor_end.fileno(), agent_end.fileno())
            command = _command(machine, *descriptors)
            if memory:
                command += ['-S', '-incoming', f'exec:cat {shlex.quote(str(memory))}']
            self._process = start(
                command, directory=machine.directory, log=machine.messages, descriptors=descriptors
            )
        self._monitor = Channel(monitor)
        self.agent = Agent(Channel(agent, reset=RESET))
        try:
            self.control('qmp_capabilities')
            if memory:
                self._continue()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The emulator's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def control(self, name: str, **arguments: Any) -> Any:
        """Send a QMP command and return its reply."""
        return self._monitor.call(name, arguments, MONITOR_SECONDS)

    def save_memory(self, path: Path) -> None:
        """Stop the machine and write all of its state but the disk's content to ``path``."""
        self.control('stop')
        # The default is slower than a disk.
        self.control('migrate-set-parameters', **{'max-bandwidth': 1 << 40})
        self.control('migrate', uri=f'exec:cat > {shlex.quote(str(path))}')
        poll(self._saved, RESUME_SECONDS, 'the memory is saved')

    def quit(self) -> None:
        """Switch off, with everything that the guest has written in the disk image."""
        with suppress(ChannelClosedError):
            self.control('quit')
        self._process.wait(MONITOR_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Cut the power: what the guest had not flushed to its disk is lost."""
        self._process.kill()
        self._process.wait()
        self._monitor.close()
        self.agent.close()

    def _continue(self) -> None:
        def loaded() -> bool:
            return bool(self.control('query-status')['status'] != 'inmigrate')

        poll(loaded, RESUME_SECONDS, 'the memory is loaded')
        self.control('cont')

    def _saved(self) -> bool:
        status = self.control('query-migrate').get('status')
        if status in ('failed', 'cancelled'):
            raise RemoteError(f'saving the memory {status}')
        return bool(status == 'completed')


def _command(machine: QemuMachine, monitor: int, agent: int) -> list[str | Path]:
    return [
        'qemu-system-x86_64',
        *('-accel', 'tcg', '-machine', 'q35', '-cpu', machine.cpu),
        *('-m', str(MEMORY_MB), '-smp', '1', '-nodefaults', '-display', 'none'),
        *('-kernel', machine.kernel, '-initrd', machine.initramfs),
        *('-append', f'{KERNEL_ARGUMENTS} {machine.arguments}'.strip()),
        *('-drive', f'file={machine.disk},format=qcow2,if=virtio'),
        *('-nic', 'user,model=virtio-net-pci'),
        *('-device', 'virtio-rng-pci'),
        *('-chardev', f'file,id=console,path={machine.serial.name}'),
        *('-serial', 'chardev:console'),
        *('-chardev', f'socket,id=monitor,fd={monitor}', '-mon', 'chardev=monitor,mode=control'),
        *('-chardev', f'socket,id=agent,fd={agent}', '-device', 'virtio-serial-pci'),
        *('-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'),
    ]
