"""Files brought back to what they were before the agent came, for "revert"."""

from collections.abc import Mapping

from nested_agent.actions import files, ini_edit
from nested_agent.actions.changed import ChangedFile, ChangedOption
from nested_agent.actions.file_step import FileStep, Written, recorded, remove_room
from nested_agent.actions.site import Site
from nested_agent.actions.step import Undo
from nested_agent.exceptions import RecordError, StepError
from nested_agent.model import Action
from nested_agent.node.nova_lines import NAMES
from nested_agent.verify.persistent import DROPIN

MODE = frozenset(NAMES['libvirt.cpu_mode'])
MODELS = frozenset(NAMES['libvirt.cpu_models'])


class RestoreFile(FileStep):
    """A file as it was before the agent's first change, to the byte.

    Where others changed it since, only the agent's own options are taken back, and of those only
    what others have not changed in turn. A file that is the agent's own is then left alone.

    :ivar foreign_mode: whether others have chosen a ``cpu_mode`` since, known from ``precheck`` on
    :ivar beside_foreign_mode: set where this or another file has such a one: nova may refuse to
        start with the models from before beside it, so they are not given back
    :param path: as :attr:`ChangedFile.path`
    """

    name = 'restore-file'

    def __init__(self, site: Site, actions: tuple[Action, ...], path: str) -> None:
        super().__init__(site, actions, path)
        self.foreign_mode = False
        self.beside_foreign_mode = False
        self._changed = path
        self._done = ''

    def content(self, before: bytes | None) -> bytes | None:
        """Return the original, or the present content without the agent's options."""
        with recorded():
            known = {each.path: each for each in self.site.changes.files()}
        changed = known.get(self._changed)
        if changed is None:
            raise StepError(f'{self._changed}: the agent has no record that it changed this file')
        if self.path != self._changed:
            raise StepError(
                f'{self._changed} is a link to {self.path} now, which the agent did not change; '
                'have a file there again or remove the link, then revert again'
            )
        if files.digest(before) == changed.original:
            self._done = 'is already as it was'
            return before
        if before is None:
            self._done = 'was removed by somebody else, and stays so'
            return before
        whole = not (self.beside_foreign_mode and MODELS & (changed.options or {}).keys())
        if whole and changed.intact and files.digest(before) in changed.states:
            try:
                return self._original(changed)
            except RecordError as error:
                if changed.options is None:
                    raise StepError(f'{self.path} cannot be restored: {error}') from error
        if changed.options is None:
            raise StepError(
                f'{self.path}: somebody else changed it since the agent wrote it, so it is not '
                'touched; put it right by hand or remove it, then revert again'
            )
        return self._taken_back(before, changed.options)

    def _original(self, changed: ChangedFile) -> bytes | None:
        if changed.original is None:
            self._done = 'is removed: it was not there before'
            return None
        self._done = 'is as it was before, to the byte'
        return self.site.changes.original(changed.original)

    def _taken_back(self, before: bytes, options: Mapping[str, ChangedOption]) -> bytes:
        now = ini_edit.texts(before, options, self.path)
        ours = [name for name, each in options.items() if now[name] == each.after]
        theirs = [name for name in options if name not in ours]
        modes = MODE.intersection(theirs)
        self.foreign_mode = any(now[name] != options[name].before for name in modes)
        withheld = []
        if self.foreign_mode or self.beside_foreign_mode:
            withheld = [name for name in ours if name in MODELS]
        ours = [name for name in ours if name not in withheld]
        new = ini_edit.edit(before, {name: options[name].before for name in ours}, self.path)
        said = ['is not restored as a whole']
        if ours:
            said.append(f'{", ".join(ours)} is as it was before')
        if theirs:
            said.append(f'{", ".join(theirs)} is left as others wrote it')
        if withheld:
            said.append(f'{", ".join(withheld)} is not given back beside their cpu_mode')
        self._done = ': '.join([said[0], ', '.join(said[1:])])
        return new

    def verify(self) -> str:
        """Read the file back."""
        super().verify()
        return f'{self.path} {self._done}'

    @classmethod
    def remember(cls, site: Site, it: Written) -> None:
        """Forget that the agent changed the file."""
        site.changes.drop_file(it.path)

    @classmethod
    def forget(cls, site: Site, record: Undo) -> None:
        """Remove the spare, and beside the drop-in the room it was in.

        Not beside nova-compute's files: their directory would look changed after it was started.
        """
        super().forget(site, record)
        it = Written.from_dict(record)
        if it.path == DROPIN:
            with files.explained(it.path):
                remove_room(it.places(site.root)[0])
