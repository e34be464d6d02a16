"""A node that lives: its modprobe, udevadm and systemctl change its tree as the real ones would.

Time is the node's own (:attr:`SimulatedNode.now`): sleeping moves it, and lets things happen.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nested_agent.actions.changes import Changes
from nested_agent.actions.site import Limits, Site
from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.intel import IntelDriver
from nested_agent.facts import Unread
from nested_agent.model import Remediation, Report
from nested_agent.node.observe import Sources, observe
from nested_agent.node.root import READ_LIMIT, Completed
from nested_agent.policy import Policy
from nested_agent.report import Judged, judge
from tests.unit import nodes
from tests.unit.fakes import FakeRoot, make_tree, write_tree
from tests.unit.simulated_kernel import SimulatedKernel
from tests.unit.simulated_systemd import UNIT_FILE, SimulatedSystemd

DRIVERS = loader.Loaded((AMDDriver(), IntelDriver()), ())
BOOT_ID = '/proc/sys/kernel/random/boot_id'
ENABLED = Policy()


class SimulatedRoot(FakeRoot):
    """The node's Root: commands go to the node, and its uptime goes on."""

    node: 'SimulatedNode'

    def read_bytes(self, name: str, limit: int = READ_LIMIT) -> bytes:
        if name == '/proc/uptime':
            return f'{time.time() - self.node.systemd.booted:.2f} 0.00\n'.encode()
        return super().read_bytes(name, limit)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        alive: Callable[[], object] = lambda: None,
    ) -> Completed | Unread:
        shown = ' '.join(command)
        self.ran.append(shown)
        self.node.before(shown)
        done = self.node.run(command, timeout, alive)
        self.node.after(shown)
        return done


class SimulatedNode:
    """A compute node on which steps, and whole runs, can be carried out.

    :ivar kernel: see there what a test may set, and look at
    :ivar systemd: the same
    :ivar hangs: commands that never end: ``load``, ``unload``, ``settle``, or a verb of systemctl
    :ivar before: called with every command line before it does anything; what it raises is as if
        the agent died there
    :ivar after: the same, once it has done it
    :ivar udev: whether udev gives /dev/kvm its mode, 0660
    :ivar beats: how often ``alive`` was called
    :ivar now: seconds on the node's clock

    :param case: the test; the tree is removed with it
    :param options: for the first load of the vendor's module, as if by hand
    :param loaded: whether it is loaded at first
    :param nova: whether nova-compute runs at first
    :param changes: of :class:`tests.unit.nodes.Node`, such as ``files`` or ``cmdline``
    """

    def __init__(
        self,
        case: Any,
        *,
        intel: bool = False,
        options: str = '',
        loaded: bool = True,
        nova: bool = True,
        **changes: Any,
    ) -> None:
        self.hangs: set[str] = set()
        self.before: Callable[[str], object] = lambda _: None
        self.after: Callable[[str], object] = lambda _: None
        self.udev = True
        self.beats = 0
        self.now = 1000.0
        self.driver = IntelDriver() if intel else AMDDriver()
        self.module = self.driver.module
        self._hardware = (nodes.intel if intel else nodes.amd)(nested=None, **changes)
        directory = make_tree(
            {name: text for name, text in self._hardware.tree().items() if name != '/dev/kvm'}
        )
        case.addCleanup(directory.cleanup)
        self.root = SimulatedRoot(Path(directory.name), ioctls=self._ioctl)
        self.root.node = self
        self.kernel = SimulatedKernel(self.root, self.module)
        self.systemd = SimulatedSystemd(self.root)
        self._private = make_tree({'/state/.keep': ''})
        case.addCleanup(self._private.cleanup)
        self.state_dir = Path(self._private.name) / 'state'
        self.write(
            {
                **self.kernel.index(),
                '/proc/sys/kernel/modules_disabled': '0\n',
                '/proc/self/mountinfo': '1 0 8:1 / / rw - ext4 /dev/vda1 rw\n',
                '/usr/bin/systemctl': '',
                '/usr/bin/udevadm': '',
                UNIT_FILE: '[Service]\nExecStart=/usr/bin/nova-compute\n',
            }
        )
        if loaded:
            self.kernel.modprobe([self.module, *options.split()])
            self._udev()
        if nova:
            self.systemd.spawn(self.now)
        self.kernel.loads.clear()
        self.systemd.starts.clear()

    @property
    def loads(self) -> list[str]:
        """Every load and unload since the beginning."""
        return self.kernel.loads

    @property
    def starts(self) -> list[dict[str, bytes]]:
        """What nova-compute read at every start since the beginning, by path."""
        return self.systemd.starts

    @property
    def boot_id(self) -> str:
        return self.root.read_text(BOOT_ID).strip()

    def site(self, policy: Policy = ENABLED, **limits: float) -> Site:
        """Return where steps work: on this node, in its time."""
        return Site(
            self.root,
            lambda: self.look(policy),
            Changes(self.state_dir),
            self.boot_id,
            Limits(**limits),
            alive=self.alive,
            sleep=self.sleep,
            clock=lambda: self.now,
        )

    def look(
        self,
        policy: Policy = ENABLED,
        previous: Report | None = None,
        remediation: Remediation | None = None,
    ) -> Judged:
        """Observe and judge the node as it is now."""
        observation, driver = observe(self.root, DRIVERS, Sources())
        return judge(observation, driver, policy, previous, remediation)

    def alive(self) -> None:
        self.beats += 1

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        end = self.now + seconds
        while True:
            times = [*self.systemd.events(), *self.kernel.holders.values()]
            self.now = min((each for each in times if each is not None and each < end), default=end)
            self._happen()
            if self.now >= end:
                break
        if seconds:
            self._udev()

    def hold(self, pid: int = 4711, guest: str = 'guest1', seconds: float | None = None) -> None:
        """Have a QEMU use KVM, for some seconds or until :meth:`release`."""
        self.write(
            {
                f'/proc/{pid}/comm': 'qemu-system-x86\n',
                f'/proc/{pid}/cmdline': f'qemu-system-x86_64\0-name\0guest={guest}\0',
                f'/proc/{pid}/fd/9': '-> /dev/kvm',
                f'/proc/{pid}/fd/10': '-> anon_inode:kvm-vm',
            }
        )
        self.kernel.holders[pid] = None if seconds is None else self.now + seconds
        self.kernel.count()

    def release(self, pid: int = 4711) -> None:
        """End what :meth:`hold` began."""
        del self.kernel.holders[pid]
        shutil.rmtree(self.root.base / f'proc/{pid}')
        self.kernel.count()

    def reboot(self) -> None:
        """Switch off and on: what then is loaded and runs is what the disk says."""
        for pid in list(self.kernel.holders):
            self.release(pid)
        self.kernel.switch_off()
        self.systemd.switch_off()
        self.write({BOOT_ID: f'boot-after-{self.boot_id}\n'})
        self.now += 60
        self.kernel.boot()
        self._udev()
        self.systemd.boot()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files of the node; a value ``-> TARGET`` makes a symbolic link."""
        write_tree(self.root.base, files)

    def read(self, name: str) -> str | None:
        """Return a file of the node, None where there is none."""
        try:
            return self.root.read_text(name)
        except FileNotFoundError:
            return None

    def parameter(self, name: str, module: str | None = None) -> str | None:
        """Return a parameter as the kernel prints it; None where the module is not loaded.

        :param module: the vendor's without
        """
        text = self.read(f'/sys/module/{module or self.module}/parameters/{name}')
        return None if text is None else text.strip()

    def run(
        self, command: Sequence[str], timeout: float, alive: Callable[[], object]
    ) -> Completed | Unread:
        """Do what a command does, and return how it ended."""
        shown = ' '.join(command)
        if not self.root.exists(command[0]):
            return Unread(shown, 'ENOENT', 'No such file or directory')
        program, words = command[0].rpartition('/')[2], list(command[1:])
        if _verb(program, words) in self.hangs:
            return self._hang(shown, timeout, alive)
        if program == 'modprobe':
            return self.kernel.modprobe(words)
        if program == 'udevadm':
            self._udev()
            return Completed(0, '', '')
        done = self.systemd.systemctl(words, self.now)
        ready = self.systemd.ready_at
        if ready is None or _verb(program, words) == 'show' or '--no-block' in words:
            return done
        if ready > self.now + timeout:
            return self._hang(shown, timeout, alive)
        alive()
        self.sleep(ready - self.now)
        if self.systemd.active == 'active':
            return done
        said = f'Job for {words[-1]} failed because the control process exited with error code.'
        return Completed(1, '', f'{said}\nSee "systemctl status {words[-1]}" for details.\n')

    def _hang(self, shown: str, timeout: float, alive: Callable[[], object]) -> Unread:
        for _ in range(int(timeout)):
            alive()
        self.sleep(timeout)
        return Unread(shown, 'Timeout', f'no answer within {timeout:g} s')

    def _happen(self) -> None:
        for pid, end in list(self.kernel.holders.items()):
            if end is not None and end <= self.now:
                self.release(pid)
        self.systemd.happen(self.now)

    def _udev(self) -> None:
        device = self.root.base / 'dev/kvm'
        if self.udev and device.exists():
            device.chmod(0o660)

    def _ioctl(self, request: int, argument: int | bytearray) -> int:
        self._hardware.nested = self.parameter('nested')
        return self._hardware.ioctl(request, argument)


def _verb(program: str, words: list[str]) -> str:
    if program == 'modprobe':
        return 'show' if '-D' in words else 'unload' if '-r' in words else 'load'
    return next(word for word in words if not word.startswith('-'))
