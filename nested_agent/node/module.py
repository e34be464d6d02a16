"""The kvm modules in sysfs: which are there, how, and with which parameters."""

from nested_agent.facts import Module, ModuleState, Unread
from nested_agent.node.root import Root, unread

MODULES = '/sys/module'


def read(root: Root) -> dict[str, Module] | Unread:
    """Return ``kvm`` and every ``kvm_*`` module present, by name.

    A directory without ``initstate`` is a built-in module (kernel/params.c makes it for the
    parameters alone): it being listed does not say that it drives anything.
    """
    try:
        names = root.names(MODULES)
    except OSError as error:
        return unread(MODULES, error)
    found = [name for name in names if name == 'kvm' or name.startswith('kvm_')]
    return {name: _module(root, name) for name in found}


def _module(root: Root, name: str) -> Module:
    return Module(name, _state(root, name), _refcnt(root, name), _parameters(root, name))


def _state(root: Root, name: str) -> ModuleState | Unread:
    path = f'{MODULES}/{name}/initstate'
    text = root.try_text(path)
    if isinstance(text, Unread):
        return ModuleState.BUILTIN if text.error == 'ENOENT' else text
    try:
        return ModuleState(text)
    except ValueError:
        return Unread(path, 'Malformed', f'{text[:40]!r} is no module state')


def _refcnt(root: Root, name: str) -> int | Unread | None:
    path = f'{MODULES}/{name}/refcnt'
    text = root.try_text(path)
    if isinstance(text, Unread):
        return None if text.error == 'ENOENT' else text
    try:
        return int(text)
    except ValueError:
        return Unread(path, 'Malformed', f'{text[:40]!r} is no number')


def _parameters(root: Root, name: str) -> dict[str, str]:
    directory = f'{MODULES}/{name}/parameters'
    try:
        names = root.names(directory)
    except OSError:
        return {}  # a module without parameters has no such directory
    values = {each: root.try_text(f'{directory}/{each}') for each in names}
    return {each: value for each, value in values.items() if isinstance(value, str)}
