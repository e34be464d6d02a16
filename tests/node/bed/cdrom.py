"""A CD-ROM to boot a kernel from, for an emulator that cannot be given one."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.node.bed.process import run

ISOLINUX = Path('/usr/lib/ISOLINUX/isolinux.bin')
LDLINUX = Path('/usr/lib/syslinux/modules/bios/ldlinux.c32')
MENU = """\
default node
label node
 kernel /vmlinuz
 append initrd=/initrd {arguments}
"""
BOOT = ('-b', 'isolinux.bin', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table')


def build(image: Path, kernel: Path, initramfs: Path, arguments: str) -> None:
    """Write an ``image`` that boots ``kernel`` with ``initramfs`` and these ``arguments``."""
    with TemporaryDirectory(dir=image.parent) as directory:
        tree = Path(directory)
        files = {ISOLINUX: ISOLINUX.name, LDLINUX: LDLINUX.name}
        for file, name in {**files, kernel: 'vmlinuz', initramfs: 'initrd'}.items():
            shutil.copyfile(file, tree / name)
        (tree / 'isolinux.cfg').write_text(MENU.format(arguments=arguments))
        run(['xorriso', '-as', 'mkisofs', '-quiet', *BOOT, '-o', image, tree])
