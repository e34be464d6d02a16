"""Bochs: Intel machines with VMX, which QEMU does not emulate. One process is one of them."""

import socket
from typing import ClassVar

from tests.node.bed import cdrom
from tests.node.bed.agent import RESET, Agent
from tests.node.bed.channel import Channel, ChannelClosedError
from tests.node.bed.disk import CYLINDERS, HEADS, SECTORS
from tests.node.bed.machine import Machine
from tests.node.bed.polling import poll
from tests.node.bed.process import start

MEMORY_MB = 1024
# There is neither virtio, for the agent, nor a network. Only by way of PCI is a reset one that
# unlocks IA32_FEATURE_CONTROL, which this BIOS sets at every start.
KERNEL_ARGUMENTS = (
    'disk=sda console=ttyS0,115200 panic=0 quiet mitigations=off reboot=pci '
    'systemd.show_status=1 TERM=dumb systemd.wants=serial-agent.service '
    'systemd.mask=ethernet.service'
)
LOOPBACK = '127.0.0.1'
START_SECONDS = 60.0

# term: the only display that opens no window and no port. slowdown: an idle machine's clock
# does not run away. undoable: what the guest writes goes to the journal, over all boots.
# Unknown MSRs are reported by the thousand, so only what ends the emulator is.
CONFIGURATION = """\
config_interface: textconfig
display_library: term
cpu: model={cpu}, count=1, ips=200000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={memory}, host={memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata0-master: type=disk, mode=undoable, path={disk}, journal=journal, {geometry}
ata1-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={serial}
com2: enabled=1, mode=socket-client, dev={host}:{port}
clock: sync=slowdown, time0=utc
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
mouse: enabled=0
log: bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
"""
# Debian's Bochs is the one with the debugger, which waits for a command before it begins.
DEBUGGER = 'continue\n'


class BochsMachine(Machine):
    """A machine of which the ``disk`` is raw and stays as it is: changes are in the directory."""

    slowness: ClassVar[int] = 4
    # Earlier, what is sent jams the emulated serial port when its driver resets it.
    listening: ClassVar[bytes] = b'Started serial-agent.service'

    def power_on(self) -> 'Bochs':
        """Boot from a CD-ROM with kernel and initramfs, which mounts the disk."""
        image = self.directory / 'boot.iso'
        if not image.exists():
            arguments = f'{KERNEL_ARGUMENTS} {self.arguments}'.strip()
            cdrom.build(image, self.kernel, self.initramfs, arguments)
        return Bochs(self)


class Bochs:
    """A running machine.

    Raises ChannelClosedError or TimeoutError when the emulator does not start. It dies with the
    process that made it.
    """

    def __init__(self, machine: BochsMachine) -> None:
        # The other way round the port would have to be chosen before Bochs listens at it.
        with socket.create_server((LOOPBACK, 0)) as server:
            configuration = _configuration(machine, server.getsockname()[1])
            (machine.directory / 'bochsrc').write_text(configuration)
            (machine.directory / 'debugger').write_text(DEBUGGER)
            self._process = start(
                ['env', 'TERM=dumb', 'bochs', '-f', 'bochsrc', '-rc', 'debugger'],
                directory=machine.directory,
                log=machine.messages,
                descriptors=(),
            )
            try:
                connection = self._accept(server)
            except BaseException:
                self._end()
                raise
        self.agent = Agent(Channel(connection, reset=RESET))

    @property
    def pid(self) -> int:
        """The emulator's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself, as it does when it meets what it cannot emulate."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Cut the power; the disk has no cache, so what the guest has sent to it is kept."""
        self._end()
        self.agent.close()

    def _accept(self, server: socket.socket) -> socket.socket:
        server.setblocking(False)

        def connected() -> socket.socket | None:
            if not self.alive:
                raise ChannelClosedError(f'bochs ended with {self._process.returncode}')
            try:
                return server.accept()[0]
            except BlockingIOError:
                return None

        return poll(connected, START_SECONDS, 'bochs connects its serial port')

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()


def _configuration(machine: BochsMachine, port: int) -> str:
    return CONFIGURATION.format(
        cpu=machine.cpu,
        memory=MEMORY_MB,
        disk=machine.disk,
        geometry=f'cylinders={CYLINDERS}, heads={HEADS}, spt={SECTORS}',
        serial=machine.serial.name,
        host=LOOPBACK,
        port=port,
    )
