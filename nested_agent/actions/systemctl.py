"""Units of systemd, by systemctl(1): what they are, and orders to them."""

import dataclasses
from collections.abc import Sequence

from nested_agent.actions.site import Site
from nested_agent.exceptions import StepError
from nested_agent.node.root import Completed

COMMANDS = ('/usr/bin/systemctl', '/bin/systemctl')
# An answer about a unit; systemd is slow only while it reads its configuration anew.
TIMEOUT = 30.0

# org.freedesktop.systemd1(5). An older systemd leaves out what it does not know.
PROPERTIES = (
    'LoadState',
    'ActiveState',
    'SubState',
    'MainPID',
    'NRestarts',
    'Result',
    'ExecMainStatus',
    'FragmentPath',
    'Transient',
    'CanStart',
    'CanStop',
)
#: The units that systemd stops together with one (systemd src/core/unit-dependency-atom.c).
STOPPED_WITH = ('RequiredBy', 'RequisiteOf', 'BoundBy', 'ConsistsOf', 'PropagatesStopTo')


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """A unit at one moment; the words are systemd's own.

    :ivar main_pid: 0 where there is no main process
    :ivar restarts: how often it was restarted because it ended; empty where systemd does not count
    :ivar status: exit status of the last main process
    :ivar file: what defines it; empty where nothing does
    """

    name: str
    load: str
    active: str
    sub: str
    main_pid: int
    restarts: str
    result: str
    status: str
    file: str
    transient: bool
    startable: bool
    stoppable: bool

    @property
    def running(self) -> bool:
        """Whether it is up and has a process, which "exited" has not."""
        return self.active == 'active' and self.sub == 'running'

    @property
    def coming_up(self) -> bool:
        """Whether it is being started or reloaded, and not for having ended by itself."""
        # "auto-restart-queued" as well, since systemd 254.
        return self.active in ('activating', 'reloading') and 'auto-restart' not in self.sub

    @property
    def run(self) -> tuple[int, str]:
        """What differs as soon as it was restarted by anybody."""
        return self.main_pid, self.restarts

    def __str__(self) -> str:
        said = f'{self.name} is {self.active} ({self.sub})'
        if self.active in ('failed', 'activating', 'inactive'):
            said += f', Result={self.result}, exit status {self.status}'
        return said


def show(site: Site, name: str) -> Unit:
    """Return what systemd knows about a unit.

    :raises StepError: it does not answer
    """
    found = _properties(site, name, PROPERTIES)
    return Unit(
        name,
        found.get('LoadState', ''),
        found.get('ActiveState', ''),
        found.get('SubState', ''),
        int(pid) if (pid := found.get('MainPID', '')).isdecimal() else 0,
        found.get('NRestarts', ''),
        found.get('Result', ''),
        found.get('ExecMainStatus', ''),
        found.get('FragmentPath', ''),
        found.get('Transient') == 'yes',
        found.get('CanStart') != 'no',
        found.get('CanStop') != 'no',
    )


def stopped_with(site: Site, name: str) -> list[str]:
    """Return the other units that run now and that systemd would stop together with one.

    :raises StepError: it does not answer
    """
    found = _properties(site, name, STOPPED_WITH)
    names = sorted({each for value in found.values() for each in value.split()})
    return [each for each in names if show(site, each).active == 'active']


def order(site: Site, verb: str, name: str, *options: str) -> None:
    """Have systemd do something with a unit, and wait until it has.

    :param verb: such as ``start``
    :raises StepError: it was refused or failed, or took longer than ``site.limits.nova`` seconds
    """
    done = _systemctl(site, [*options, verb, '--', name], site.limits.nova)
    if done.returncode:
        raise StepError(f'systemctl {verb} {name}: {_problem(done)}')


def reset_failed(site: Site, name: str) -> None:
    """Have systemd forget failures of a unit, so that a start limit does not refuse the next.

    :raises StepError: it does not answer
    """
    _systemctl(site, ['reset-failed', '--', name], TIMEOUT)  # fails where there is nothing to do


def _properties(site: Site, name: str, properties: Sequence[str]) -> dict[str, str]:
    done = _systemctl(site, ['show', f'--property={",".join(properties)}', '--', name], TIMEOUT)
    if done.returncode:
        raise StepError(f'systemctl show {name}: {_problem(done)}')
    pairs = (line.partition('=') for line in done.stdout.splitlines())
    return {key: value for key, equals, value in pairs if equals}


def _systemctl(site: Site, arguments: Sequence[str], timeout: float) -> Completed:
    command = next((path for path in COMMANDS if site.root.exists(path)), None)
    if command is None:
        raise StepError('this host has no systemctl: restart nova-compute by hand')
    return site.run([command, *arguments], timeout=timeout)


def _problem(done: Completed) -> str:
    """Return the first line: what follows is advice, and may quote the journal's last lines."""
    lines = done.stderr.strip().splitlines()
    return lines[0] if lines else f'it ended {done.returncode}'
