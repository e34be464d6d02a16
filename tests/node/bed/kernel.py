"""Debian's kernel without its installation: image, the modules that a node needs, initramfs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.node.bed.process import run

# What each kind of disk needs before the root file system is there; ext4 is built in.
DISKS = {'vda': ('virtio_pci', 'virtio_blk'), 'sda': ('ata_piix', 'sd_mod')}
MODULES = (
    *(name for names in DISKS.values() for name in names),
    'virtio_net',
    'virtio_console',
    'virtio_rng',
    'kvm_amd',
    'kvm_intel',
    'cpuid',
    'msr',
)
APPLETS = ('sh', 'mount', 'umount', 'insmod', 'switch_root', 'sleep')
# The kernel puts what it does not know of its command line, disk=vda, in the environment.
INIT = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/"$disk"/*; do insmod "$module"; done
tries=0
while [ ! -b "/dev/$disk" ] && [ $tries -lt 600 ]; do sleep 0.1; tries=$((tries + 1)); done
mount -t ext4 -o rw,noatime "/dev/$disk" /root
unset disk
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root /sbin/init
"""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An unpacked kernel package."""

    tree: Path
    release: str

    @property
    def image(self) -> Path:
        """The kernel image."""
        return self.tree / 'boot' / f'vmlinuz-{self.release}'

    @property
    def modules(self) -> Path:
        """The directory of its modules."""
        return self.tree / 'lib' / 'modules' / self.release

    def files(self, *names: str) -> list[Path]:
        """Return the module files of ``names`` and all they depend on, in loading order."""
        found: dict[Path, None] = {}
        for name in names:
            # This machine's own modprobe.d must not have a say.
            modprobe = ('modprobe', '--config', '/dev/null', '--dirname', str(self.tree))
            lines = run([*modprobe, '--set-version', self.release, '--show-depends', name])
            for line in lines.splitlines():
                kind, _, rest = line.partition(' ')
                if kind == 'insmod':
                    found[Path(rest.split()[0])] = None
        return list(found)


def unpack(package: Path, tree: Path) -> Unpacked:
    """Unpack a kernel ``package`` (.deb) to ``tree``."""
    run(['dpkg-deb', '--extract', package, tree])
    (modules,) = (tree / 'lib' / 'modules').iterdir()
    run(['depmod', '--basedir', tree, modules.name])
    return Unpacked(tree, modules.name)


def install_modules(kernel: Unpacked, tree: Path) -> None:
    """Copy the modules that nodes need to the root file system ``tree``."""
    target = tree / 'lib' / 'modules' / kernel.release
    for file in kernel.files(*MODULES):
        copy = target / file.relative_to(kernel.modules)
        copy.parent.mkdir(parents=True, exist_ok=True)
        _strip(file, copy)
    for name in ('modules.builtin', 'modules.builtin.modinfo', 'modules.order'):
        shutil.copyfile(kernel.modules / name, target / name)
    run(['depmod', '--basedir', tree, kernel.release])


def build_initramfs(kernel: Unpacked, tree: Path, archive: Path) -> None:
    """Write an initramfs to ``archive`` that boots from the disk of DISKS that ``disk=`` names.

    Its content is put together in ``tree``.
    """
    for name in ('bin', 'dev', 'modules', 'proc', 'root', 'sys'):
        (tree / name).mkdir(parents=True)
    busybox = shutil.which('busybox')
    assert busybox, 'see prerequisite.py'
    shutil.copy(busybox, tree / 'bin' / 'busybox')
    for name in APPLETS:
        (tree / 'bin' / name).symlink_to('busybox')
    for disk, names in DISKS.items():
        modules = tree / 'modules' / disk
        modules.mkdir()
        for number, file in enumerate(kernel.files(*names), start=100):
            _strip(file, modules / f'{number}-{file.name}')
    (tree / 'init').write_text(INIT)
    (tree / 'init').chmod(0o755)
    archived = sorted(str(path.relative_to(tree)) for path in tree.rglob('*'))
    cpio = ('cpio', '--create', '--format=newc', '--quiet', '--owner=0:0', '--null')
    run(
        [*cpio, '--directory', tree, '--file', archive],
        stdin='\0'.join(archived) + '\0',
    )


def _strip(file: Path, copy: Path) -> None:
    """Copy a module without its debugging symbols: an emulator takes half as long to load it.

    Its signature goes too, which this kernel only remarks on.
    """
    run(['strip', '--strip-debug', '-o', copy, file])
