"""A plan as the steps that carry it out, in the order that never leaves guests a broken promise.

Enabling: what the next load applies, the module, and only then nova-compute's configuration.
Disabling: the reverse. nova-compute is stopped once for all of it, and only if it runs.
"""

from collections.abc import Sequence

from nested_agent.actions import nova_file
from nested_agent.actions.modprobe_dropin import WriteDropin
from nested_agent.actions.module import LoadModule, ReloadModule
from nested_agent.actions.nova_compute import StartNova, StopNova, running
from nested_agent.actions.site import Site
from nested_agent.actions.step import Step
from nested_agent.exceptions import BusyError
from nested_agent.model import Action, ActionKind
from nested_agent.remediation.transaction import Part
from nested_agent.report import Judged


class Steps:
    """The steps of a plan, and which of them cannot be done now.

    Everything that can be found out beforehand has been: nothing was changed yet.

    :ivar parts: in order
    :ivar busy: why a step cannot be done now, by step; what needs it is not done either
    :raises StepError: one cannot be done at all
    """

    def __init__(self, site: Site, judged: Judged) -> None:
        self.parts: list[Part] = []
        self.busy: list[tuple[Step, str]] = []
        actions = [action for action in judged.report.plan if action.executable]
        dropin, module = _module(site, judged, actions)
        edits = list(nova_file.steps(site, judged, actions))
        wanted = judged.policy.wanted
        for step in (*dropin, *module, *edits):
            try:
                step.precheck()
            except BusyError as error:
                self.busy.append((step, str(error)))
        blocked = [step for step, _ in self.busy]
        idle = [step for step in module if step not in blocked]
        editable = not wanted or len(idle) == len(module)
        restart = [each for each in actions if each.kind is ActionKind.RESTART_NOVA_COMPUTE]
        reloads = any(isinstance(step, ReloadModule) for step in idle)
        # Not for what was busy only: nova-compute is never stopped just to try.
        needed = reloads or (editable and bool(edits or not module))
        process = running(judged.observation) if restart and needed else None
        stop: list[Step] = []
        start: list[Step] = []
        if process is not None:
            stop = [StopNova(site, (), process)]
            start = [StartNova(site, tuple(restart), process)]
            try:
                stop[0].precheck()
            except BusyError as error:
                # Whatever needs it down waits, and so does what a restart would make known.
                reload = [each for each in idle if isinstance(each, ReloadModule)]
                waiting = [*reload, *edits, *start]
                self.busy += [(step, str(error)) for step in waiting]
                stop, start = [], []
        needs = tuple(module)
        if wanted:
            self._add(dropin)
            self._add(stop)
            self._add(module, commits=True)
            self._add(edits, needs=needs)
        else:
            self._add(stop)
            # The next load must not stop offering what nova-compute still asks for.
            self._add(edits)
            self._add(dropin, needs=tuple(edits))
            self._add(module, needs=(*edits, *dropin))
        self._add(start)

    def _add(
        self, steps: Sequence[Step], needs: tuple[Step, ...] = (), *, commits: bool = False
    ) -> None:
        self.parts += [Part(step, needs, commits) for step in steps]


def _module(site: Site, judged: Judged, actions: Sequence[Action]) -> tuple[list[Step], list[Step]]:
    driver = judged.driver
    dropin: list[Step] = []
    module: list[Step] = []
    if driver is None:
        return dropin, module
    wanted = judged.policy.wanted
    for action in actions:
        if action.kind is ActionKind.WRITE_MODPROBE_DROPIN:
            dropin.append(WriteDropin(site, (action,), driver, wanted))
        elif action.kind is ActionKind.LOAD_MODULE:
            module.append(LoadModule(site, (action,), driver, wanted))
        elif action.kind is ActionKind.RELOAD_MODULE:
            module.append(ReloadModule(site, (action,), driver, wanted))
    return dropin, module
