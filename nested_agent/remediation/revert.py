"""The steps that undo everything the agent ever changed on a node, from its own record."""

from collections.abc import Sequence

from nested_agent.actions import nova_file
from nested_agent.actions.module import ReloadModule, UnloadModule
from nested_agent.actions.nova_compute import StartNova, StopNova, running
from nested_agent.actions.restore import RestoreFile
from nested_agent.actions.site import Site
from nested_agent.actions.step import Step
from nested_agent.exceptions import BusyError, StepError
from nested_agent.facts import NovaCompute
from nested_agent.model import Action, ActionKind, Disruption
from nested_agent.remediation.transaction import Part
from nested_agent.report import Judged
from nested_agent.verify.nova_settings import unstartable
from nested_agent.verify.persistent import DROPIN

WHY = 'the agent changed it'


def parts(site: Site, judged: Judged) -> tuple[list[Part], list[tuple[Step, str]]]:
    """Return the steps in order, and those of them that cannot be made now with the reason.

    :raises StepError: one cannot be made at all
    :raises RecordError: what was changed cannot be read
    """
    files = [_restore(site, change.path) for change in site.changes.files()]
    for step in files:
        step.precheck()
    if any(step.foreign_mode for step in files):
        for step in files:
            step.beside_foreign_mode = True
            step.precheck()
    module = _module(site, judged, [step.path for step in files])
    busy: list[tuple[Step, str]] = []
    for each in module:
        try:
            each.precheck()
        except BusyError as error:
            busy.append((each, str(error)))
    dropins = [step for step in files if step.path == DROPIN]
    nova = [step for step in files if step.path != DROPIN]
    process = running(judged.observation)
    stop: list[Step] = []
    start: list[Step] = []
    # Not for what waits: nova-compute is never stopped just to try.
    if process and ((module and not busy) or (nova and (judged.policy.wanted or not busy))):
        restart = Action(
            ActionKind.RESTART_NOVA_COMPUTE,
            process.unit or f'pid {process.pid}',
            None,
            None,
            WHY,
            Disruption.NOVA_COMPUTE_RESTART,
        )
        stop = [StopNova(site, (), process)]
        start = [StartNova(site, (restart,), process)]
        try:
            stop[0].precheck()
            _comes_back(site, judged, nova)
        except BusyError as error:
            known = [step for step, _ in busy]
            busy += [(step, str(error)) for step in (*module, *nova) if step not in known]
            stop, start = [], []
    if judged.policy.wanted:
        parts = [Part(step) for step in (*stop, *nova, *dropins, *module)]
    else:
        # Guests may then be promised again what only the module can keep.
        parts = [Part(step) for step in (*dropins, *stop, *module)]
        parts += [Part(step, needs=tuple(module)) for step in nova]
    return parts + [Part(step) for step in start], busy


def _comes_back(site: Site, judged: Judged, restored: Sequence[RestoreFile]) -> None:
    """Find out whether nova-compute would start with the files as they will be.

    :raises StepError: it would not
    """
    nova = judged.observation.nova
    assert isinstance(nova, NovaCompute)  # noqa: S101  # it runs
    after = {step.file: step.after for step in restored}
    why = unstartable(nova_file.with_contents(site.root, nova, after))
    if why:
        raise StepError(
            f'nova-compute would not come back with its files as they were: {why}; mend that, or '
            'stop nova-compute to have them back all the same, then revert again'
        )


def _restore(site: Site, path: str) -> RestoreFile:
    action = Action(ActionKind.RESTORE_FILE, path, None, None, WHY, Disruption.NONE)
    return RestoreFile(site, (action,), path)


def _module(site: Site, judged: Judged, paths: list[str]) -> list[Step]:
    """Return the step that has the module as it was, or as the files then say."""
    change = site.changes.module()
    driver = judged.driver
    if driver is None or (change is None and DROPIN not in paths):
        return []
    if change is not None and change.parameters is None and change.boot_id == site.boot_id:
        action = Action(
            ActionKind.UNLOAD_MODULE, driver.module, None, None, WHY, Disruption.KVM_RELOAD
        )
        return [UnloadModule(site, (action,), driver)]
    action = Action(ActionKind.RELOAD_MODULE, driver.module, None, None, WHY, Disruption.KVM_RELOAD)
    return [ReloadModule(site, (action,), driver, None)]
