"""Kernel arguments for a module in the boot loader's configuration: what the next boot will say.

Needed only for a module that is built into the kernel, which no modprobe.d file reaches.
"""

import re

from nested_agent.facts import LineKind, Location, ModuleLine, Unread
from nested_agent.node.root import Root, unread

# What the boot loader reads, not what a generator would make of /etc/default/grub some day.
FILES = (
    '/boot/grub/grub.cfg',
    '/boot/grub2/grub.cfg',
    '/boot/grub2/grubenv',
    '/boot/syslinux/syslinux.cfg',
    '/boot/extlinux/extlinux.conf',
    '/etc/kernel/cmdline',
)
# systemd-boot and Fedora's GRUB: Boot Loader Specification type 1 entries.
ENTRY_DIRECTORIES = ('/boot/loader/entries', '/efi/loader/entries', '/boot/efi/loader/entries')


def read(root: Root, module: str) -> tuple[ModuleLine, ...] | Unread | None:
    """Return every argument ``MODULE.PARAMETER=...`` of the boot entries, by file and line.

    None where no boot loader's configuration is found (a node booted from the network). Unread as
    soon as one existing file cannot be read: it could be the one that boots.
    """
    files = [name for name in FILES if root.exists(name)]
    try:
        for directory in ENTRY_DIRECTORIES:
            if root.exists(directory):
                names = [name for name in root.names(directory) if name.endswith('.conf')]
                files += [f'{directory}/{name}' for name in names]
    except OSError as error:
        return unread(directory, error)
    if not files:
        return None
    found: list[ModuleLine] = []
    for name in files:
        text = root.try_text(name)
        if isinstance(text, Unread):
            return text
        found += _arguments(name, text, module)
    return tuple(found)


def _arguments(file: str, text: str, module: str) -> list[ModuleLine]:
    # kernel/params.c parameq(): dash and underscore are the same letter.
    spelled = re.escape(module).replace('_', '[-_]')
    argument = re.compile(rf'(?:^|[\s"\'=]){spelled}\.(\S+?)(?=["\']?(?:\s|$))')
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith('#'):
            continue
        lines += [
            ModuleLine(LineKind.KERNEL_ARGUMENT, Location(file, number), module, match[1], None)
            for match in argument.finditer(line)
        ]
    return lines
