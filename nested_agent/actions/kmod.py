"""modprobe as steps use it, and who keeps a module from being unloaded."""

from collections.abc import Iterable

from nested_agent.actions.site import Site
from nested_agent.exceptions import BusyError, StepError
from nested_agent.facts import Module, ModuleState, Unread
from nested_agent.node import holders, kernel, module
from nested_agent.node.next_load import COMMANDS
from nested_agent.node.root import Completed
from nested_agent.verify.runtime import held_by

# An empty configuration in place of the node's: nobody's options, install and remove commands or
# softdeps. What the kernel command line sets kmod adds all the same, but before what stands on
# its own command line, and of two the kernel takes the last (libkmod-config.c, modprobe.c).
NO_CONFIGURATION = ('-C', '/dev/null')
# libvirtd opens /dev/kvm for moments, to ask what the processor and QEMU can do.
PATIENCE = 3.0
PAUSE = 0.5


def find(site: Site, name: str) -> Module | None:
    """Return a module, None where it is not there.

    :raises StepError: it cannot be told
    """
    found = module.one(site.root, kernel.read(site.root).release, name)
    if isinstance(found, Unread):
        raise StepError(f'whether {name} is loaded is not known ({found})')
    return found


def settled(site: Site, name: str) -> Module | None:
    """Return a module once it is neither being loaded nor unloaded, None where it is not there.

    :raises StepError: it stays between the two
    """

    def at_rest() -> bool:
        found = find(site, name)
        return found is None or found.state in (ModuleState.LIVE, ModuleState.BUILTIN)

    if not site.wait_for(at_rest, site.limits.modprobe):
        found = find(site, name)
        state = found.state if found else 'gone'
        raise StepError(f'{name} is stuck in state "{state}": only a reboot ends that')
    return find(site, name)


def require_idle(site: Site, name: str) -> None:
    """Make sure that nothing uses a module, with a little patience.

    :raises BusyError: something does; names it
    :raises StepError: it cannot be told
    """
    if not site.wait_for(lambda: _users(site, name) == 0, PATIENCE, PAUSE):
        raise BusyError(busy(site, name))


def _users(site: Site, name: str) -> int:
    found = find(site, name)
    if found is None or found.refcnt is None:
        return 0
    if isinstance(found.refcnt, Unread) or found.refcnt < 0:
        raise StepError(f'whether {name} is in use is not known ({found.refcnt})')
    return found.refcnt


def busy(site: Site, name: str) -> str:
    """Return that a module is in use, and by whom as far as that is known."""
    others = module.users(site.root, name)
    who = f' by {", ".join(others)}' if others else held_by(holders.read(site.root))
    return f'{name} is in use{who}'


def unload(site: Site, name: str) -> None:
    """Unload a module and those it needed that nothing else uses.

    Without the node's configuration: whoever's ``remove`` command or softdep it holds would take
    away more than a load brings back.

    :raises BusyError: it is in use, and nothing was changed
    :raises StepError: it failed
    """
    done = _modprobe(site, *NO_CONFIGURATION, '-r', name)
    if not done.returncode:
        return
    left = find(site, name)
    if left is not None and left.state is ModuleState.LIVE and (left.refcnt or _says_busy(done)):
        raise BusyError(busy(site, name))
    raise StepError(f'{name} cannot be unloaded: {_problem(done)}')


def load(site: Site, name: str) -> None:
    """Load a module as anybody who says ``modprobe NAME`` would.

    :raises StepError: it failed
    """
    _loaded(name, _modprobe(site, name))


def load_with(site: Site, name: str, options: Iterable[str]) -> None:
    """Load a module with these options, whatever the node's configuration says.

    :raises StepError: it failed
    """
    _loaded(name, _modprobe(site, *NO_CONFIGURATION, name, *options))


def _loaded(name: str, done: Completed) -> None:
    if done.returncode:
        raise StepError(f'{name} cannot be loaded: {_problem(done)}')


def _modprobe(site: Site, *arguments: str) -> Completed:
    command = next((path for path in COMMANDS if site.root.exists(path)), COMMANDS[0])
    return site.run([command, *arguments], timeout=site.limits.modprobe)


def _problem(done: Completed) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1].removeprefix('modprobe: ') if lines else f'modprobe ended {done.returncode}'


def _says_busy(done: Completed) -> bool:
    """Whether it was in use when modprobe looked, or when the kernel did (EWOULDBLOCK)."""
    return any(words in done.stderr for words in ('is in use', 'temporarily unavailable'))
