"""Undoes, or keeps for good, what a journal lists. What was done already is left as it is."""

import logging
from typing import NamedTuple

from nested_agent.actions.modprobe_dropin import WriteDropin
from nested_agent.actions.module import LoadModule, ReloadModule, UnloadModule
from nested_agent.actions.next_load import differs
from nested_agent.actions.nova_compute import StartNova, StopNova, running
from nested_agent.actions.nova_file import EditNovaFile
from nested_agent.actions.restore import RestoreFile
from nested_agent.actions.site import Site
from nested_agent.actions.step import Step
from nested_agent.exceptions import NestedAgentError
from nested_agent.remediation.journal import Entry, Journal, Phase
from nested_agent.verify.persistent import DROPIN

LOG = logging.getLogger(__name__)

#: Every kind of step there is, by the name it has in the journal.
STEPS: dict[str, type[Step]] = {
    step.name: step
    for step in (
        WriteDropin,
        LoadModule,
        ReloadModule,
        UnloadModule,
        EditNovaFile,
        RestoreFile,
        StopNova,
        StartNova,
    )
}


class Undone(NamedTuple):
    """What became of undoing one step.

    :ivar message: what was done, or what is left to do by hand
    """

    entry: Entry
    message: str
    good: bool


def undo(site: Site, journal: Journal, *, rebooted: bool) -> list[Undone]:
    """Undo every step that was not kept, the last first, and go on where one cannot be undone."""
    journal.enter(Phase.UNDOING)
    entries = [entry for entry in reversed(journal.record.entries) if not entry.kept]
    if not rebooted:
        return [_undone(site, journal, entry, rebooted) for entry in entries]
    # nova-compute, which the boot has started, is restarted once all is as it was.
    stops = [entry for entry in entries if entry.step == StopNova.name]
    found = [_undone(site, journal, entry, rebooted) for entry in entries if entry not in stops]
    found += [
        _undone(site, journal, entry, rebooted)
        for entry in [*reversed(stops), *_load_as_configured(site, journal)]
    ]
    return found


def _undone(site: Site, journal: Journal, entry: Entry, rebooted: bool) -> Undone:
    site.alive()
    undone = _undo(site, entry, rebooted)
    (LOG.info if undone.good else LOG.error)('undo %s: %s', entry.step, undone.message)
    if undone.good:
        journal.undone(entry)
    return undone


def _load_as_configured(site: Site, journal: Journal) -> list[Entry]:
    """Have the module as the files say that were put back: the boot went by what the run wrote.

    Left as it is where KVM is in use already, or nova-compute cannot be stopped for it: the next
    verification tells. Returns what is to be undone of it: at least the stop of nova-compute.
    """
    if all(action.target != DROPIN for action in journal.record.header.actions):
        return []
    try:
        judged = site.look()
    except Exception:  # what was put back is right, whether or not it can be seen
        LOG.exception('the node cannot be verified')
        return []
    driver = judged.driver
    if driver is None or not differs(judged.observation, driver):
        return []
    process = running(judged.observation)
    stop = [StopNova(site, (), process)] if process else []
    steps: list[Step] = [*stop, ReloadModule(site, (), driver, None)]
    begun: list[Entry] = []
    try:
        for step in steps:
            step.precheck()
        for step in steps:
            begun.append(Entry(step.name, step.record(), ()))
            journal.add(begun[-1])
            step.apply()
            LOG.info('%s', step.verify())
        journal.undone(begun.pop())
    except (NestedAgentError, OSError) as error:
        LOG.warning('%s is not loaded as it was: %s', driver.module, error)
    return begun[::-1]


def _undo(site: Site, entry: Entry, rebooted: bool) -> Undone:
    try:
        message = STEPS[entry.step].undo(site, entry.undo, rebooted=rebooted)
    except (NestedAgentError, OSError) as error:
        return Undone(entry, f'could not be undone: {error}', good=False)
    except (KeyError, TypeError, ValueError) as error:
        # A journal of another version of ours.
        problem = f'the journal of {entry.step} cannot be understood: {error!r}'
        return Undone(entry, problem, good=False)
    return Undone(entry, message, good=True)


def keep(site: Site, journal: Journal) -> list[str]:
    """Have what was done, and not undone, stay; returns what could not be written down."""
    problems = []
    undoing = journal.record.phase is Phase.UNDOING
    for entry in journal.record.entries:
        if undoing and not entry.kept:
            continue
        try:
            STEPS[entry.step].forget(site, entry.undo)
        except (NestedAgentError, OSError, KeyError, TypeError, ValueError) as error:
            LOG.error('keeping %s: %s', entry.step, error)
            problems.append(f'{entry.step}: {error}')
    return problems
