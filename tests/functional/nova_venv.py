"""Nova from PyPI, in an environment of its own that is built once and cached."""

import subprocess
import sys
from pathlib import Path

from tests.node.bed.store import Store, default_root

VERSION = '34.0.0'
BUILD_SECONDS = 1200.0


def python() -> Path:
    """Return the Python of an environment that has Nova."""
    key = f'{VERSION}-{sys.implementation.cache_tag}'
    return Store(default_root()).entry('nova', key, _build) / 'bin' / 'python'


def _build(path: Path) -> None:
    # Byte code is written when it is first imported; nothing here runs most of it.
    for command in (
        [sys.executable, '-m', 'venv', path],
        [
            *(path / 'bin' / 'python', '-m', 'pip', 'install', '--quiet', '--no-compile'),
            *('--disable-pip-version-check', '--only-binary', ':all:', f'nova=={VERSION}'),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS)
        if done.returncode:
            raise RuntimeError(f'{command} failed:\n{done.stdout}{done.stderr}')
