"""What was done on this node and may be done: ``history.json`` and ``control.json``.

Both in the state directory. The history is bounded; what follows from it (failures in a row, what
is changed back again and again) is never counted anywhere else.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from nested_agent import durable, lock
from nested_agent.exceptions import LockTimeoutError, RecordError
from nested_agent.model import ActionKind, Contest, Pause, Result, Run, Trigger, to_plain

#: Runs that are remembered.
LIMIT = 200

#: Seconds that another process may take to write.
PATIENCE = 10.0

FAILED = (Result.FAILED, Result.ROLLED_BACK)
#: A restart is not among them: whoever changes what nova-compute may well be told has it restarted.
CONTESTED = (
    ActionKind.LOAD_MODULE,
    ActionKind.WRITE_MODPROBE_DROPIN,
    ActionKind.SET_NOVA_OPTION,
    ActionKind.REMOVE_NOVA_OPTION,
    ActionKind.RELOAD_MODULE,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Control:
    """What people said: ``control.json``.

    :ivar forgiven: id of the last run when somebody said "resume": what came before does not count
    """

    pause: Pause | None = None
    forgiven: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what the file holds.

        :raises KeyError, TypeError, ValueError: it is not of this form
        """
        pause = data['pause']
        return cls(None if pause is None else Pause.from_dict(pause), data['forgiven'])


class History:
    """The two files."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / 'history.json'
        self.control_path = state_dir / 'control.json'
        self._known: tuple[tuple[int, ...], tuple[Run, ...]] | None = None

    def runs(self) -> tuple[Run, ...]:
        """Return the runs, the last first.

        :raises RecordError: the file cannot be read or understood
        """
        # Asked at every verification, written at every run; replaced, never changed in place.
        stamp = durable.stamp(self.path)
        if self._known is not None and self._known[0] == stamp:
            return self._known[1]
        data = durable.read_json(self.path)
        try:
            runs = () if data is None else tuple(Run.from_dict(each) for each in data['runs'])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f'{self.path} cannot be understood ({type(error).__name__}: {error}); move it away'
            ) from error
        self._known = (stamp, runs)
        return runs

    def add(self, run: Run) -> None:
        """Remember a run; doing so again changes nothing.

        :raises RecordError: it cannot be written, or what is there cannot be understood
        """
        with self._alone():
            runs = self.runs()
            if all(each.id != run.id for each in runs):
                forgiven = None
                with contextlib.suppress(RecordError):
                    forgiven = self.control().forgiven
                kept = _bounded([run, *runs], forgiven)
                durable.write_json(self.path, {'runs': to_plain(kept)})

    def control(self) -> Control:
        """Return what people said.

        :raises RecordError: the file cannot be read or understood
        """
        data = durable.read_json(self.control_path)
        try:
            return Control() if data is None else Control.from_dict(data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f'{self.control_path} cannot be understood ({type(error).__name__}: {error}); '
                'say "nested-agentctl resume", or pause again'
            ) from error

    def set_control(self, change: Callable[[Control], Control]) -> None:
        """Remember what somebody said, given what was said before; nothing if it is damaged.

        :raises RecordError: it cannot be written
        """
        with self._alone():
            before = Control()
            with contextlib.suppress(RecordError):
                before = self.control()
            durable.write_json(self.control_path, to_plain(change(before)))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from writing between our reading and writing."""
        path = self.path.with_name('history.lock')
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock.held(path, exclusive=True, timeout=PATIENCE))
            except LockTimeoutError as error:
                raise RecordError(str(error)) from error
            except OSError as error:
                raise RecordError(f'{path}: {error.strerror}') from error
            yield


def _bounded(runs: list[Run], forgiven: str | None) -> list[Run]:
    """Return the runs to keep, the last first.

    What was only shown goes first, since anybody may ask for it; then what was skipped.

    :param forgiven: as :attr:`Control.forgiven`: not before all that came before it
    """
    for result in (Result.NOOP, Result.SKIPPED):
        least = [run for run in runs if run.result is result and run.id != forgiven]
        while len(runs) > LIMIT and least:
            runs.remove(least.pop())
    return runs[:LIMIT]


def counted(runs: tuple[Run, ...], control: Control) -> tuple[Run, ...]:
    """Return the runs since somebody last said "resume", the last first."""
    ids = [run.id for run in runs]
    return runs[: ids.index(control.forgiven)] if control.forgiven in ids else runs


def failures(runs: tuple[Run, ...]) -> int:
    """Return how many runs failed since the last one that changed something for good."""
    count = 0
    for run in _once(runs):
        if run.trigger is Trigger.REVERT:
            continue
        if run.result is Result.APPLIED:
            break
        count += run.result in FAILED
    return count


def _once(runs: tuple[Run, ...]) -> Iterator[Run]:
    """Yield the runs without recoveries of such as are among them, which would count twice."""
    ids = {run.id for run in runs}
    return (run for run in runs if run.about not in ids)


def contests(runs: tuple[Run, ...], limit: int, period: float, now: float) -> tuple[Contest, ...]:
    """Return the fixes that were made ``limit`` times or more in the last ``period`` seconds."""
    made: dict[tuple[ActionKind, str, str | None], list[float]] = {}
    for run in _once(runs):
        # Nor what is still to come, by a clock that was wrong.
        if not 0 <= now - run.ended <= period:
            continue
        for outcome in run.outcomes:
            action = outcome.action
            if outcome.result is Result.APPLIED and action.kind in CONTESTED:
                key = (action.kind, action.target, action.after)
                made.setdefault(key, []).append(run.ended)
    return tuple(
        Contest(*key, len(times), min(times)) for key, times in made.items() if len(times) >= limit
    )
