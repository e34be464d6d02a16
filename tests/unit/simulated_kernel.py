"""The kernel's modules, and kmod, of a simulated node: what they do is done to its tree.

Options come from the tree's modprobe.d files, which are read as kmod reads them. Softdeps are left
out.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nested_agent.facts import LineKind, ModuleLine, Unread
from nested_agent.node import arguments, modprobe_d
from nested_agent.node.root import Completed, Root
from tests.unit.fakes import write_tree
from tests.unit.nodes import RELEASE
from tests.unit.simulated_modules import AMD, INTEL, UNSAFE

MODULES = f'/lib/modules/{RELEASE}'
DONE = Completed(0, '', '')


class SimulatedKernel:
    """Loads and unloads modules. Of its attributes a test may set the first two.

    :ivar failing_loads: how many of the next loads of the vendor's module the hardware fails
    :ivar refuse: returns what the kernel says against a load of (module, options), or None
    :ivar loads: every load and unload that was made: ``load kvm_amd nested=1``, ``unload kvm``
    :ivar commands: install and remove commands that modprobe ran
    :ivar taints: unsafe parameters that were given
    :ivar holders: processes that use KVM, until when on the node's clock (None: until released)
    """

    def __init__(self, root: Root, vendor: str) -> None:
        self.failing_loads = 0
        self.refuse: Callable[[str, tuple[str, ...]], str | None] = lambda *_: None
        self.loads: list[str] = []
        self.commands: list[str] = []
        self.taints: list[str] = []
        self.holders: dict[int, float | None] = {}
        self.vendor = vendor
        self.modules = AMD if vendor == 'kvm_amd' else INTEL
        self._root = root

    def index(self) -> dict[str, str]:
        """Return the files depmod makes."""
        paths = {name: f'kernel/{name.replace("_", "-")}.ko' for name in self.modules}
        rows = [
            f'{paths[name]}: {" ".join(paths[each] for each in module.needs[::-1])}'.rstrip()
            for name, module in self.modules.items()
        ]
        return {
            f'{MODULES}/modules.dep': '\n'.join((*rows, '')),
            f'{MODULES}/modules.builtin': '',
        }

    def loaded(self, name: str) -> bool:
        return self._sysfs(name).is_dir()

    def modprobe(self, words: list[str]) -> Completed:
        """Do what ``modprobe WORDS`` does, and return how it ended."""
        private = words[:2] == ['-C', '/dev/null']
        words = words[2:] if private else words
        if words[0] == '-D':
            return Completed(0, ''.join(self._shown(words[1])), '')
        if words[0] == '-r':
            return self._remove(words[1], private)
        name, *given = words
        if self.loaded(name):
            return DONE
        for each in (*self.modules[name].needs, name):
            if self.loaded(each):
                continue
            install = [] if private else self._lines(each, LineKind.INSTALL)
            if install:
                self.commands.append(install[0].text)
                continue
            text = self.configured(each, private) + ' '.join(given if each == name else ())
            problem = self.insert(each, text)
            if problem:
                return _failed(f"ERROR: could not insert '{each}': {problem}")
        return DONE

    def configured(self, name: str, private: bool = False) -> str:
        """Return the options kmod gives a module, with a blank behind them."""
        text = modprobe_d.options(self._all_lines(name, private))
        return f'{text} ' if text else ''

    def insert(self, name: str, text: str) -> str | None:
        """Load a module whose dependencies are there; return what the kernel says against it."""
        given = arguments.split(text)
        if self._disabled():
            return 'Operation not permitted'
        known = self.modules[name].parameters
        values = {key: each.default for key, each in known.items()}
        for option in given:
            key, equals, value = option.partition('=')
            if key in known:
                parsed = known[key].parse(value if equals else None)
                if parsed is None:
                    return 'Invalid argument'
                values[key] = parsed
                self.taints += [key] if key in UNSAFE else []
        problem = self.refuse(name, given)
        if problem is None and name == self.vendor and self.failing_loads:
            self.failing_loads -= 1
            problem = 'Input/output error'
        if problem:
            return problem
        directory = f'/sys/module/{name}'
        files = {f'{directory}/parameters/{key}': f'{text}\n' for key, text in values.items()}
        self._write({f'{directory}/initstate': 'live\n', **files})
        for key, each in known.items():
            mode = 0o644 if each.writable else 0o444
            self._path(f'{directory}/parameters/{key}').chmod(mode)
        if name == self.vendor:
            self._write({'/dev/kvm': ''})
            self._path('/dev/kvm').chmod(0o600)  # devtmpfs
        self.count()
        self.loads.append(' '.join(('load', name, *given)))
        return None

    def count(self) -> None:
        """Have sysfs show who uses what."""
        for name in filter(self.loaded, self.modules):
            self._write({f'/sys/module/{name}/refcnt': f'{self._users(name)}\n'})
            holders = self._sysfs(name) / 'holders'
            shutil.rmtree(holders, ignore_errors=True)
            holders.mkdir()
            for other in self._dependent(name):
                (holders / other).symlink_to(f'../../{other}')

    def switch_off(self) -> None:
        """Forget all that is in memory."""
        self.holders.clear()
        for name in self.modules:
            shutil.rmtree(self._sysfs(name), ignore_errors=True)
        self._path('/dev/kvm').unlink(missing_ok=True)

    def boot(self) -> None:
        """Have udev load the vendor's module, unless it is blacklisted."""
        if not self._lines(self.vendor, LineKind.BLACKLIST):
            self.modprobe([self.vendor])

    def _remove(self, name: str, private: bool) -> Completed:
        """As rmmod_do_module() of kmod's tools/modprobe.c."""
        command = [] if private else self._lines(name, LineKind.REMOVE)
        if command:
            self.commands.append(command[0].text)
            return DONE
        if not self.loaded(name):
            return DONE
        if self._users(name):
            return _failed(f'FATAL: Module {name} is in use.')
        if self._disabled():
            return _failed(f"ERROR: could not remove '{name}': Operation not permitted")
        for each in (name, *self.modules[name].needs[::-1]):
            if self.loaded(each) and not self._users(each):
                shutil.rmtree(self._sysfs(each))
                self.loads.append(f'unload {each}')
        if name == self.vendor:
            self._path('/dev/kvm').unlink()
        self.count()
        return DONE

    def _shown(self, name: str) -> Iterator[str]:
        for each in (*self.modules[name].needs, name):
            install = self._lines(each, LineKind.INSTALL)
            path = f'{MODULES}/kernel/{each.replace("_", "-")}.ko'
            how = f'install {install[0].text}' if install else f'insmod {path}'
            yield f'{how} {self.configured(each)}\n'

    def _lines(self, name: str, kind: LineKind) -> list[ModuleLine]:
        return [line for line in self._all_lines(name) if line.kind is kind]

    def _all_lines(self, name: str, private: bool = False) -> list[ModuleLine]:
        found = modprobe_d.load(self._root)
        assert not isinstance(found, Unread), found
        files = () if private else found.files
        lines = modprobe_d.lines(files, name, self._root.read_text('/proc/cmdline'))
        return [line for line in lines if line.ignored is None]

    def _dependent(self, name: str) -> list[str]:
        return [
            each for each in self.modules if self.loaded(each) and name in self.modules[each].needs
        ]

    def _users(self, name: str) -> int:
        # An open /dev/kvm and a VM each.
        held = 2 * len(self.holders) if name == self.vendor else 0
        return len(self._dependent(name)) + held

    def _disabled(self) -> bool:
        return self._root.read_text('/proc/sys/kernel/modules_disabled').strip() == '1'

    def _sysfs(self, name: str) -> Path:
        return self._path(f'/sys/module/{name}')

    def _path(self, name: str) -> Path:
        return self._root.base / name.lstrip('/')

    def _write(self, files: Mapping[str, str]) -> None:
        write_tree(self._root.base, files)


def _failed(text: str) -> Completed:
    return Completed(1, '', f'modprobe: {text}\n')
