"""The agent's own record of what it changed on this node, for "revert".

``changes.json`` in the state directory, and the originals of files beside it, each named by the
SHA-256 of its content. Everything is written whole or not at all, and survives a power cut.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from nested_agent import durable
from nested_agent.actions import files
from nested_agent.actions.changed import ChangedFile, ChangedModule, ChangedOption
from nested_agent.exceptions import RecordError

NAME = 'changes.json'
ORIGINALS = 'originals'
ASIDE = 'set-aside'
VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class _All:
    files: Mapping[str, ChangedFile] = dataclasses.field(default_factory=dict)
    module: ChangedModule | None = None


class Changes:
    """What the agent changed. Used by one process at a time; every call may be repeated.

    Every method raises :class:`RecordError` where the record cannot be read or written.

    :param directory: the state directory
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / NAME

    def files(self) -> tuple[ChangedFile, ...]:
        """Return the changed files by path."""
        return tuple(each for _, each in sorted(self._read().files.items()))

    def module(self) -> ChangedModule | None:
        """Return the module as it was, None if the agent did not change it."""
        return self._read().module

    def save(self, content: bytes) -> str:
        """Keep a content that is about to be replaced, and return its SHA-256."""
        name = str(files.digest(content))
        path = self._directory / ORIGINALS / name
        with self._writing(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if files.digest(files.read(path)) != name:
                _write(path, content)
                durable.sync_directory(self._directory)
        return name

    def discard(self, original: str | None) -> None:
        """Forget a saved content that nothing refers to; others stay."""
        if original is None or original in self._referred():
            return
        path = self._directory / ORIGINALS / original
        with self._writing(path):
            for each in (_temporary(path), path):
                each.unlink(missing_ok=True)

    def original(self, original: str) -> bytes:
        """Return a saved content by its SHA-256."""
        path = self._directory / ORIGINALS / original
        try:
            content = files.read(path)
        except OSError as error:
            raise RecordError(f'{path}: {files.sentence(error)}') from error
        if content is None or files.digest(content) != original:
            raise RecordError(f'{path}: it is {"gone" if content is None else "damaged"}')
        return content

    def set_aside(self, content: bytes, name: str) -> Path:
        """Keep a content for a person to look at, and return where it is."""
        path = self._aside(str(files.digest(content)), name)
        with self._writing(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _write(path, content)
            durable.sync_directory(self._directory)
        return path

    def aside(self, content: str | None, name: str) -> Path | None:
        """Return where a content of that SHA-256 was set aside, None if it was not."""
        path = self._aside(content, name) if content else None
        return path if path and path.exists() else None

    def _aside(self, content: str, name: str) -> Path:
        return self._directory / ASIDE / f'{name}.{content[:12]}'

    def keep_file(
        self,
        path: str,
        before: str | None,
        after: str | None,
        options: Mapping[str, ChangedOption] | None,
    ) -> None:
        """Remember a change of a file.

        :param path: the file itself, not a link to it
        :param before: SHA-256 of the content before, :meth:`save`\\ d; None: there was no file
        :param after: SHA-256 of the content afterwards; None: there is no file
        :param options: as :attr:`ChangedFile.options`, for this one change
        """
        known = self._read()
        old = known.files.get(path)
        new = (
            old.then(before, after, options)
            if old
            else ChangedFile.first(path, before, after, options)
        )
        self._write(dataclasses.replace(known, files={**known.files, path: new}))
        for each in {before, old.original if old else None}:
            self.discard(each)

    def keep_module(
        self, module: str, boot_id: str | None, parameters: Mapping[str, str] | None
    ) -> None:
        """Remember what a module was before it was loaded or reloaded; the first time counts."""
        known = self._read()
        if known.module is None or known.module.module != module:
            changed = ChangedModule(module, boot_id, parameters)
            self._write(dataclasses.replace(known, module=changed))

    def drop_file(self, path: str) -> None:
        """Forget a file: it is as it was."""
        known = self._read()
        old = known.files.get(path)
        if old:
            rest = {name: each for name, each in known.files.items() if name != path}
            self._write(dataclasses.replace(known, files=rest))
            self.discard(old.original)

    def drop_module(self) -> None:
        """Forget the module: it is as it was."""
        known = self._read()
        if known.module:
            self._write(dataclasses.replace(known, module=None))

    def clear(self) -> None:
        """Forget everything, but not what was set aside."""
        with self._writing(self._file):
            self._file.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                for path in (self._directory / ORIGINALS).iterdir():
                    path.unlink()

    def sweep(self, now: float) -> None:
        """Remove what no run in progress and no change refers to; there must be no such run.

        :param now: seconds since the epoch
        """
        originals = self._directory / ORIGINALS
        with self._writing(originals):
            known = self._referred()
            for path in originals.glob('*'):
                if path.name not in known:
                    path.unlink()
        durable.sweep(self._directory, now - durable.ABANDONED_SECONDS)

    def _referred(self) -> set[str | None]:
        return {each.original for each in self._read().files.values()}

    def _read(self) -> _All:
        try:
            content = files.read(self._file)
            if content is None:
                return _All()
            data = json.loads(content)
            if data['version'] != VERSION:
                raise ValueError(f'version {data["version"]}, only {VERSION} is known')
            changed = [ChangedFile.from_dict(each) for each in data['files']]
            module = ChangedModule(**data['module']) if data['module'] else None
        except OSError as error:
            raise RecordError(f'{self._file}: {files.sentence(error)}') from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RecordError(
                f'{self._file}: the record of what the agent changed is damaged ({error!r}); put '
                'it back from a backup, or move it away: then nothing done so far can be reverted'
            ) from error
        return _All({each.path: each for each in changed}, module)

    def _write(self, known: _All) -> None:
        data = {
            'version': VERSION,
            'files': [dataclasses.asdict(each) for each in known.files.values()],
            'module': dataclasses.asdict(known.module) if known.module else None,
        }
        with self._writing(self._file):
            _write(self._file, json.dumps(data, indent=1).encode())

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordError(f'{path}: {files.sentence(error)}') from error


def _write(path: Path, content: bytes) -> None:
    files.replace(path, content, _temporary(path), mode=0o600)


def _temporary(path: Path) -> Path:
    return path.with_name(f'.{path.name}.new')
