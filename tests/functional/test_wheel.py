"""The wheel holds every module of the checkout: pbr can miss sub-packages."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from oslotest import base

CHECKOUT = Path(__file__).parents[2]


class WheelTest(base.BaseTestCase):
    def test_every_module_is_in_it(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        # As from a tarball: without git pbr has only setup.cfg to go by.
        copy = Path(directory.name, 'copy')
        shutil.copytree(CHECKOUT / 'nested_agent', copy / 'nested_agent')
        for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'requirements.txt', 'README.rst'):
            shutil.copy(CHECKOUT / name, copy)
        subprocess.run(
            [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', directory.name, copy],
            check=True,
            timeout=600,
            capture_output=True,
            env={**os.environ, 'PBR_VERSION': '0.0.1'},
        )
        (wheel,) = Path(directory.name).glob('*.whl')
        with zipfile.ZipFile(wheel) as archive:
            shipped = {name for name in archive.namelist() if name.endswith('.py')}
            (name,) = (name for name in archive.namelist() if name.endswith('entry_points.txt'))
            entry_points = archive.read(name).decode()
        there = {
            str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / 'nested_agent').rglob('*.py')
        }
        self.assertEqual(there, shipped)
        self.assertIn('nested-agentctl = nested_agent.cmd.agentctl:script', entry_points)
