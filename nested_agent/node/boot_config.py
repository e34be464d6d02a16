"""The boot loader's entries: with which arguments for a module the next boot may come.

Needed only for a module that is built into the kernel, which no modprobe.d file reaches. What the
boot loader reads counts, not what a generator would make of /etc/default/grub or
/etc/kernel/cmdline some day. Which entry is the default is not asked: any may be booted.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nested_agent.facts import BootEntry, Location, Unread
from nested_agent.node import arguments
from nested_agent.node.root import Root, shown, unread

GRUB = ('/boot/grub/grub.cfg', '/boot/grub2/grub.cfg')
GRUB_VARIABLES = ('/boot/grub/grubenv', '/boot/grub2/grubenv')
SYSLINUX = ('/boot/syslinux/syslinux.cfg', '/boot/extlinux/extlinux.conf')
# systemd-boot and Fedora's GRUB: Boot Loader Specification type 1 entries.
ENTRY_DIRECTORIES = ('/boot/loader/entries', '/efi/loader/entries', '/boot/efi/loader/entries')

_GRUB_LINUX = re.compile(r'\s*linux(?:16|efi)?\s+(\S+)(.*)')
_GRUB_SET = re.compile(r'\s*set\s+(\w+)=(.*)')
_VARIABLE = re.compile(r'\$(?:(\w+)|\{(\w+)\})')
_NO_LINUX = re.compile(r'(?:.*/)?memtest[^/]*|.*\.c32', re.IGNORECASE)


class _Line(NamedTuple):
    """A kernel with its command line, as written."""

    where: Location
    text: str


def read(root: Root, module: str) -> tuple[BootEntry, ...] | Unread | None:
    """Return every entry that starts Linux, with its possibly empty arguments for the module.

    None where no boot loader's configuration is found (a node booted from the network). Unread as
    soon as one existing file cannot be read, for it could be the one that boots, where it cannot
    be told what a variable stands for, and where there are files but no entry in them.
    """
    try:
        grub = _present(root, GRUB)
        variables = _variables([*grub.values(), *_present(root, GRUB_VARIABLES).values()])
        syslinux = _present(root, SYSLINUX)
        entries = _entry_files(root)
    except OSError as error:
        return unread(str(error.filename), error)
    lines: list[_Line] = []
    for name, text in grub.items():
        lines += _grub(name, text)
    for name, text in entries.items():
        lines += _boot_loader_specification(name, text, variables)
    found = []
    for line in lines:
        text = _VARIABLE.sub(lambda each: variables.get(each[1] or each[2], each[0]), line.text)
        unknown = _VARIABLE.search(text)
        if unknown:
            return Unread(str(line.where), 'Unresolved', f'nothing sets {unknown[0]}')
        found.append(_entry(line.where, text, module))
    for name, text in syslinux.items():
        found += [_entry(line.where, line.text, module) for line in _syslinux(name, text)]
    files = [*grub, *entries, *syslinux]
    if files and not found:
        return Unread(files[0], 'Malformed', 'there is no boot entry in it')
    return tuple(found) if found else None


def _present(root: Root, names: tuple[str, ...]) -> dict[str, str]:
    """Return the text of those files that exist.

    :raises OSError: one cannot be read; ``filename`` says which
    """
    found = {}
    for name in names:
        try:
            found[name] = root.read_text(name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            error.filename = name
            raise
    return found


def _entry_files(root: Root) -> dict[str, str]:
    found = {}
    for directory in ENTRY_DIRECTORIES:
        try:
            names = root.names(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            error.filename = directory
            raise
        names = [f'{directory}/{name}' for name in names if name.endswith('.conf')]
        found.update(_present(root, tuple(names)))
    return found


def _entry(where: Location, cmdline: str, module: str) -> BootEntry:
    return BootEntry(where, tuple(each.text for each in arguments.for_kernel(cmdline, module)))


def _variables(texts: list[str]) -> dict[str, str]:
    """Return what grub.cfg sets and grubenv holds; GRUB loads the latter over the former."""
    found: dict[str, str] = {}
    for text in texts:
        environment = text.startswith('# GRUB Environment Block')
        for line in text.splitlines():
            match = _GRUB_SET.match(line)
            if match:
                found[match[1]] = match[2].strip().strip('"\'')
            elif environment and not line.startswith('#'):
                name, equals, value = line.partition('=')
                if equals:
                    found[name] = value
    return found


def _grub(file: str, text: str) -> Iterator[_Line]:
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        while line.endswith('\\'):
            line = line[:-1] + next(lines, (0, ''))[1]
        match = _GRUB_LINUX.match(line)
        if match and not _NO_LINUX.fullmatch(match[1]):
            # The kernel knows no single quotes; GRUB hands them on as double ones.
            yield _Line(Location(file, number), match[2].replace("'", '"'))


def _boot_loader_specification(
    file: str, text: str, variables: Mapping[str, str]
) -> Iterator[_Line]:
    """Yield the entry of a file: its ``options`` lines count together."""
    number, linux = 1, False
    options: list[str] = []
    for at, (key, value) in enumerate(map(_key, text.splitlines()), 1):
        if key == 'linux':
            linux = not _NO_LINUX.fullmatch(value)
        elif key == 'options':
            number = number if options else at
            options.append(value)
    if linux:
        # GRUB's blscfg has this for an entry without options.
        default = [variables.get('default_kernelopts', '')]
        yield _Line(Location(shown(file), number), ' '.join(options or default))


def _syslinux(file: str, text: str) -> Iterator[_Line]:
    """Yield the entries of a syslinux.cfg or extlinux.conf.

    A label without an ``append`` of its own has the one before the first label.
    """
    default = ''
    labelled = False
    kernel = own = None
    for number, line in enumerate([*text.splitlines(), 'label end'], 1):
        key, value = _key(line)
        if key == 'label':
            if kernel:
                yield own or _Line(kernel, default)
            labelled = True
            kernel = own = None
        elif key in ('linux', 'kernel') and not _NO_LINUX.fullmatch(value):
            kernel = Location(file, number)
        elif key == 'append' and labelled:
            own = _Line(Location(file, number), value)
        elif key == 'append':
            default = value


def _key(line: str) -> tuple[str, str]:
    key, *rest = line.split(None, 1) or ['']
    return key.lower(), ''.join(rest).strip()
