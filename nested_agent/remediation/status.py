"""Whether, and why not, the node is mended without being asked."""

from nested_agent.exceptions import RecordError
from nested_agent.model import Pause, Remediation, Result, Run
from nested_agent.remediation import history
from nested_agent.remediation.history import Control, History
from nested_agent.remediation.options import Options


def status(
    remembered: History,
    options: Options,
    now: float,
    interrupted: str | None = None,
    stuck: str | None = None,
) -> Remediation:
    """Return what follows from the history and from what people said.

    What cannot be read stands in the way, for safety: as a pause, or as a reason to give up.

    :param now: seconds since the epoch
    :param interrupted: id of a run that was interrupted and not yet put right
    :param stuck: why it cannot be
    """
    try:
        control = remembered.control()
    except RecordError as error:
        control = Control(Pause(now, None, str(error), ''))
    gave_up = None
    runs: tuple[Run, ...] = ()
    try:
        runs = remembered.runs()
    except RecordError as error:
        gave_up = str(error)
    counted = history.counted(runs, control)
    failures = history.failures(counted)
    if failures >= options.attempts:
        gave_up = f'{_attempts(failures)} failed, the last: {_last_failed(counted).message}'
    pause = control.pause
    return Remediation(
        mode=options.mode.value,
        pause=None if pause is None or pause.over(now) else pause,
        failures=failures,
        next_attempt=_next_attempt(counted, failures, options, now) if failures else None,
        gave_up=gave_up,
        contests=history.contests(counted, options.contest_limit, options.contest_period, now),
        interrupted=interrupted,
        stuck=stuck,
        last_run=next((run for run in runs if run.result is not Result.NOOP), None),
    )


def _attempts(count: int) -> str:
    return 'the attempt' if count == 1 else f'{count} attempts in a row'


def _last_failed(runs: tuple[Run, ...]) -> Run:
    return next(run for run in runs if run.result in history.FAILED)


def _next_attempt(runs: tuple[Run, ...], failures: int, options: Options, now: float) -> float:
    delay = min(options.backoff * 2 ** min(failures - 1, 32), options.backoff_limit)
    # Not longer than that from now on, whatever the clock was set to meanwhile.
    return float(min(_last_failed(runs).ended, now) + delay)
