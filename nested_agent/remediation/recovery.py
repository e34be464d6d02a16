"""Puts a run right that was interrupted: by a crash, a kill, or the loss of power."""

import contextlib
import logging
from collections.abc import Sequence

from nested_agent.actions.site import Site
from nested_agent.exceptions import RecordError
from nested_agent.model import Outcome, Result, Run, State, Trigger
from nested_agent.remediation import runs, undo
from nested_agent.remediation.journal import Header, Journal, Phase, Record
from nested_agent.remediation.undo import Undone

LOG = logging.getLogger(__name__)


def recover(site: Site, journal: Journal, record: Record, now: float, attempts: int) -> Run:
    """Finish the run if only its end is missing or the node is as wanted; else undo it.

    The journal is gone afterwards, unless something could not be undone and there were less than
    ``attempts`` tries.

    :param record: what the journal holds
    :param now: seconds since the epoch
    """
    begun = record.header
    LOG.warning('run %s was interrupted', begun.id)
    with contextlib.suppress(RecordError):
        journal.recovering()
    finished = record.phase is Phase.KEEPING or (
        record.phase is Phase.APPLYING
        and begun.trigger is not Trigger.REVERT
        and site.look().report.state is State.COMPLIANT
    )
    undone: list[Undone] = []
    if finished:
        with contextlib.suppress(RecordError):
            journal.enter(Phase.KEEPING)
    else:
        undone = undo.undo(site, journal, rebooted=begun.boot_id != site.boot_id)
    stuck = [each.message for each in undone if not each.good]
    problems = [] if stuck else undo.keep(site, journal)
    run = _told(site, journal, begun, undone, now, finished=finished, problems=stuck + problems)
    if not stuck + problems or record.recoveries + 1 >= attempts:
        journal.end()
    return run


def _told(
    site: Site,
    journal: Journal,
    begun: Header,
    undone: Sequence[Undone],
    now: float,
    *,
    finished: bool,
    problems: Sequence[str],
) -> Run:
    outcomes: dict[int, Outcome] = {}
    for entry in journal.record.entries:
        for number in entry.actions:
            outcomes[number] = Outcome(begun.actions[number], Result.APPLIED, 'it stays')
    for each in undone:
        result = Result.ROLLED_BACK if each.good else Result.FAILED
        for number in each.entry.actions:
            outcomes[number] = Outcome(begun.actions[number], result, each.message)
    after = site.look()
    header = runs.header(Trigger.RECOVERY, begun.who, after, begun.actions, now)
    word = 'finished' if finished else 'not completely undone' if problems else 'undone'
    message = '; '.join([f'run {begun.id} was interrupted and is {word} now', *problems])
    result = Result.FAILED if problems else Result.APPLIED if finished else Result.ROLLED_BACK
    return runs.run(header, outcomes, after, now, message, result)
