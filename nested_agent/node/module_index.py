"""The module index of the running kernel, as depmod and the kernel's build wrote it."""

import re

from nested_agent.facts import LoadKind, Unread
from nested_agent.node.root import Root

DIRECTORIES = ('/lib/modules', '/usr/lib/modules')
ABSENT = ('ENOENT', 'ENOTDIR')


class ModuleIndex:
    """Which modules there are, what they depend on, and which are built in."""

    def __init__(self, root: Root, release: str | Unread) -> None:
        self._root = root
        self._release = release
        self._texts: dict[str, str | Unread | None] = {}

    def kind(self, module: str) -> LoadKind | Unread | None:
        """Return MODULE, BUILTIN or MISSING; None where the index does not tell."""
        for name, kind in (
            ('modules.dep', LoadKind.MODULE),
            ('modules.builtin', LoadKind.BUILTIN),
        ):
            if self._entry(name, module) is not None:
                return kind
        texts = [self._text('modules.dep'), self._text('modules.builtin')]
        for text in texts:
            if isinstance(text, Unread):
                return text
        return None if None in texts else LoadKind.MISSING

    def has(self, module: str) -> bool:
        """Whether there is such a module, built in or not."""
        return self.kind(module.replace('-', '_')) in (LoadKind.MODULE, LoadKind.BUILTIN)

    def dependencies(self, module: str) -> list[str]:
        """Return the modules it depends on, first to load first.

        Without an index it is the one all of a family need: ``kvm`` of ``kvm_amd``.
        """
        paths = self._entry('modules.dep', module)
        if paths is None:
            return [module.partition('_')[0]]
        return [
            path.rpartition('/')[2].partition('.')[0].replace('-', '_')
            for path in paths.split()[::-1]
        ]

    def _text(self, name: str) -> str | Unread | None:
        if name not in self._texts:
            self._texts[name] = self._read(name)
        return self._texts[name]

    def _read(self, name: str) -> str | Unread | None:
        if isinstance(self._release, Unread):
            return None
        for directory in DIRECTORIES:
            text = self._root.try_text(f'{directory}/{self._release}/{name}')
            if isinstance(text, str) or text.error not in ABSENT:
                return text
        return None

    def _entry(self, index: str, module: str) -> str | None:
        """Return what follows the module's path and colon in an index; None if it is not there."""
        text = self._text(index)
        if not isinstance(text, str):
            return None
        spelled = re.escape(module).replace('_', '[-_]')
        match = re.search(rf'^(?:[^:\n]*/)?{spelled}\.ko(?:\.\w+)?(?::(.*))?$', text, re.MULTILINE)
        return (match[1] or '') if match else None
