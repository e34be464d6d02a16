"""The project as its users get it: the wheel built from a checkout, and all it depends on."""

import os
import shutil
import sys
import zipfile
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path

from tests.node.bed.digest import digest
from tests.node.bed.process import run
from tests.node.bed.store import Store

# What Debian 12 runs: CPython 3.11 with glibc 2.36.
PYTHON = '3.11'
PLATFORMS = (
    *(f'manylinux_2_{minor}_x86_64' for minor in range(36, 4, -1)),
    *('manylinux2014_x86_64', 'manylinux2010_x86_64', 'manylinux1_x86_64', 'linux_x86_64'),
)
# Nothing below them ends up in the wheel.
UNSHIPPED = ('tests/',)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A project's wheel and the directory with the wheels of its dependencies."""

    wheel: Path
    dependencies: Path

    @property
    def key(self) -> str:
        """The key of all that would be installed; building the same again gives the same."""
        with zipfile.ZipFile(self.wheel) as archive:
            content = [(name, archive.read(name)) for name in sorted(archive.namelist())]
        names = sorted(path.name for path in self.dependencies.iterdir())
        return digest(*(part for pair in content for part in pair), *names)


def bundle(store: Store, checkout: Path) -> Bundle:
    """Return the wheel of the git ``checkout`` as it is now, changes and new files included.

    Dependencies are fetched again when the project's requirements change, not when a newer
    release of one appears.
    """
    with store.scratch() as scratch:
        git = _Git(checkout, scratch / 'gitconfig')
        files = git.files()
        key = _key(checkout, git, files)
        built = store.entry('wheel', key, lambda path: _build(git, files, path))
    (wheel,) = built.glob('*.whl')
    needs = digest(Path(__file__), *_requirements(wheel))
    return Bundle(wheel, store.entry('dependencies', needs, lambda path: _fetch(wheel, path)))


class _Git:
    """Git commands on one checkout, whoever owns it."""

    def __init__(self, checkout: Path, config: Path) -> None:
        # Only a configuration file also reaches the git processes that git starts.
        config.write_text('[safe]\n\tdirectory = *\n')
        self.checkout = checkout
        self.environment = {'GIT_CONFIG_GLOBAL': str(config), 'GIT_CONFIG_NOSYSTEM': '1'}

    def __call__(self, *arguments: str | Path, at: Path | None = None) -> str:
        command = ('git', '-C', at or self.checkout, *arguments)
        return run(command, environment=self.environment)

    def files(self) -> list[str]:
        """Return the paths that a commit of everything would hold."""
        names = self('ls-files', '-z', '--cached', '--others', '--exclude-standard').split('\0')
        return sorted(name for name in set(names) if name and os.path.lexists(self.checkout / name))


def _key(checkout: Path, git: _Git, files: list[str]) -> str:
    shipped = [name for name in files if not name.startswith(UNSHIPPED)]
    content = (part for name in shipped for part in (name, checkout / name))
    # The version comes from the history.
    return digest(Path(__file__), git('rev-parse', 'HEAD'), git('tag', '--list'), *content)


def _build(git: _Git, files: list[str], path: Path) -> None:
    """Build the wheel in a clone: in the checkout it would leave and reuse old files."""
    source = path / 'source'
    git('clone', '--quiet', git.checkout, source)
    git('rm', '-r', '--quiet', '.', at=source)
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(git.checkout / name, source / name, follow_symlinks=False)
    git('add', '--all', at=source)
    pip = (sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps')
    run([*pip, '--wheel-dir', path, source], environment=git.environment)
    shutil.rmtree(source)


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
        metadata = BytesParser().parsebytes(archive.read(name))
    return sorted(metadata.get_all('Requires-Dist', []))


def _fetch(wheel: Path, path: Path) -> None:
    pip = (sys.executable, '-m', 'pip', 'download', '--quiet', '--only-binary=:all:')
    target = ('--implementation', 'cp', '--python-version', PYTHON)
    platforms = (f'--platform={platform}' for platform in PLATFORMS)
    run([*pip, *target, *platforms, '--dest', path, wheel])
    (path / wheel.name).unlink()
