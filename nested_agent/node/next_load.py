"""What the next ``modprobe MODULE`` will load, and which lines of which files make it so."""

import dataclasses
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from nested_agent.facts import Kernel, LineKind, LoadKind, ModuleLine, NextLoad, Unread
from nested_agent.node import arguments, initramfs, modprobe_d
from nested_agent.node.modprobe_d import ConfigFile
from nested_agent.node.root import Root

COMMANDS = ('/usr/sbin/modprobe', '/sbin/modprobe', '/usr/bin/modprobe')
TIMEOUT = 10.0
BUILT_IN = 'the module is built in'

_INDEXES = ('/lib/modules', '/usr/lib/modules')


class _Load(NamedTuple):
    """What would happen; ``options`` as one text, as kmod passes it."""

    kind: LoadKind
    options: str
    command: str | None = None


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
    index = _Index(root, kernel.release)
    cmdline = '' if isinstance(kernel.cmdline, Unread) else kernel.cmdline
    lines = modprobe_d.lines(configuration.files, module, cmdline, suspects)
    if root.live:
        load = _ask(root, module, lines)
    elif isinstance(kernel.cmdline, Unread):
        return kernel.cmdline
    else:
        load = _compute(index, module, lines)
    if isinstance(load, Unread):
        return load
    image = None
    if load.kind is LoadKind.BUILTIN:
        if isinstance(kernel.cmdline, Unread):
            return kernel.cmdline
        lines = _built_in(lines, tuple(arguments.for_kernel(cmdline, module)))
        options = tuple(line.text for line in lines if line.ignored is None)
    else:
        lines = (*_stand_ins(index, module, configuration.files), *lines)
        options = arguments.split(load.options)
    if load.kind in (LoadKind.MODULE, LoadKind.INSTALL):
        image = initramfs.read(root, module, kernel, configuration.changed)
    return NextLoad(
        module=module,
        source='modprobe -D' if root.live else 'modprobe.d reader',
        kind=load.kind,
        options=options,
        command=load.command,
        lines=_real_names_apart(root, index, lines, suspects),
        initramfs=image,
    )


def _ask(root: Root, module: str, lines: tuple[ModuleLine, ...]) -> _Load | Unread:
    """Return what ``modprobe -D`` says (tools/modprobe.c, print_action(): it runs nothing)."""
    command = next((name for name in COMMANDS if root.exists(name)), None)
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
        builtin = root.exists(sysfs) and not root.exists(f'{sysfs}/initstate')
        return _Load(LoadKind.BUILTIN if builtin else LoadKind.MISSING, '')
    # Not splitlines(): options may hold any other white space.
    return _parse(done.stdout.removesuffix('\n').split('\n'), module, lines) or Unread(
        f'{command} -D {module}', 'Malformed', f'{done.stdout[:200]!r} does not say how it loads'
    )


def _parse(rows: list[str], module: str, lines: tuple[ModuleLine, ...]) -> _Load | None:
    """Return what the rows say about the module itself; dependencies and softdeps are around it."""
    for row in rows:
        word, _, rest = row.partition(' ')
        if word == 'builtin' and rest == module:
            return _Load(LoadKind.BUILTIN, '')
        path, _, options = rest.partition(' ')
        name = path.rpartition('/')[2].partition('.')[0].replace('-', '_')
        if word == 'insmod' and name == module:
            return _Load(LoadKind.MODULE, options)
    if modprobe_d.first(lines, LineKind.ALIAS):
        return _Load(LoadKind.MISSING, '')  # the name leads elsewhere: "alias kvm_amd off"
    # kmod honours install only for a module without softdeps, which so is the last row.
    word, _, rest = rows[-1].partition(' ')
    if word != 'install':
        return None
    line = modprobe_d.first(lines, LineKind.INSTALL)
    if line and rest.startswith(f'{line.text} '):
        return _Load(LoadKind.INSTALL, rest[len(line.text) + 1 :], line.text)
    return _Load(LoadKind.INSTALL, modprobe_d.options(lines), rest.rstrip(' '))


def _compute(index: '_Index', module: str, lines: tuple[ModuleLine, ...]) -> _Load:
    """Return what modprobe would do on the node the tree is of (libkmod-module.c)."""
    if modprobe_d.first(lines, LineKind.ALIAS):
        return _Load(LoadKind.MISSING, '')
    # Trees are often captured without an index, which is no reason to call the module missing.
    kind = index.kind(module) or LoadKind.MODULE
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
    return (*used, *others)


def _stand_ins(index: '_Index', module: str, files: tuple[ConfigFile, ...]) -> Iterable[ModuleLine]:
    """Yield the install lines kmod runs instead of loading what the module depends on."""
    if any('install' in file.text for file in files):
        for name in index.dependencies(module):
            line = modprobe_d.first(modprobe_d.lines(files, name, ''), LineKind.INSTALL)
            if line:
                yield line


def _real_names_apart(
    root: Root, index: '_Index', lines: Iterable[ModuleLine], suspects: Collection[str]
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


class _Index:
    """The module index of the running kernel, as depmod and the kernel's build wrote it."""

    def __init__(self, root: Root, release: str | Unread) -> None:
        self._root = root
        self._release = release
        self._texts: dict[str, str | None] = {}

    def _text(self, name: str) -> str | None:
        if name not in self._texts:
            paths = [f'{directory}/{self._release}/{name}' for directory in _INDEXES]
            texts = (self._root.try_text(path) for path in paths)
            self._texts[name] = next((text for text in texts if isinstance(text, str)), None)
        return self._texts[name]

    def kind(self, module: str) -> LoadKind | None:
        """Return MODULE, BUILTIN or MISSING; None where the index does not tell."""
        if self._entry('modules.dep', module) is not None:
            return LoadKind.MODULE
        if self._entry('modules.builtin', module) is not None:
            return LoadKind.BUILTIN
        known = self._text('modules.dep') is not None and self._text('modules.builtin') is not None
        return LoadKind.MISSING if known else None

    def has(self, module: str) -> bool:
        """Whether there is such a module, built in or not."""
        return self.kind(module.replace('-', '_')) in (LoadKind.MODULE, LoadKind.BUILTIN)

    def dependencies(self, module: str) -> list[str]:
        """Return the modules it depends on, first to load first."""
        paths = (self._entry('modules.dep', module) or '').split()[::-1]
        return [path.rpartition('/')[2].partition('.')[0].replace('-', '_') for path in paths]

    def _entry(self, index: str, module: str) -> str | None:
        """Return what follows the module's path and colon in an index; None if it is not there."""
        spelled = re.escape(module).replace('_', '[-_]')
        text = self._text(index) or ''
        match = re.search(rf'^(?:[^:\n]*/)?{spelled}\.ko(?:\.\w+)?(?::(.*))?$', text, re.MULTILINE)
        return (match[1] or '') if match else None
