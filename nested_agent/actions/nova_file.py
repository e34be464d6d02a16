"""nova-compute's configuration files edited, and proved by what they come to together."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nested_agent.actions import files, ini_edit
from nested_agent.actions.changed import ChangedOption
from nested_agent.actions.file_step import FileStep
from nested_agent.actions.site import Site
from nested_agent.exceptions import StepError
from nested_agent.facts import NovaCompute, NovaProcess, Setting, Unread
from nested_agent.model import Action, ActionKind
from nested_agent.node import nova_config, nova_lines
from nested_agent.node.root import Root, unread
from nested_agent.report import Judged

KINDS = (ActionKind.SET_NOVA_OPTION, ActionKind.REMOVE_NOVA_OPTION)
NEW = b"""\
# Written by nested-agent: what the policy of this node asks of nova-compute.
# "nested-agentctl revert" takes it back.

"""


def steps(
    site: Site, judged: Judged, actions: Iterable[Action] | None = None
) -> list['EditNovaFile']:
    """Return the steps for what a plan changes in nova-compute's files, one for each file.

    :param actions: the plan, or those of it that are to be carried out
    """
    nova = judged.observation.nova
    chosen = [
        each for each in (judged.report.plan if actions is None else actions) if each.kind in KINDS
    ]
    if not isinstance(nova, NovaCompute) or not chosen:
        return []
    edits = Edits(site, nova, chosen)
    return [EditNovaFile(edits, path) for path in edits.planned]


def with_contents(
    root: Root, nova: NovaCompute, changed: Mapping[Path, bytes | None]
) -> NovaCompute:
    """Return nova-compute as it would be if some of its files had another content.

    :param changed: by the file itself, as of :func:`files.real`; None: there is no such file
    :raises StepError: links lead in a circle
    """
    if nova.root != '/':
        return nova  # it reads no file of the node
    contents = {}
    for path in (each.path for each in nova.files):
        with files.explained(path):
            file = files.real(root, path)
        if file in changed:
            content = changed[file]
        else:
            try:
                content = nova_config.content_of(root, path)
            except OSError as error:
                return dataclasses.replace(nova, settings=unread(path, error))
        if content is not None:
            contents[path] = content
    environment = nova.process.environment if isinstance(nova.process, NovaProcess) else {}
    known = {} if isinstance(environment, Unread) else environment
    settings = nova_config.settings_of(list(contents), list(contents.values()), known)
    return dataclasses.replace(nova, settings=settings)


class Edits:
    """All edits of one run. What nova-compute reads is the effect of all of them together.

    :ivar planned: the actions by the file's name, as nova-compute has it; one name for each file,
        even if links lead to it from several
    :param actions: set and remove options
    """

    def __init__(self, site: Site, nova: NovaCompute, actions: Sequence[Action]) -> None:
        self.site = site
        self._nova = nova
        self.planned: dict[str, list[Action]] = {}
        for action in actions:
            self.planned.setdefault(self._same(_file(action)), []).append(action)
        read = [each.path for each in nova.files]
        #: In reading order; a new file is read last (verify/nova_settings.py: file_to_set).
        self._paths = [*read, *(path for path in self.planned if path not in read)]
        #: What a new file's owner and mode are taken from.
        self.like = read[-1] if read else None
        self._wanted = {_option(action): action.after for action in actions}
        self._others: Mapping[str, object] = {}
        self._proved: Mapping[str, bytes] | None = None
        self._written: set[str] = set()

    def _same(self, path: str) -> str:
        """Return the name already used for a file, if there is one."""
        root = self.site.root
        with files.explained(path):
            real = files.real(root, path)
            return next((each for each in self.planned if files.real(root, each) == real), path)

    def text(self, path: str) -> dict[str, str | None]:
        """Return what one file shall say, by option as spelled there.

        :raises EditRefusedError: a value cannot be written
        """
        return {
            _spelled(action): None if action.after is None else ini_edit.literal(action.after)
            for action in self.planned[path]
        }

    def edited(self, path: str, before: bytes | None) -> bytes:
        """Return the new content of one file.

        :raises EditRefusedError: it cannot be edited safely
        """
        return ini_edit.edit(NEW if before is None else before, self.text(path), path)

    def prove(self) -> None:
        """Make sure that the new files would come to what was planned. Writes nothing.

        :raises StepError: they would not
        """
        if self._nova.root != '/':
            raise StepError(
                f'{self._nova.root}: files of a container or of mounts of its own are not edited'
            )
        now = self._contents()
        if now == self._proved:
            return  # for the step of another file
        new = dict(now)
        for path in self._paths:
            name = self._same(path)
            if name in self.planned:
                new[path] = self.edited(name, now.get(path))
        self._others = self._besides(self._settings(now))
        self._check(self._settings(new), 'would')
        self._proved = now

    def written(self, path: str) -> None:
        """Make sure, once all files are written, that they come to what was planned.

        :raises StepError: they do not
        """
        self._written.add(path)
        if self._written == self.planned.keys():
            self._check(self._settings(self._contents()), 'do')

    def _contents(self) -> dict[str, bytes]:
        found = {}
        for path in self._paths:
            with files.explained(path):
                if self.site.root.present(path):
                    found[path] = nova_config.content_of(self.site.root, path)
        return found

    def _settings(self, contents: Mapping[str, bytes]) -> Mapping[str, Setting]:
        environment: Mapping[str, str] | Unread = {}
        if isinstance(self._nova.process, NovaProcess):
            environment = self._nova.process.environment
        if isinstance(environment, Unread):
            raise StepError(f'the environment of nova-compute cannot be read: {environment}')
        there = [path for path in self._paths if path in contents]
        settings = nova_config.settings_of(there, [contents[each] for each in there], environment)
        if isinstance(settings, Unread):
            raise StepError(f'{settings.source}: {settings.detail}; mend it by hand')
        return settings

    def _besides(self, settings: Mapping[str, Setting]) -> Mapping[str, object]:
        found = {}
        for name, setting in settings.items():
            value = setting.value
            if name in self._wanted:
                continue
            if isinstance(value, Unread) and value.error != 'Unresolved':
                # What it comes to is not known, so not whether it stays; nor could nova work.
                raise StepError(f'{value.source}: {value.detail}; mend it by hand first')
            found[name] = _plain(setting)
        return found

    def _check(self, settings: Mapping[str, Setting], verb: str) -> None:
        for option, wanted in self._wanted.items():
            setting = settings[option]
            good = not setting.occurrences if wanted is None else _plain(setting) == wanted
            if not good:
                wish = 'be unset' if wanted is None else f'be {wanted}'
                where = f' ({setting.where} is in force)' if setting.where else ''
                raise StepError(f'{option} should {wish}, but the files {verb} not say so{where}')
        others = self._besides(settings)
        for option, before in self._others.items():
            if others[option] != before:
                raise StepError(f'{option} should stay as it is, but the files {verb} not say so')


class EditNovaFile(FileStep):
    """Options set and removed in one file of nova-compute."""

    name = 'edit-nova-file'

    def __init__(self, edits: Edits, path: str) -> None:
        super().__init__(edits.site, tuple(edits.planned[path]), path, edits.like)
        self._edits = edits
        self._named = path

    def content(self, before: bytes | None) -> bytes:
        """Return the content with the options changed, proved together with the other files."""
        self._edits.prove()
        return self._edits.edited(self._named, before)

    def options(self) -> Mapping[str, ChangedOption]:
        """Return the options as they were and as they will be in this file."""
        new = self._edits.text(self._named)
        old = ini_edit.texts(self.before or b'', new, self.path)
        return {name: ChangedOption(old[name], text) for name, text in new.items()}

    def verify(self) -> str:
        """Read the file back, and with the last one all that nova-compute will read."""
        super().verify()
        self._edits.written(self._named)
        said = [
            f'no {_spelled(each)}' if each.after is None else f'{_spelled(each)} = {each.after}'
            for each in self.actions
        ]
        return f'{self.path} has {", ".join(said)}'


def _file(action: Action) -> str:
    return action.target.rpartition(' ')[0]


def _spelled(action: Action) -> str:
    return action.target.rpartition(' ')[2]


def _option(action: Action) -> str:
    """Return the option by its present name, where the file may say a deprecated one."""
    spelled = _spelled(action)
    return next((name for name, names in nova_lines.NAMES.items() if spelled in names), spelled)


def _plain(setting: Setting) -> object:
    value = setting.value
    if isinstance(value, Unread):
        return value.error, value.detail  # not its line, which may move
    return ','.join(value) if isinstance(value, tuple) else value
