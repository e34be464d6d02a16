"""The steps that stop and start nova-compute, by the systemd unit it runs in.

One stop and one start enclose whatever needs it down. It is never started where it did not run.
"""

import stat

from nested_agent.actions import systemctl
from nested_agent.actions.site import Site
from nested_agent.actions.step import Step, Undo
from nested_agent.actions.systemctl import Unit
from nested_agent.exceptions import BusyError, StepError
from nested_agent.facts import NovaCompute, NovaProcess, Observation
from nested_agent.model import Action
from nested_agent.node import nova_process

BY_HAND = 'restart nova-compute by hand'
PAUSE = 1.0


def running(observation: Observation) -> NovaProcess | None:
    """Return the running nova-compute, if there is one."""
    nova = observation.nova
    if isinstance(nova, NovaCompute) and isinstance(nova.process, NovaProcess):
        return nova.process
    return None


class _NovaStep(Step):
    """A step about the unit a nova-compute was found in."""

    def __init__(self, site: Site, actions: tuple[Action, ...], process: NovaProcess) -> None:
        super().__init__(site, actions)
        self.process = process

    @property
    def unit(self) -> str:
        """The unit's name; StopNova has made sure that there is one."""
        return self.process.unit or ''


class StopNova(_NovaStep):
    """nova-compute stopped, once it is certain that it could be started again."""

    name = 'stop-nova-compute'

    def precheck(self) -> None:
        """Find out whether systemd could stop it and start it again."""
        pid = self.process.pid
        if self.process.unit is None:
            # What needs no stop is done all the same.
            raise BusyError(
                f'nova-compute (pid {pid}) is not run by a systemd unit of this host: stop it by '
                'hand, remediate or revert, and start it again'
            )
        unit = systemctl.show(self.site, self.unit)
        if unit.coming_up:
            raise BusyError(f'{unit}: it is still starting')
        problem = self._unstartable(unit)
        if problem:
            raise StepError(f'{self.unit} {problem}: {BY_HAND}')
        if unit.main_pid != pid and 'nova' not in self.unit:
            # Somebody started it from there; the unit is about something else.
            raise StepError(
                f'nova-compute (pid {pid}) runs in {self.unit}, but is not what that is for: '
                f'{BY_HAND}'
            )
        others = systemctl.stopped_with(self.site, self.unit)
        if others:
            raise StepError(f'{", ".join(others)} would be stopped with {self.unit}: {BY_HAND}')

    def _unstartable(self, unit: Unit) -> str | None:
        """Return why it could not be stopped and started, to follow its name."""
        if unit.load != 'loaded':
            return f'could not be started again (LoadState={unit.load})'
        if unit.transient:
            return 'is transient: it is gone once it is stopped'
        if not unit.startable or not unit.stoppable:
            return 'refuses to be stopped or started by anybody'
        if not unit.running:
            return f'is {unit.active} ({unit.sub}), not running'
        # Until "daemon-reload" systemd runs a unit whose file is gone or masked, but a stop may
        # have it forget the unit.
        try:
            regular = stat.S_ISREG(self.site.root.stat(unit.file).st_mode)
        except OSError:
            regular = False
        return None if regular else f'could not be started again ({unit.file or "no file"} is gone)'

    def record(self) -> Undo:
        """Return the unit and the run of it that is about to end."""
        unit = systemctl.show(self.site, self.unit)
        if not unit.running:
            raise StepError(f'{unit}, and was not stopped by us: nothing is done')
        return {
            'unit': self.unit,
            'main_pid': unit.main_pid,
            'restarts': unit.restarts,
            'boot_id': self.site.boot_id,
        }

    def apply(self) -> None:
        """Stop it."""
        systemctl.order(self.site, 'stop', self.unit)

    def verify(self) -> str:
        """See that the unit is down and the process gone."""
        unit = systemctl.show(self.site, self.unit)
        # One that had to be killed, or that says so by its exit status, is "failed": down as well.
        if unit.active not in ('inactive', 'failed'):
            raise StepError(f'{unit}, although it was stopped')
        if nova_process.alive(self.site.root, self.process):
            raise StepError(
                f'{self.unit} is stopped, but nova-compute (pid {self.process.pid}) still runs'
            )
        return f'{self.unit} is stopped'

    @classmethod
    def undo(cls, site: Site, record: Undo, *, rebooted: bool) -> str:
        """Have it run with what is on disk now, if it did run; a boot has started it by itself."""
        name = record['unit']
        # Not what recovery itself has stopped since.
        if rebooted and record.get('boot_id') != site.boot_id:
            # It may have read what was put back since. Not waited for: at boot its turn is later.
            systemctl.order(site, 'try-restart', name, '--no-block')
            return f'{name} is restarted if it runs'
        unit = systemctl.show(site, name)
        if unit.running and unit.run == (record['main_pid'], record['restarts']):
            return f'{name} was not stopped'
        start(site, name)
        return wait_up(site, name)


class StartNova(_NovaStep):
    """nova-compute started, and seen to stay up."""

    name = 'start-nova-compute'

    def precheck(self) -> None:
        """Nothing: StopNova, which is part of the same run, has looked."""

    def record(self) -> Undo:
        """Return the unit."""
        return {'unit': self.unit}

    def apply(self) -> None:
        """Start it."""
        start(self.site, self.unit)

    def verify(self) -> str:
        """See it stay up, as the same process, for the settle window."""
        return wait_up(self.site, self.unit)

    @classmethod
    def undo(cls, site: Site, record: Undo, *, rebooted: bool) -> str:
        """Stop it, so that it reads nothing that is being put back; not one that a boot started."""
        name = record['unit']
        if rebooted:
            return f'{name} is left to the boot'
        systemctl.order(site, 'stop', name)
        return f'{name} is stopped'


def start(site: Site, name: str) -> None:
    """Have a stopped unit started. One that somebody else has started meanwhile is restarted.

    It may have read what was changed, or put back, since.

    :raises StepError: systemd says that it failed
    """
    systemctl.reset_failed(site, name)
    try:
        systemctl.order(site, 'restart', name)
    except StepError as error:
        unit = systemctl.show(site, name)
        raise StepError(f'{error}; {unit}; see "journalctl -u {name}"') from error


def wait_up(site: Site, name: str) -> str:
    """Return, as a sentence, that a unit is up: the same process for the whole settle window.

    :raises StepError: it is not; says how it ended and where to look, never what it logged
    """
    deadline = site.clock() + site.limits.nova
    unit = systemctl.show(site, name)
    while unit.coming_up and site.clock() < deadline:
        unit = _later(site, name)
    if not unit.running:
        raise StepError(f'{unit}; see "journalctl -u {name}"')
    first = unit
    end = site.clock() + site.limits.settle
    while site.clock() < end:
        unit = _later(site, name)
        if not unit.running:
            raise StepError(f'{unit}; see "journalctl -u {name}"')
        if unit.run != first.run:
            raise StepError(
                f'{name} does not stay up, it was restarted; see "journalctl -u {name}"'
            )
    return f'{name} is up (pid {unit.main_pid}, for {site.limits.settle:g} s)'


def _later(site: Site, name: str) -> Unit:
    site.alive()
    site.sleep(PAUSE)
    return systemctl.show(site, name)
