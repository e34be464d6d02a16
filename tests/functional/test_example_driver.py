"""The driver package of the contributor guide: built, installed beside the agent, and used."""

import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from oslotest import base

from tests.unit.fakes import write_tree
from tests.unit.nodes import Node

CHECKOUT = Path(__file__).parents[2]
SECONDS = 600
RUN = 'import sys; from nested_agent.cmd.agentctl import main; sys.exit(main(sys.argv[1:]))'
DRIFTED = 1
UNSUPPORTED = 3


class ExampleDriverTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.base = Path(directory.name)
        (self.base / 'agent.conf').touch()
        node = Node(
            vendor='ExampleChips',
            module='kvm_example',
            flags='fpu xvm',
            nested='Y',
            live=False,
            files={'/etc/modprobe.d/site.conf': 'options kvm_example nested=0\n'},
        )
        write_tree(self.base / 'node', node.tree())

    def run_command(self, *command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(0, done.returncode, f'{done.stdout}{done.stderr}')

    def environment(self) -> Path:
        """Return the Python of an environment of its own, in which the agent is installed."""
        path = self.base / 'venv'
        self.run_command(sys.executable, '-m', 'venv', path)
        python = path / 'bin' / 'python'
        places = {'base': str(path), 'platbase': str(path)}
        packages = Path(sysconfig.get_path('purelib', 'venv', places))
        # The agent and all it needs are those of this environment.
        outer = sysconfig.get_path('purelib')
        (packages / 'agent.pth').write_text(f'import site; site.addsitedir({outer!r})\n')
        return python

    def wheel(self) -> Path:
        copy = self.base / 'driver'
        shutil.copytree(CHECKOUT / 'examples' / 'driver', copy)
        build = ('-m', 'pip', 'wheel', '-q', '--disable-pip-version-check', '--no-deps')
        self.run_command(sys.executable, *build, '-w', self.base, copy)
        (wheel,) = self.base.glob('*.whl')
        return wheel

    def check(self, python: Path, code: int) -> dict[str, Any]:
        done = subprocess.run(
            [
                *(python, '-W', 'ignore', '-c', RUN),
                *('--config-file', self.base / 'agent.conf'),
                *('check', '--root', self.base / 'node', '-f', 'json'),
            ],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=self.base,
        )
        self.assertEqual(code, done.returncode, done.stderr)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def test_it_is_found_and_judges(self) -> None:
        python = self.environment()
        self.assertIsNone(self.check(python, UNSUPPORTED)['driver'])

        install = ('-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--no-deps')
        self.run_command(python, *install, '--no-index', self.wheel())
        report = self.check(python, DRIFTED)
        self.assertEqual('example', report['driver'])
        self.assertEqual([], report['observation']['driver_problems'])
        found = {each['type']: each for each in report['conditions']}
        self.assertEqual('FlagPresent', found['CPUSupported']['reason'])
        self.assertEqual('Limited', found['KernelSupported']['reason'])
        self.assertEqual('True', found['NestedRuntime']['status'])
        self.assertEqual('OptionDisabled', found['NestedPersistent']['reason'])
        self.assertIn('/etc/modprobe.d/site.conf:1', found['NestedPersistent']['message'])
        (action,) = report['plan']
        self.assertEqual('options kvm_example nested=1', action['after'])
