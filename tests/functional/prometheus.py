"""A real Prometheus and a real node_exporter of the test's own, on the loopback."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fixtures

from tests.functional.broker import GENEROUS, end, free_port, wait_for

PROMETHEUS = Path('/usr/bin/prometheus')
PROMTOOL = Path('/usr/bin/promtool')
NODE_EXPORTER = Path('/usr/bin/prometheus-node-exporter')

#: Seconds between two scrapes, and between two evaluations of the rules.
INTERVAL = 1

#: Seconds: of one answer.
PATIENCE = 60

#: Asks no proxy, whatever the environment says.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> str:
    """Return what is there.

    :raises urllib.error.URLError: nothing is
    """
    with LOCAL.open(url, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


class _Program(fixtures.Fixture):
    """A process that answers over HTTP, from ``start`` to ``stop`` or the end of the test."""

    program: Path
    ready: str

    def _setUp(self) -> None:  # noqa: N802  # fixtures' name
        assert self.program.exists(), f'{self.program} is missing: run tools/test-setup.sh'
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.prepare()
        self.addCleanup(self.stop)
        self.start()

    @property
    def address(self) -> str:
        """Host and port, as a target of Prometheus."""
        return f'127.0.0.1:{self.port}'

    @property
    def url(self) -> str:
        return f'http://{self.address}'

    def prepare(self) -> None:
        """Make the files it needs."""

    def arguments(self) -> Iterable[str]:
        """Return its command line, but for where it listens."""
        return ()

    def start(self) -> None:
        """Return when it answers."""
        with (self.base / 'out').open('ab') as log:
            self.process = subprocess.Popen(
                [self.program, f'--web.listen-address={self.address}', *self.arguments()],
                cwd=self.base,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.said, self._answers)

    def stop(self) -> None:
        """Return when it has ended; its data is kept."""
        if self.process:
            end(self.process)
            self.process = None

    def said(self) -> str:
        return (self.base / 'out').read_text()

    def _answers(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise AssertionError(f'{self.program.name} ended:\n{self.said()}')
        try:
            get(self.url + self.ready)
        except OSError:
            return False
        return True


class NodeExporter(_Program):
    """node_exporter with nothing but the textfile collector.

    :ivar directory: where the ``*.prom`` files go
    """

    program = NODE_EXPORTER
    ready = '/metrics'

    def prepare(self) -> None:
        self.directory = self.base / 'textfile'
        self.directory.mkdir()

    def arguments(self) -> Iterable[str]:
        return (
            '--web.disable-exporter-metrics',
            '--collector.disable-defaults',
            '--collector.textfile',
            f'--collector.textfile.directory={self.directory}',
        )


class Prometheus(_Program):
    """Prometheus, which scrapes and evaluates once a second.

    :param jobs: targets (``host:port``) by the name of their job
    :param rules: files of rules
    :param names: what targets are called in the label ``instance``, in place of ``host:port``
    """

    program = PROMETHEUS
    ready = '/-/ready'

    def __init__(
        self,
        jobs: Mapping[str, Iterable[str]],
        rules: Iterable[Path] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._jobs = jobs
        self._rules = rules
        self._names = names or {}

    def arguments(self) -> Iterable[str]:
        return (
            f'--config.file={self.base / "prometheus.yml"}',
            f'--storage.tsdb.path={self.base / "data"}',
            '--log.level=warn',
        )

    def prepare(self) -> None:
        # JSON is YAML too.
        times = {'scrape_interval': f'{INTERVAL}s', 'scrape_timeout': f'{INTERVAL}s'}
        configuration = {
            'global': {**times, 'evaluation_interval': f'{INTERVAL}s'},
            'rule_files': [str(path) for path in self._rules],
            'scrape_configs': [
                {'job_name': job, 'static_configs': [self._target(each) for each in targets]}
                for job, targets in self._jobs.items()
            ],
        }
        (self.base / 'prometheus.yml').write_text(json.dumps(configuration))

    def _target(self, address: str) -> dict[str, Any]:
        labels = {'instance': self._names[address]} if address in self._names else {}
        return {'targets': [address], 'labels': labels}

    def ask(self, what: str, **parameters: str) -> Any:
        """Return the ``data`` of an answer of its API, version 1.

        :raises AssertionError: it refused; says why
        """
        query = urllib.parse.urlencode(parameters)
        try:
            answer = json.loads(get(f'{self.url}/api/v1/{what}?{query}'))
        except urllib.error.HTTPError as error:
            refusal = error.read().decode()
            raise AssertionError(f'{what} {parameters}: {refusal}') from error
        assert answer['status'] == 'success', answer
        assert not answer.get('warnings'), answer
        return answer['data']

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and value of each series that an expression comes to now."""
        data = self.ask('query', query=expression)
        if data['resultType'] == 'scalar':
            return [({}, float(data['result'][1]))]
        return [(each['metric'], float(each['value'][1])) for each in data['result']]

    def value(self, expression: str) -> float | None:
        """Return the value of an expression; None while there is no series, or more than one."""
        found = self.query(expression)
        return found[0][1] if len(found) == 1 else None

    def wait_for(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return what an expression comes to once that is not empty."""
        found = wait_for(expression, lambda: self.query(expression))
        assert isinstance(found, list)
        return found

    def alerts(self, state: str = 'firing') -> dict[str, list[dict[str, str]]]:
        """Return the labels of the alerts in a state (``firing`` or ``pending``), by name."""
        found: dict[str, list[dict[str, str]]] = {}
        for each in self.ask('alerts')['alerts']:
            if each['state'] == state:
                found.setdefault(each['labels']['alertname'], []).append(each['labels'])
        return found

    def healthy(self, job: str) -> bool:
        """Whether all targets of a job were scraped without an error."""
        targets = [
            each
            for each in self.ask('targets', state='active')['activeTargets']
            if each['labels']['job'] == job
        ]
        return bool(targets) and all(each['health'] == 'up' for each in targets)


def promtool(*arguments: object, stdin: str = '') -> str:
    """Return what promtool said.

    :raises AssertionError: it found something wrong; says what
    """
    assert PROMTOOL.exists(), f'{PROMTOOL} is missing: run tools/test-setup.sh'
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=GENEROUS,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
