"""What this machine must have before a node can be built."""

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from tests.node.bed import cdrom
from tests.node.bed.process import ENVIRONMENT

# Program, and the Debian package that brings it.
PROGRAMS = {
    'apt-get': 'apt',
    'bochs': 'bochs',
    'busybox': 'busybox-static',
    'chroot': 'coreutils',
    'cpio': 'cpio',
    'depmod': 'kmod',
    'dpkg-deb': 'dpkg',
    'gcc': 'gcc',
    'git': 'git',
    'mke2fs': 'e2fsprogs',
    'mmdebstrap': 'mmdebstrap',
    'modprobe': 'kmod',
    'qemu-img': 'qemu-utils',
    'qemu-system-x86_64': 'qemu-system-x86',
    'setpriv': 'util-linux',
    'strip': 'binutils',
    'tar': 'tar',
    'xorriso': 'xorriso',
}
# File, and the Debian package that brings it.
FILES = {
    cdrom.ISOLINUX: 'isolinux',
    cdrom.LDLINUX: 'syslinux-common',
    Path('/usr/lib/ipxe/qemu/efi-virtio.rom'): 'ipxe-qemu',
    Path('/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so'): 'bochs-term',
    Path('/usr/lib/x86_64-linux-gnu/libc.a'): 'libc6-dev',
    Path('/usr/share/bochs/BIOS-bochs-latest'): 'bochsbios',
    Path('/usr/share/seabios/bios-256k.bin'): 'seabios',
    Path('/usr/share/vgabios/vgabios.bin'): 'vgabios',
}


class MissingPrerequisiteError(Exception):
    """This machine cannot run emulated nodes; the message says what it lacks."""


def require() -> None:
    """Return if nodes can be built and run here, else raise MissingPrerequisiteError."""
    if platform.machine() != 'x86_64':
        raise MissingPrerequisiteError(f'emulated nodes need x86_64, not {platform.machine()}')
    missing = {
        f'{program} (package {package})'
        for program, package in PROGRAMS.items()
        if not shutil.which(program, path=ENVIRONMENT['PATH'])
    }
    missing |= {
        f'{path} (package {package})' for path, package in FILES.items() if not path.exists()
    }
    if not importlib.util.find_spec('pip'):
        missing.add('pip in the Python that runs the tests')
    if missing:
        raise MissingPrerequisiteError(
            f'emulated nodes need {", ".join(sorted(missing))}: run tools/test-setup.sh'
        )
    if os.geteuid() != 0:
        raise MissingPrerequisiteError(
            'emulated nodes need root to build their file system: after tools/test-setup.sh, '
            'run the node tests with sudo'
        )
