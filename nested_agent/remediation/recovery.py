"""Puts a run right that was interrupted: by a crash, a kill, or the loss of power."""

import logging
from collections.abc import Sequence

from nested_agent.actions.site import Site
from nested_agent.model import Outcome, Result, Run, Trigger
from nested_agent.remediation import runs, undo
from nested_agent.remediation.journal import Journal, Phase
from nested_agent.remediation.options import Options
from nested_agent.remediation.undo import Undone
from nested_agent.report import Judged

LOG = logging.getLogger(__name__)


def recover(site: Site, journal: Journal, now: float) -> Run:
    """Finish the run if only its end is missing; else undo what it had done.

    The journal is to be ended afterwards, unless :attr:`Journal.unfinished`: then what is left is
    tried again by the next recovery.

    :param now: seconds since the epoch
    """
    begun = journal.record.header
    LOG.warning('run %s was interrupted', begun.id)
    journal.recovering(now)
    finished = journal.record.phase is Phase.KEEPING
    undone: list[Undone] = []
    if not finished:
        undone = undo.undo(site, journal, rebooted=begun.boot_id != site.boot_id)
    problems = [each.message for each in undone if not each.good]
    if not problems:
        problems = undo.keep(site, journal)
    journal.failed('; '.join(problems))
    word = 'finished' if finished else 'not completely undone' if problems else 'undone'
    message = '; '.join([f'run {begun.id} was interrupted and is {word} now', *problems])
    result = Result.FAILED if problems else Result.APPLIED if finished else Result.ROLLED_BACK
    after = _look(site)
    header = runs.header(Trigger.RECOVERY, begun.who, after, begun.actions, now)
    outcomes = _outcomes(journal, undone)
    return runs.run(header, outcomes, after, now, message, result, begun.id)


def _outcomes(journal: Journal, undone: Sequence[Undone]) -> dict[int, Outcome]:
    actions = journal.record.header.actions
    outcomes = {
        number: Outcome(actions[number], Result.APPLIED, 'it stays')
        for entry in journal.record.entries
        for number in entry.actions
    }
    for each in undone:
        result = Result.ROLLED_BACK if each.good else Result.FAILED
        for number in each.entry.actions:
            outcomes[number] = Outcome(actions[number], result, each.message)
    return outcomes


def _look(site: Site) -> Judged | None:
    try:
        return site.look()
    except Exception:  # what was put right is right, whether or not it can be seen
        LOG.exception('the node cannot be verified')
        return None


def due(journal: Journal, options: Options, now: float) -> bool:
    """Whether it is time for the daemon to try again what could not be undone."""
    record = journal.record
    if record.tried is None or not record.problem:
        return True  # never tried, or interrupted itself
    delay = min(options.backoff * 2 ** min(record.recoveries - 1, 32), options.backoff_limit)
    # Not longer than that from now on, whatever the clock was set to meanwhile.
    return now >= min(record.tried, now) + delay or now < record.tried
