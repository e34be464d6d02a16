"""The write-ahead journal: what a run is about to change, and how to undo it.

``journal.json`` in the state directory exists while a run is under way, and is left by one that
was interrupted. Every change of it is on the disk before the node is touched.
"""

import contextlib
import dataclasses
import enum
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from nested_agent import durable
from nested_agent.exceptions import RecordError
from nested_agent.model import Action, State, Trigger, to_plain

LOG = logging.getLogger(__name__)

NAME = 'journal.json'
VERSION = 1


class Phase(enum.StrEnum):
    """Where the run is."""

    APPLYING = 'applying'
    UNDOING = 'undoing'
    KEEPING = 'keeping'  # all is done and verified; what only undo needed is being removed


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One step that was begun.

    :ivar step: name of its kind
    :ivar actions: which of the run's actions it carries out, by number
    :ivar done: whether it was verified
    :ivar kept: it stays, whatever becomes of later steps
    """

    step: str
    undo: Mapping[str, Any]
    actions: tuple[int, ...]
    done: bool = False
    kept: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """What the run is, as in :class:`nested_agent.model.Run`."""

    id: str
    trigger: Trigger
    who: str
    began: float
    boot_id: str | None
    before: Mapping[str, str]
    state_before: State
    actions: tuple[Action, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What the journal holds.

    :ivar recoveries: how often it was tried to put the run right after it was interrupted
    :ivar tried: seconds since the epoch of the last of them
    :ivar problem: why that did not succeed
    """

    header: Header
    phase: Phase = Phase.APPLYING
    entries: tuple[Entry, ...] = ()
    recoveries: int = 0
    tried: float | None = None
    problem: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what the file holds.

        :raises KeyError, TypeError, ValueError: it is not of this form
        """
        if data['version'] != VERSION:
            raise ValueError(f'version {data["version"]}, only {VERSION} is known')
        header = data['header']
        return cls(
            Header(
                str(header['id']),
                Trigger(header['trigger']),
                str(header['who']),
                float(header['began']),
                header['boot_id'],
                dict(header['before']),
                State(header['state_before']),
                tuple(Action.from_dict(each) for each in header['actions']),
            ),
            Phase(data['phase']),
            tuple(
                Entry(
                    str(each['step']),
                    dict(each['undo']),
                    tuple(int(number) for number in each['actions']),
                    bool(each['done']),
                    bool(each['kept']),
                )
                for each in data['entries']
            ),
            int(data['recoveries']),
            data['tried'],
            data['problem'],
        )


class Journal:
    """The file and what it holds.

    While steps are made every method has it on the disk when it returns, or raises RecordError.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / NAME
        self._record: Record | None = None
        self._over: str | None = None  # id of a run that is over, though the file is still there

    def read(self) -> Record | None:
        """Return what an interrupted run left, None if nothing, and go on from there.

        What this object did about that run it knows, also where it could not be written down.

        :raises RecordError: it cannot be read or understood
        """
        data = durable.read_json(self.path)
        try:
            record = None if data is None else Record.from_dict(data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f'{self.path} cannot be understood ({type(error).__name__}: {error}): an '
                'interrupted remediation cannot be put right; look at what it lists, then remove it'
            ) from error
        if record and record.header.id == self._over:
            self.end()
            return None
        self._record = self.known(record)
        return self._record

    def known(self, record: Record | None) -> Record | None:
        """Return what is known of a run: what the file holds, or what was done about it since."""
        mine = self._record
        if record is None or mine is None or record.header.id != mine.header.id:
            return record
        if mine.header.id == self._over:
            return None
        # Whoever else puts it right counts that first.
        return mine if mine.recoveries >= record.recoveries else record

    @property
    def record(self) -> Record:
        """What it holds now."""
        assert self._record is not None  # noqa: S101  # for the type checker
        return self._record

    def begin(self, header: Header) -> None:
        """Begin a run."""
        self._write(Record(header))

    def add(self, entry: Entry) -> None:
        """Write down a step that is about to be made."""
        self._change(entries=(*self.record.entries, entry))

    def withdraw(self) -> None:
        """Take the last step out: it turned out that nothing was changed."""
        self._change(entries=self.record.entries[:-1])

    def done(self, *, last: bool) -> None:
        """Write down that the latest step was verified, and if it was the last that all are."""
        *others, latest = self.record.entries
        entries = (*others, dataclasses.replace(latest, done=True))
        self._change(entries=entries, phase=Phase.KEEPING if last else self.record.phase)

    def keep(self, steps: frozenset[str]) -> None:
        """Have the done steps of these kinds stay whatever comes."""
        entries = (
            dataclasses.replace(each, kept=True) if each.done and each.step in steps else each
            for each in self.record.entries
        )
        self._change(entries=tuple(entries))

    # From here on the file is written if that is possible: what it then still lists is found done
    # when it is undone, or kept, again. It must not keep from undoing that the disk is full.

    def undone(self, entry: Entry) -> None:
        """Take out a step that was undone."""
        self._note(entries=tuple(each for each in self.record.entries if each is not entry))

    def enter(self, phase: Phase) -> None:
        """Write down that the run goes over to undoing or keeping."""
        self._note(phase=phase)

    def recovering(self, now: float) -> None:
        """Count another attempt to put the run right, at ``now`` seconds since the epoch."""
        self._note(recoveries=self.record.recoveries + 1, tried=now)

    def failed(self, problem: str) -> None:
        """Write down why the run could not be put right."""
        self._note(problem=problem)

    def end(self) -> None:
        """End the run: there is nothing left to do about it."""
        try:
            durable.remove(self.path)
        except RecordError as error:
            if self._over != self.record.header.id:
                LOG.warning('run %s is over, but: %s', self.record.header.id, error)
            self._over = self.record.header.id

    @property
    def unfinished(self) -> bool:
        """Whether something could not be undone, or none of it was tried yet."""
        record = self.record
        return record.phase is not Phase.KEEPING and any(not each.kept for each in record.entries)

    def _change(self, **fields: Any) -> None:
        self._write(dataclasses.replace(self.record, **fields))

    def _note(self, **fields: Any) -> None:
        record = dataclasses.replace(self.record, **fields)
        with contextlib.suppress(RecordError):
            self._write(record)
        self._record = record

    def _write(self, record: Record) -> None:
        plain = to_plain(record)
        assert isinstance(plain, dict)  # noqa: S101  # for the type checker
        durable.write_json(self.path, {'version': VERSION, **plain})
        self._record = record
