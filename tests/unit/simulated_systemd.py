"""systemd and the nova-compute it runs, of a simulated node."""

import shutil
import time
from collections.abc import Callable

from nested_agent.node.root import Completed, Root
from tests.unit.fakes import write_tree
from tests.unit.nodes import nova_process

UNIT = 'nova-compute.service'
UNIT_FILE = f'/lib/systemd/system/{UNIT}'
NOVA_FILES = ('/etc/nova/nova.conf', '/etc/nova/nova-compute.conf')
DONE = Completed(0, '', '')


class SimulatedSystemd:
    """Runs one unit. Of its attributes a test may set those up to ``units``.

    :ivar refuses: returns why nova-compute ends, given the bytes of all its files, or None
    :ivar dies_after: seconds until it then ends, with status 1
    :ivar restart: ``Restart=`` of the unit: ``no`` or ``always``
    :ivar restart_after: ``RestartSec=`` of the unit
    :ivar ready_after: seconds until a ``Type=notify`` nova-compute says that it is up; 0: another
        type
    :ivar properties: answers of ``systemctl show`` that differ
    :ivar units: answers about other units, by name
    :ivar starts: what nova-compute read at every start, by path
    :ivar stops: how often it was stopped while it ran
    """

    dies_at: float | None
    ready_at: float | None
    _restarts_at: float | None

    def __init__(self, root: Root) -> None:
        self.refuses: Callable[[bytes], str | None] = lambda _: None
        self.dies_after = 3.0
        self.restart = 'no'
        self.restart_after = 0.1
        self.ready_after = 0.0
        self.properties: dict[str, str] = {}
        self.units: dict[str, dict[str, str]] = {}
        self.starts: list[dict[str, bytes]] = []
        self.stops = 0
        self.booted = time.time() - 5000
        self._root = root
        self._next_pid = 700
        self.pid = 0
        self.switch_off()

    def switch_off(self) -> None:
        """Forget all that is in memory."""
        self.kill(self.pid)
        self.load = 'loaded'
        self.restarts = 0
        self._down('inactive', 'dead')

    def boot(self) -> None:
        """Start what is enabled."""
        self.booted = time.time()
        if self._refused() is None:
            self.spawn(0.0)

    def systemctl(self, words: list[str], now: float) -> Completed:
        """Do what ``systemctl WORDS`` does at once; :attr:`ready_at` says what is to wait for."""
        verb = next(word for word in words if not word.startswith('-'))
        if verb == 'show':
            wanted = next(word for word in words if word.startswith('--property='))
            shown = self._show(words[-1], wanted.partition('=')[2].split(','))
            return Completed(0, shown, '')
        if verb == 'reset-failed':
            self.restarts = 0
            if self.active == 'failed':
                self._down('inactive', 'dead')
            return DONE
        if verb == 'try-restart' and self.active in ('inactive', 'failed'):
            return DONE
        if verb == 'start' and self.active in ('active', 'activating'):
            return DONE
        if verb in ('stop', 'restart', 'try-restart'):
            self._stop()
        if verb == 'stop':
            return DONE
        refused = self._refused()
        if refused is None:
            self.spawn(now)
        return refused or DONE

    def spawn(self, now: float) -> None:
        """Start nova-compute; it reads its files at once, and ends later if it refuses them."""
        self.pid = self._next_pid
        self._next_pid += 1
        # Its start is told to 0.01 s, and has to be later than the files it reads.
        ticks = int((time.time() - self.booted + 0.03) * 100) + 1
        write_tree(self._root.base, nova_process(self.pid, ticks=ticks))
        content = {
            path: self._root.read_bytes(path) for path in NOVA_FILES if self._root.exists(path)
        }
        self.starts.append(content)
        self.active, self.sub = 'active', 'running'
        if self.refuses(b''.join(content.values())) is not None:
            self.dies_at = now + self.dies_after
        if self.ready_after:
            self.active, self.sub = 'activating', 'start'
            self.ready_at = now + self.ready_after

    def events(self) -> list[float | None]:
        """Return when something is going to happen."""
        return [self.dies_at, self.ready_at, self._restarts_at]

    def happen(self, now: float) -> None:
        """Do what is due."""
        if self.dies_at is not None and self.dies_at <= now:
            self.die(1, now)
        if self.ready_at is not None and self.ready_at <= now:
            self.ready_at = None
            self.active, self.sub = 'active', 'running'
        if self._restarts_at is not None and self._restarts_at <= now:
            self._restarts_at = None
            self.restarts += 1
            self.spawn(now)

    def die(self, status: int, now: float) -> None:
        """End nova-compute as if by itself."""
        self.kill(self.pid)
        good = status == 0
        self._down('inactive' if good else 'failed', 'dead' if good else 'failed')
        self.status = status
        self.result = 'success' if good else 'exit-code'
        if self.restart == 'always':
            self.active, self.sub = 'activating', 'auto-restart'
            self._restarts_at = now + self.restart_after

    def kill(self, pid: int) -> None:
        """Take a process away."""
        if pid:
            shutil.rmtree(self._root.base / f'proc/{pid}', ignore_errors=True)

    def _stop(self) -> None:
        self.stops += bool(self.pid)
        self.kill(self.pid)
        self._down('inactive', 'dead')
        self._refused()  # once it is down, nothing keeps a unit in memory whose file is gone

    def _down(self, active: str, sub: str) -> None:
        self.active, self.sub = active, sub
        self.pid = 0
        self.result = 'success'
        self.status = 0
        self.dies_at = self.ready_at = self._restarts_at = None

    def _refused(self) -> Completed | None:
        path = self._root.base / UNIT_FILE.lstrip('/')
        if path.is_symlink():
            self.load = 'masked'
            return Completed(1, '', f'Failed to start {UNIT}: Unit {UNIT} is masked.\n')
        if not path.exists():
            self.load = 'not-found'
            return Completed(5, '', f'Failed to start {UNIT}: Unit {UNIT} not found.\n')
        self.load = 'loaded'
        return None

    def _show(self, name: str, wanted: list[str]) -> str:
        known = {
            'LoadState': 'not-found',
            'ActiveState': 'inactive',
            'SubState': 'dead',
            **self.units.get(name, {}),
        }
        if name == UNIT:
            known = {
                'LoadState': self.load,
                'ActiveState': self.active,
                'SubState': self.sub,
                'MainPID': str(self.pid),
                'NRestarts': str(self.restarts),
                'Result': self.result,
                'ExecMainStatus': str(self.status),
                'FragmentPath': UNIT_FILE if self.load == 'loaded' else '',
                'Transient': 'no',
                'CanStart': 'yes',
                'CanStop': 'yes',
                **self.properties,
            }
        return ''.join(f'{key}={known[key]}\n' for key in wanted if key in known)
