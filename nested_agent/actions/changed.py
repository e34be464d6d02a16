"""What the agent changed on this node, each as it was before and as the agent left it.

Pure: :class:`nested_agent.actions.changes.Changes` keeps them on disk.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedOption:
    """One option of a file, as text behind its ``=``; None where it is not set there.

    :ivar before: what it was before the agent's first change
    :ivar after: what the agent made of it
    """

    before: str | None
    after: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file the agent changed, perhaps several times.

    :ivar path: the file itself, not a link to it
    :ivar original: SHA-256 of the content before the first change; None: there was no file
    :ivar states: SHA-256 of every content that is the original or our work on it, None: no file
    :ivar intact: nobody else changed the file between two changes of ours
    :ivar options: what was changed in it, by ``group.option``; None: all of it is the agent's own
    """

    path: str
    original: str | None
    states: tuple[str | None, ...]
    intact: bool
    options: Mapping[str, ChangedOption] | None

    @classmethod
    def first(
        cls,
        path: str,
        before: str | None,
        after: str | None,
        options: Mapping[str, ChangedOption] | None,
    ) -> Self:
        """Return a file with one change; digests as :attr:`original`."""
        return cls(path, before, (before, after), True, options)

    def then(
        self, before: str | None, after: str | None, options: Mapping[str, ChangedOption] | None
    ) -> Self:
        """Return the file with one change more; the same change again makes no difference."""
        foreign = before not in self.states
        if options is None or self.options is None:
            # All ours, whatever was put there meanwhile.
            return dataclasses.replace(self, states=_distinct(*self.states, after))
        if foreign and self._taken_back(options):
            return self.first(self.path, before, after, options)
        merged = dict(self.options)
        for name, new in options.items():
            old = merged.get(name)
            ours = old is not None and (not foreign or old.after == new.before)
            merged[name] = ChangedOption(old.before if old and ours else new.before, new.after)
        return dataclasses.replace(
            self,
            states=_distinct(*self.states, before, after),
            intact=self.intact and not foreign,
            options=merged,
        )

    def _taken_back(self, options: Mapping[str, ChangedOption]) -> bool:
        """Whether others left nothing of ours in the file before it was changed again."""
        assert self.options is not None  # noqa: S101  # for the type checker
        return all(
            name in options and options[name].before != old.after
            for name, old in self.options.items()
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what ``dataclasses.asdict`` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        options = data['options']
        if options is not None:
            options = {name: ChangedOption(**each) for name, each in options.items()}
        states = tuple(data['states'])
        return cls(str(data['path']), data['original'], states, bool(data['intact']), options)


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedModule:
    """The kernel module as it was before the agent first loaded or reloaded it.

    :ivar boot_id: of the boot that was; None if unreadable
    :ivar parameters: as the kernel prints them; None: it was not loaded
    """

    module: str
    boot_id: str | None
    parameters: Mapping[str, str] | None


def _distinct(*digests: str | None) -> tuple[str | None, ...]:
    return tuple(dict.fromkeys(digests))
