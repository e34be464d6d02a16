"""What the next ``modprobe MODULE`` will load, and which lines of which files make it so."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from nested_agent.facts import (
    Dependency,
    Kernel,
    LineKind,
    LoadKind,
    ModuleLine,
    NextLoad,
    Unread,
)
from nested_agent.node import arguments, initramfs, modprobe_d
from nested_agent.node.attribution import attributed
from nested_agent.node.modprobe_d import ConfigFile
from nested_agent.node.module_index import ModuleIndex
from nested_agent.node.root import Root, unread

COMMANDS = ('/usr/sbin/modprobe', '/sbin/modprobe', '/usr/bin/modprobe')
TIMEOUT = 10.0
BUILT_IN = 'the module is built in'


class _Load(NamedTuple):
    """What would happen; ``options`` and ``others`` (by module) as texts, as kmod passes them."""

    kind: LoadKind
    options: str
    command: str | None = None
    others: Mapping[str, str] = {}


def read(
    root: Root, module: str, kernel: Kernel, *, suspects: Collection[str] = ()
) -> NextLoad | Unread:
    """Return the next load of a module: ``modprobe -D``'s word, in a captured tree our own.

    :param module: its name with underscores
    :param suspects: names people write instead of it; a module that really is called so and
        knows the parameter is not listed
    :returns: Unread when a file that decides cannot be read or modprobe fails
    """
    configuration = modprobe_d.load(root)
    if isinstance(configuration, Unread):
        return configuration
    if isinstance(kernel.cmdline, Unread):
        return kernel.cmdline  # it can set options, refuse modules, and say what is built in
    files, cmdline = configuration.files, kernel.cmdline
    index = ModuleIndex(root, kernel.release)
    lines = modprobe_d.lines(files, module, cmdline, suspects)
    load = _ask(root, module, lines) if root.live else _compute(root, index, module, lines)
    if isinstance(load, Unread):
        return load
    image = None
    dependencies = {}
    if load.kind is LoadKind.BUILTIN:
        lines = _built_in(lines, tuple(arguments.for_kernel(cmdline, module)))
        options = tuple(line.text for line in lines if line.ignored is None)
    else:
        options = arguments.split(load.options)
        needed = index.dependencies(module)
        lines = (
            *_stand_ins(needed, files),
            *(each for name in needed for each in arguments.refusals(cmdline, name)),
            *attributed(lines, options),
        )
        for name in needed:
            shown = load.others.get(name, '') if root.live else None
            dependencies[name] = _dependency(modprobe_d.lines(files, name, cmdline), shown)
    if load.kind in (LoadKind.MODULE, LoadKind.INSTALL):
        image = initramfs.read(root, module, kernel, configuration.changed)
    return NextLoad(
        module=module,
        source='modprobe -D' if root.live else 'modprobe.d reader',
        kind=load.kind,
        options=options,
        dependencies=dependencies,
        command=load.command,
        lines=_real_names_apart(root, index, lines, suspects),
        initramfs=image,
    )


def _dependency(lines: tuple[ModuleLine, ...], shown: str | None) -> Dependency:
    """Return what a dependency is given, by modprobe's word or, without it, by its lines."""
    if shown is None:
        # kmod runs an install command instead, without the options.
        stood_in = modprobe_d.first(lines, LineKind.INSTALL) is not None
        shown = '' if stood_in else f'{modprobe_d.options(lines)} '
    options = arguments.split(shown)
    return Dependency(options, tuple(filter(modprobe_d.sets, attributed(lines, options))))


def _ask(root: Root, module: str, lines: tuple[ModuleLine, ...]) -> _Load | Unread:
    """Return what ``modprobe -D`` says (tools/modprobe.c, print_action(): it runs nothing)."""
    try:
        command = next((name for name in COMMANDS if root.present(name)), None)
    except OSError as error:
        return unread(COMMANDS[0], error)
    if command is None:
        return Unread(COMMANDS[0], 'ENOENT', 'this node has no modprobe')
    done = root.run([command, '-D', module], timeout=TIMEOUT)
    if isinstance(done, Unread):
        return done
    if done.returncode:
        if not re.search(rf'\b{module}\b.* not found', done.stderr):
            return Unread(f'{command} -D {module}', 'Failed', done.stderr.strip())
        # A kernel without a module index still has its built-in modules in sysfs.
        sysfs = f'/sys/module/{module}'
        try:
            builtin = root.present(sysfs) and not root.present(f'{sysfs}/initstate')
        except OSError as error:
            return unread(sysfs, error)
        return _Load(LoadKind.BUILTIN if builtin else LoadKind.MISSING, '')
    # Not splitlines(): options may hold any other white space.
    return _parse(done.stdout.removesuffix('\n').split('\n'), module, lines) or Unread(
        f'{command} -D {module}', 'Malformed', f'{done.stdout[:200]!r} does not say how it loads'
    )


def _parse(rows: list[str], module: str, lines: tuple[ModuleLine, ...]) -> _Load | None:
    """Return what the rows say about the module itself; dependencies and softdeps are around it."""
    others: dict[str, str] = {}
    own = None
    for row in rows:
        word, _, rest = row.partition(' ')
        if word == 'builtin' and rest == module:
            return _Load(LoadKind.BUILTIN, '')
        path, _, options = rest.partition(' ')
        name = path.rpartition('/')[2].partition('.')[0].replace('-', '_')
        if word == 'insmod' and name == module:
            own = own or _Load(LoadKind.MODULE, options, None, others)
        elif word == 'insmod':
            others.setdefault(name, options)
    if own:
        return own
    if modprobe_d.first(lines, LineKind.ALIAS):
        return _Load(LoadKind.MISSING, '')  # the name leads elsewhere: "alias kvm_amd off"
    # kmod honours install only for a module without softdeps, which so is the last row.
    word, _, rest = rows[-1].partition(' ')
    if word != 'install':
        return None
    line = modprobe_d.first(lines, LineKind.INSTALL)
    if line and rest.startswith(f'{line.text} '):
        return _Load(LoadKind.INSTALL, rest[len(line.text) + 1 :], line.text, others)
    return _Load(LoadKind.INSTALL, modprobe_d.options(lines), rest.rstrip(' '), others)


def _compute(
    root: Root, index: ModuleIndex, module: str, lines: tuple[ModuleLine, ...]
) -> _Load | Unread:
    """Return what modprobe would do on the node the tree is of (libkmod-module.c)."""
    if modprobe_d.first(lines, LineKind.ALIAS):
        return _Load(LoadKind.MISSING, '')
    kind = index.kind(module)
    if kind is None:
        # Trees are often captured without an index: no reason to call the module missing.
        sysfs = f'/sys/module/{module}'
        try:
            if root.present(sysfs) and not root.present(f'{sysfs}/initstate'):
                detail = 'the tree does not tell whether it is built in'
                return Unread(sysfs, 'NotAvailable', detail)
        except OSError as error:
            return unread(sysfs, error)
        kind = LoadKind.MODULE
    if isinstance(kind, Unread):
        return kind
    if kind is not LoadKind.MODULE:
        return _Load(kind, '')
    options = modprobe_d.options(lines) + ' '  # module_options_concat() does
    install = modprobe_d.first(lines, LineKind.INSTALL)
    softdep = modprobe_d.first(lines, LineKind.SOFTDEP)
    # __kmod_module_fill_softdep(): a softdep that leads to a module switches install off.
    if install is None or (softdep and any(map(index.has, _softdeps(softdep)))):
        return _Load(LoadKind.MODULE, options)
    return _Load(LoadKind.INSTALL, options, install.text)


def _softdeps(line: ModuleLine) -> list[str]:
    return [word for word in line.text.split() if word not in ('pre:', 'post:')]


def _built_in(lines: Iterable[ModuleLine], used: tuple[ModuleLine, ...]) -> tuple[ModuleLine, ...]:
    """Return the lines of a built-in module: only what the kernel itself reads has an effect."""
    taken = {line.text for line in used}
    others = []
    for line in lines:
        reason = BUILT_IN
        if line.kind is LineKind.KERNEL_ARGUMENT:
            reason = 'after -- on the kernel command line'
            if line.ignored is None and taken.issuperset(arguments.split(line.text)):
                continue
        others.append(dataclasses.replace(line, ignored=line.ignored or reason))
    return (*used, *attributed(others, ()))


def _stand_ins(needed: Iterable[str], files: tuple[ConfigFile, ...]) -> Iterable[ModuleLine]:
    """Yield the install lines kmod runs instead of loading what the module depends on."""
    if any('install' in file.text for file in files):
        for name in needed:
            line = modprobe_d.first(modprobe_d.lines(files, name, ''), LineKind.INSTALL)
            if line:
                yield line


def _real_names_apart(
    root: Root, index: ModuleIndex, lines: Iterable[ModuleLine], suspects: Collection[str]
) -> tuple[ModuleLine, ...]:
    """Return the lines with those of suspects that are modules told apart from mere mistakes."""
    kept = []
    for line in lines:
        name = line.module.replace('-', '_')
        if line.ignored == arguments.NO_SUCH_MODULE and name in suspects:
            sysfs = f'/sys/module/{name}'
            loaded = root.exists(sysfs)
            if loaded and root.exists(f'{sysfs}/parameters/{arguments.PARAMETER}'):
                continue
            # On x86 the parameter is the vendor module's, never that of kvm itself.
            if loaded or (name == 'kvm' and index.kind(name) is not LoadKind.MISSING):
                reason = f'module {name} has no parameter {arguments.PARAMETER}'
                line = dataclasses.replace(line, ignored=reason)
            elif index.has(name):
                continue
        kept.append(line)
    return tuple(kept)
