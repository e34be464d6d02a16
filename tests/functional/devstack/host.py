"""A host whose stack.sh, unstack.sh and clean.sh are ours, to see what the plugin does there."""

import configparser
import shutil
import subprocess
from pathlib import Path

import fixtures

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
UNIT = 'devstack@nested-agent.service'
PATH = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'
DEADLINE = 120.0
BROKER = '192.0.2.1'

# Writes down how it was called, and answers as the test says; the last answer stands.
CONTROL = """\
#!/bin/bash
printf 'nested-agentctl\\t%s\\n' "${*:3}" >> "$ROOM/calls"
[[ "$1 $2" == "--config-file $ROOM/etc/nested-agent/nested-agent.conf" ]] || exit 64
verb=$3
answers=$ROOM/answers/$verb
[[ -e "$answers" ]] || exit 0
head -n 1 "$answers" > "$answers.now"
if (( $(wc -l < "$answers") > 1 )); then sed -i 1d "$answers"; fi
IFS=' ' read -r code text < "$answers.now"
echo "$text"
exit "$code"
"""

MANAGE = """\
#!/bin/bash
printf 'nested-collector-manage\\t%s\\n' "$*" >> "$ROOM/calls"
"""


class Host(fixtures.Fixture):
    """Directories of its own, and the words of its local.conf.

    :ivar local: what its localrc sets, and what makes the simulated DevStack behave otherwise
    :ivar plugin: where enable_plugin has cloned the repository
    :ivar bin: where the commands are: by default ``nested-agentctl`` only answers
    """

    def __init__(self, services: str = 'mysql,rabbit,key,n-api,n-cpu', **local: str) -> None:
        super().__init__()
        self.local = {'ENABLED_SERVICES': services, 'RABBIT_HOST': BROKER, **local}

    def _setUp(self) -> None:  # noqa: N802  # fixtures' name
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.plugin = REPOSITORY
        self.bin = self.base / 'bin'
        self.nova_conf = self.base / 'etc/nova/nova-cpu.conf'
        self.conf = self.base / 'etc/nested-agent/nested-agent.conf'
        self.collector_conf = self.conf.with_name('nested-collector.conf')
        self.state_dir = self.base / 'var/lib/nested-agent'
        self.run_dir = self.base / 'run/nested-agent'
        self.unit = self.base / 'etc/systemd/system' / UNIT
        for path in (self.bin, self.nova_conf.parent, self.base / 'answers'):
            path.mkdir(parents=True)
        control = self.bin / 'nested-agentctl'
        control.write_text(CONTROL)
        control.chmod(0o755)
        manage = self.bin / 'nested-collector-manage'
        manage.write_text(MANAGE)
        manage.chmod(0o755)
        self.answer('status', '0 None')

    def answer(self, command: str, *answers: str) -> None:
        """Have a command of nested-agentctl answer with ``EXIT-CODE TEXT``, one after the other."""
        (self.base / 'answers' / command).write_text(''.join(f'{each}\n' for each in answers))

    def run(
        self, script: str, *, options: str = 'errexit', **local: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``stack``, ``unstack`` or ``clean``; :attr:`calls` then has what was called."""
        (self.base / 'calls').unlink(missing_ok=True)
        (self.base / 'left').unlink(missing_ok=True)
        return subprocess.run(
            ['bash', HERE / 'drive.sh', script, self.plugin],
            env={
                'PATH': PATH,
                'ROOM': str(self.base),
                'AGENT_BIN': str(self.bin),
                'SHELL_OPTIONS': options,
                **self.local,
                **local,
            },
            cwd='/',
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    @property
    def calls(self) -> list[list[str]]:
        """The calls of the last run, each a function and its arguments."""
        text = (self.base / 'calls').read_text()
        return [line.split('\t') for line in text.replace(str(self.base), '').splitlines()]

    @property
    def left(self) -> str:
        """What the plugin left in the shell that sourced it."""
        return (self.base / 'left').read_text()

    def called(self, function: str) -> list[list[str]]:
        """Return the arguments of every call of a function."""
        return [arguments for name, *arguments in self.calls if name == function]

    def options(self, conf: Path | None = None) -> dict[str, dict[str, str]]:
        """Return a configuration, the agent's or another, without the test's directory in it."""
        return _read(conf or self.conf, str(self.base))

    def service(self, unit: str = UNIT) -> dict[str, str]:
        """Return the [Service] of a unit."""
        return _read(self.unit.with_name(unit), str(self.base))['Service']

    def files(self) -> set[str]:
        """Return all there is, but for what the test itself keeps."""
        ours = {'answers', 'bin', 'calls', 'left', 'enabled', 'active'}
        return {
            str(path.relative_to(self.base))
            for path in self.base.rglob('*')
            if path.relative_to(self.base).parts[0] not in ours and not path.is_dir()
        }

    def clone(self, name: str) -> None:
        """Have the plugin in a directory of another name."""
        self.plugin = self.base / 'dest' / name
        shutil.copytree(REPOSITORY / 'devstack', self.plugin / 'devstack')
        shutil.copy(REPOSITORY / 'setup.cfg', self.plugin)


def _read(path: Path, base: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(default_section='')
    parser.optionxform = str
    parser.read_string(path.read_text().replace(base, ''))
    return {name: dict(parser[name]) for name in parser.sections()}
