"""A node's disk: the Debian part, the files of ``rootfs``, the oracle and the project."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.node.bed import distribution
from tests.node.bed.bundle import Bundle
from tests.node.bed.digest import digest
from tests.node.bed.distribution import VENV, Distribution
from tests.node.bed.process import run, run_inside
from tests.node.bed.store import Store

HERE = Path(__file__).parent
ROOTFS = HERE.parent / 'rootfs'
ORACLE = HERE.parent / 'oracle' / 'kvmprobe.c'
LABEL = 'root'
# Just below 2 GiB: an ATA disk has whole cylinders.
CYLINDERS, HEADS, SECTORS = 4160, 16, 63
SIZE = CYLINDERS * HEADS * SECTORS * 512
COMMANDS = 'nested-*'
ENABLED = ('ethernet.service', 'nova-compute.service', 'qemu-guest-agent.service')
# They would write or wait while a test looks, or are not worth their time in an emulated boot.
MASKED = (
    'apt-daily-upgrade.timer',
    'apt-daily.timer',
    'dev-hugepages.mount',
    'dev-mqueue.mount',
    'dpkg-db-backup.timer',
    'e2scrub_all.timer',
    'e2scrub_reap.service',
    'fstrim.timer',
    'getty@tty1.service',
    'modprobe@.service',
    'serial-getty@ttyS0.service',
    'sys-kernel-debug.mount',
    'sys-kernel-tracing.mount',
    'systemd-logind.service',
    'systemd-network-generator.service',
    'systemd-sysusers.service',
    'systemd-update-utmp-runlevel.service',
    'systemd-update-utmp.service',
)


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw disk image that no node has booted from, and what boots it."""

    key: str
    path: Path
    distribution: Distribution

    @property
    def image(self) -> Path:
        """The image: a journalled ext4 file system without partitions."""
        return self.path / 'disk.raw'


def disk(store: Store, project: Bundle) -> Disk:
    """Return the disk with ``project`` installed, built if it is new."""
    base = distribution.distribution(store)
    key = digest(distribution.key(), HERE / 'disk.py', ROOTFS, ORACLE, project.key)
    path = store.entry('disk', key, lambda path: _build(store, path, base, project))
    return Disk(key, path, base)


def install(tree: Path, project: Bundle) -> None:
    """Install ``project`` to the node's virtual environment below ``tree``, without a network.

    Its commands (nested-*) are then in /usr/local/bin.
    """
    wheels = tree / 'wheels'
    shutil.copytree(project.dependencies, wheels)
    shutil.copy(project.wheel, wheels)
    pip = [f'{VENV}/bin/pip', '--quiet', '--no-cache-dir', '--disable-pip-version-check']
    command = [*pip, 'install', '--no-index', '--find-links=/wheels']
    run_inside(tree, [*command, f'/wheels/{project.wheel.name}'])
    shutil.rmtree(wheels)
    for command_file in sorted((tree / VENV.lstrip('/') / 'bin').glob(COMMANDS)):
        link = tree / 'usr' / 'local' / 'bin' / command_file.name
        link.symlink_to(f'{VENV}/bin/{command_file.name}')


def _build(store: Store, path: Path, base: Distribution, project: Bundle) -> None:
    with store.scratch() as scratch:
        tree = scratch / 'tree'
        tree.mkdir()
        run(
            ['tar', '--extract', '--preserve-permissions', '--file', base.root, '--directory', tree]
        )
        _copy(ROOTFS, tree)
        run_inside(tree, ['chown', '-R', 'root:nova', '/etc/nova'])
        run_inside(tree, ['chmod', '0640', '/etc/nova/nova.conf', '/etc/nova/nova-compute.conf'])
        run_inside(tree, ['systemctl', '--quiet', 'enable', *ENABLED])
        run_inside(tree, ['systemctl', '--quiet', 'mask', *MASKED])
        run(['gcc', '-O1', '-static', '-Wall', '-o', tree / 'usr/local/bin/kvmprobe', ORACLE])
        install(tree, project)
        options = 'lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0'
        mke2fs = ('mke2fs', '-q', '-t', 'ext4', '-L', LABEL, '-J', 'size=16', '-E', options)
        run([*mke2fs, '-d', tree, path / 'disk.raw', f'{SIZE // 1024}K'])


def _copy(source: Path, tree: Path) -> None:
    """Copy files as root's; of the checkout's modes, which follow a umask, only x counts."""
    for path in sorted(source.rglob('*')):
        copy = tree / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(exist_ok=True)
        else:
            copy.unlink(missing_ok=True)
            shutil.copyfile(path, copy)
            copy.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
