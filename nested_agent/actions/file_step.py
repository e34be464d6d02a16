"""A step that gives one file another content, and can bring the very same file back.

Before the new file takes its place, the old one gets a second name near it (a hard link): undo is
one rename, needs no disk space, and brings back inode, owner, mode, attributes and time.

The second name is in a directory of its own, which stays there empty: a name removed from the
file's own directory would make that look changed after nova-compute was started.
"""

import abc
import contextlib
import dataclasses
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from nested_agent.actions import files
from nested_agent.actions.changed import ChangedOption
from nested_agent.actions.site import Site
from nested_agent.actions.step import Step, Undo
from nested_agent.durable import sync_directory
from nested_agent.exceptions import RecordError, StepError
from nested_agent.model import Action
from nested_agent.node.root import Root

#: The directory of second names. Neither modprobe nor oslo.config looks into it.
ROOM = '.nested-agent'
MEANWHILE = 'somebody else changed it meanwhile'


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """The record of a FileStep.

    :ivar path: the file itself, as the node names it
    :ivar spare: the second name of the old file
    :ivar before: SHA-256 of the old content, None: there was no file
    :ivar after: SHA-256 of the new content, None: there shall be no file
    :ivar options: as :meth:`FileStep.options`
    """

    path: str
    spare: str
    before: str | None
    after: str | None
    options: Mapping[str, ChangedOption] | None

    @classmethod
    def from_dict(cls, data: Undo) -> Self:
        """Return what ``dataclasses.asdict`` made plain."""
        options = data['options']
        if options is not None:
            options = {name: ChangedOption(**each) for name, each in options.items()}
        return cls(data['path'], data['spare'], data['before'], data['after'], options)

    def places(self, root: Root) -> tuple[Path, Path]:
        """Return where the file is, and where the old one has its second name."""
        file = root.path(self.path)
        return file, file.parent / ROOM / self.spare


class FileStep(Step):
    """One file changed.

    A subclass says what the content shall be (:meth:`content`) and, where only part of the file
    is the agent's, which options that changes (:meth:`options`). Nothing is done where the new
    content is the old one.

    :ivar path: the file as the node names it; from ``precheck`` on with every link followed
    :ivar file: where it is
    :ivar before: its content at ``precheck``; None: there was no file
    :ivar after: its content to be; None: no file
    :param like: a file whose owner, mode and attributes a new one gets; without: root, 0644
    """

    def __init__(
        self, site: Site, actions: tuple[Action, ...], path: str, like: str | None = None
    ) -> None:
        super().__init__(site, actions)
        self.path = path
        self.file = Path()
        self.before: bytes | None = None
        self.after: bytes | None = None
        self._like = like
        self._spare = Path()

    @abc.abstractmethod
    def content(self, before: bytes | None) -> bytes | None:
        """Return the new content; None is no such file. Called by ``precheck``.

        :param before: the present content
        :raises StepError: there is none that would do
        """

    def options(self) -> Mapping[str, ChangedOption] | None:
        """Return what changes in the file, for revert; None: all of the file is the agent's."""
        return None

    def precheck(self) -> None:
        """Compute the new content, and whether it could be written."""
        root = self.site.root
        with files.explained(self.path):
            self.file = files.real(root, self.path)
            self.before = files.read(self.file)
        self.path = files.name(root, self.file)
        self.after = self.content(self.before)
        if self.before != self.after:
            with files.explained(self.path), recorded():
                files.check(root, self.file, len(self.after or b''))
                self.site.changes.files()

    def record(self) -> Undo:
        """Return a :class:`Written` as a dict."""
        with files.explained(self.path):
            if files.read(self.file) != self.before:
                raise StepError(f'{self.path}: {MEANWHILE}; try again')
        # A name of its own, whatever an earlier run has left behind.
        spare = f'{self.file.name}.{secrets.token_hex(4)}'
        before, after = files.digest(self.before), files.digest(self.after)
        written = Written(self.path, spare, before, after, self.options())
        self._spare = written.places(self.site.root)[1]
        return dataclasses.asdict(written)

    def apply(self) -> None:
        """Keep the old file under a second name, then put the new one in its place."""
        if self.before == self.after:
            return
        with files.explained(self.path), recorded():
            self._spare.parent.mkdir(mode=0o700, exist_ok=True)
            if self.before is not None:
                self.site.changes.save(self.before)
                self._keep(self.before)
            sync_directory(self.file.parent)
            if self.after is None:
                self.file.unlink()
                sync_directory(self.file.parent)
                return
            like = self.file if self.before is not None else self._neighbour()
            files.replace(self.file, self.after, _temporary(self._spare), like)

    def _keep(self, before: bytes) -> None:
        """Give the file a second name, and make sure that it is the file meant."""
        try:
            self._spare.hardlink_to(self.file)
        except OSError:  # a file system without links, or a file that must not have two names
            files.copy(self.file, self._spare)
        if files.read(self._spare) != before:
            self._spare.unlink()
            raise StepError(f'{self.path}: {MEANWHILE}; try again')
        sync_directory(self._spare.parent)

    def _neighbour(self) -> Path | None:
        return files.real(self.site.root, self._like) if self._like else None

    def verify(self) -> str:
        """Read the file back."""
        with files.explained(self.path):
            if files.read(self.file) != self.after:
                raise StepError(f'{self.path}: {MEANWHILE}, it does not hold what was written')
        return f'{self.path} is {"removed" if self.after is None else "written"}'

    @classmethod
    def undo(cls, site: Site, record: Undo, *, rebooted: bool) -> str:
        """Give the old file its name again, unless somebody else wrote a third content."""
        it = Written.from_dict(record)
        file, spare = it.places(site.root)
        with files.explained(it.path), recorded():
            now = files.digest(files.read(file))
            if now not in (it.before, it.after):
                return _leave_alone(site, it)
            done = f'{it.path} is as it was'
            if now != it.before:
                done = _put_back(site, it)
            _remove_spare(spare)
            remove_room(file)
            site.changes.discard(it.before)
        return done

    @classmethod
    def forget(cls, site: Site, record: Undo) -> None:
        """Hand the change over to :class:`Changes`, if it was made, and remove the spare."""
        it = Written.from_dict(record)
        file, spare = it.places(site.root)
        with files.explained(it.path), recorded():
            if it.before == it.after or files.digest(files.read(file)) != it.before:
                cls.remember(site, it)
            else:
                site.changes.discard(it.before)
            _remove_spare(spare)

    @classmethod
    def remember(cls, site: Site, it: Written) -> None:
        """Write a change that stays down for revert.

        :raises RecordError: it could not be written down
        """
        if it.before != it.after:
            site.changes.keep_file(it.path, it.before, it.after, it.options)


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """Turn a RecordError into a StepError: without a record nothing is changed."""
    try:
        yield
    except RecordError as error:
        raise StepError(str(error)) from error


def remove_room(file: Path) -> None:
    """Remove the directory for second names beside a file, unless it is in use.

    :raises OSError: the file's directory cannot be synced
    """
    with contextlib.suppress(OSError):
        (file.parent / ROOM).rmdir()
    sync_directory(file.parent)


def _put_back(site: Site, it: Written) -> str:
    file, spare = it.places(site.root)
    if it.before is None:
        file.unlink()
        return f'{it.path} is removed again'
    if spare.exists():
        spare.rename(file)
    else:  # somebody removed it; there is still the copy for revert
        like = file if it.after else None
        files.replace(file, site.changes.original(it.before), _temporary(file), like)
    return f'{it.path} is put back as it was'


def _leave_alone(site: Site, it: Written) -> str:
    """Let go of a file with a third content; what it was before is kept where a person finds it.

    :raises StepError: to tell where, once
    """
    file, spare = it.places(site.root)
    old = files.read(spare)
    aside = site.changes.aside(it.before, spare.stem)
    if old is not None:
        aside = site.changes.set_aside(old, spare.stem)
    _remove_spare(spare)
    remove_room(file)
    site.changes.discard(it.before)
    said = f'{it.path}: {MEANWHILE}, so it is left as it is'
    if aside:
        said += f'; what it was before is in {aside}'
    if old is not None:
        raise StepError(said)
    return said


def _remove_spare(spare: Path) -> None:
    if spare.parent.is_dir():
        for each in (_temporary(spare), spare):
            each.unlink(missing_ok=True)
        sync_directory(spare.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f'.{path.name}.new')
