"""The kvm modules in sysfs: which are there, how, and with which parameters."""

from nested_agent.drivers.base import kernel_version
from nested_agent.facts import LoadKind, Module, ModuleState, Unread
from nested_agent.node import arguments
from nested_agent.node.module_index import ABSENT, ModuleIndex
from nested_agent.node.root import Root, unread

MODULES = '/sys/module'

_NUMBERS_DIFFER = (4, 14)

#: Modules of VirtualBox and VMware: they and KVM cannot both have the processor's virtualization.
HYPERVISORS = ('vboxdrv', 'vmmon')


def read(root: Root, release: str | Unread) -> dict[str, Module] | Unread:
    """Return ``kvm`` and every ``kvm_*`` module present, by name.

    On a running node a directory without ``initstate`` is a built-in module (kernel/params.c
    makes it for the parameters alone): it being listed does not say that it drives anything. In a
    captured tree the file may just not have been captured, so the module index is asked.
    """
    names = _names(root)
    if isinstance(names, Unread):
        return names
    index = ModuleIndex(root, release)
    found = [name for name in names if name == 'kvm' or name.startswith('kvm_')]
    return {name: _module(root, index, name, release) for name in found}


def one(root: Root, release: str | Unread, name: str) -> Module | Unread | None:
    """Return a module, None where it is neither loaded nor built in."""
    names = _names(root)
    if isinstance(names, Unread):
        return names
    if name not in names:
        return None
    return _module(root, ModuleIndex(root, release), name, release)


def family(root: Root, release: str | Unread, name: str) -> dict[str, Module] | Unread:
    """Return a module and those it depends on, as far as present, by name, first to load first."""
    names = _names(root)
    if isinstance(names, Unread):
        return names
    index = ModuleIndex(root, release)
    wanted = (*index.dependencies(name), name)
    return {each: _module(root, index, each, release) for each in wanted if each in names}


def parameter(name: str, parameter: str) -> str:
    """Return the file that shows a parameter of a module."""
    return f'{MODULES}/{name}/parameters/{parameter}'


def users(root: Root, name: str) -> tuple[str, ...]:
    """Return the modules that depend on a module and are loaded; none where it cannot be told."""
    try:
        return tuple(root.names(f'{MODULES}/{name}/holders'))
    except OSError:
        return ()


def hypervisors(root: Root) -> tuple[str, ...] | Unread:
    """Return the modules of other hypervisors that are loaded."""
    names = _names(root)
    if isinstance(names, Unread):
        return names
    return tuple(name for name in names if name in HYPERVISORS)


def _names(root: Root) -> list[str] | Unread:
    try:
        return root.names(MODULES)
    except OSError as error:
        return unread(MODULES, error)


def _module(root: Root, index: ModuleIndex, name: str, release: str | Unread) -> Module:
    refcnt = _refcnt(root, name)
    state = _state(root, index, name, refcnt)
    return Module(name, state, refcnt, _parameters(root, name), _load(root, name, release))


def _state(
    root: Root, index: ModuleIndex, name: str, refcnt: int | Unread | None
) -> ModuleState | Unread:
    path = f'{MODULES}/{name}/initstate'
    text = root.try_text(path)
    if isinstance(text, Unread):
        if text.error not in ABSENT:
            return text
        builtin = refcnt is None and (root.live or index.kind(name) is LoadKind.BUILTIN)
        detail = 'whether it is loaded or built in is not known without this file'
        return ModuleState.BUILTIN if builtin else Unread(path, 'NotAvailable', detail)
    try:
        return ModuleState(text)
    except ValueError:
        return Unread(path, 'Malformed', f'{text[:40]!r} is no module state')


def _refcnt(root: Root, name: str) -> int | Unread | None:
    path = f'{MODULES}/{name}/refcnt'
    text = root.try_text(path)
    if isinstance(text, Unread):
        return None if text.error in ABSENT else text
    try:
        return int(text)
    except ValueError:
        return Unread(path, 'Malformed', f'{text[:40]!r} is no number')


def _load(root: Root, name: str, release: str | Unread) -> str | Unread:
    """Return what tells one load from another: the inode number of the module's directory.

    Every load makes the directory anew, and kernfs goes through all numbers before one comes back
    (fs/kernfs/dir.c: idr_alloc_cyclic, since Linux 4.14). Nothing else serves: its times are those
    of a cached inode; ``/dev/kvm`` is touched at every event udev handles for it, and where it is
    a static node (modules.devname) it outlives the module.
    """
    path = f'{MODULES}/{name}'
    if not root.live:
        return Unread(path, 'NotAvailable', 'copies of a directory have numbers of their own')
    version = kernel_version(release) if isinstance(release, str) else None
    if version is None or version < _NUMBERS_DIFFER:
        return Unread(path, 'NotAvailable', 'the next load may have the same inode number')
    try:
        return str(root.stat(path).st_ino)
    except OSError as error:
        return unread(path, error)


def _parameters(root: Root, name: str) -> dict[str, str | Unread]:
    directory = f'{MODULES}/{name}/parameters'
    try:
        names = root.names(directory)
    except (FileNotFoundError, NotADirectoryError):
        return {}  # a module without parameters has no such directory
    except OSError as error:
        return {arguments.PARAMETER: unread(directory, error)}  # the one that matters
    return {each: root.try_text(f'{directory}/{each}') for each in names}
