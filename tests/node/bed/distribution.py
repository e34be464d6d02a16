"""The part of a node that comes from Debian: its packages and an unpacked kernel."""

from dataclasses import dataclass
from pathlib import Path

from tests.node.bed import kernel
from tests.node.bed.digest import digest
from tests.node.bed.process import run, run_inside
from tests.node.bed.store import Store

SUITE = 'bookworm'
KERNEL = 'linux-image-cloud-amd64'
PACKAGES = (
    'dbus',
    'iproute2',
    'kmod',
    'procps',
    'python3',
    'python3-venv',
    'qemu-guest-agent',
    'systemd',
    'systemd-sysv',
    'udev',
)
UNREAD = ('man', 'doc', 'info', 'locale')
VENV = '/opt/nested-agent'
# Debian's own home and, so that no later package takes it, number of nova.
NOVA = ('--system', '--uid', '64060', '--user-group', '--home-dir', '/var/lib/nova')

# The kernel is only unpacked: installing it would build an initramfs and a boot loader's menu.
DOWNLOAD = """\
set -eu
cd "$KERNEL_DIRECTORY"
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
image=$(apt-cache depends "$KERNEL" | awk '/Depends: linux-image/ {print $2; exit}')
apt-get -qq -o APT::Sandbox::User=root download "$image"
"""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A Debian root file system as a tar file, and what boots it."""

    path: Path

    @property
    def root(self) -> Path:
        """The root file system's tar file."""
        return self.path / 'root.tar'

    @property
    def kernel(self) -> Path:
        """The kernel image."""
        return self.path / 'vmlinuz'

    @property
    def initramfs(self) -> Path:
        """The initramfs, which only mounts the disk; see kernel.DISKS."""
        return self.path / 'initramfs.cpio'


def key() -> str:
    """Return the key of the recipe: of this text, not of the package versions of the day."""
    here = Path(__file__)
    return digest(here, here.with_name('kernel.py'))


def distribution(store: Store) -> Distribution:
    """Return the Debian part of every node, built from packages if it is new."""
    return Distribution(store.entry('distribution', key(), lambda path: _build(store, path)))


def _build(store: Store, path: Path) -> None:
    with store.scratch() as scratch:
        tree = scratch / 'tree'
        package = scratch / 'kernel'
        package.mkdir()
        hook = scratch / 'download'
        hook.write_text(DOWNLOAD)
        hook.chmod(0o755)
        exclude = [f'--dpkgopt=path-exclude=/usr/share/{name}/*' for name in UNREAD]
        sources = _sources()
        run(
            [
                'mmdebstrap',
                '--mode=root',
                '--variant=minbase',
                '--quiet',
                f'--include={",".join(PACKAGES)}',
                '--aptopt=Acquire::Languages "none"',
                *exclude,
                f'--customize-hook={hook}',
                SUITE,
                tree,
                *(['-'] if sources else []),
            ],
            environment={'KERNEL_DIRECTORY': str(package), 'KERNEL': KERNEL},
            stdin=sources,
        )
        unpacked = kernel.unpack(next(package.glob('*.deb')), scratch / 'unpacked')
        kernel.install_modules(unpacked, tree)
        kernel.build_initramfs(unpacked, scratch / 'initramfs', path / 'initramfs.cpio')
        unpacked.image.rename(path / 'vmlinuz')
        run_inside(tree, ['useradd', *NOVA, '--create-home', '--shell', '/bin/sh', 'nova'])
        run_inside(tree, ['python3', '-m', 'venv', VENV])
        run(['tar', '--create', '--file', path / 'root.tar', '--directory', tree, '.'])


def _sources() -> str:
    """Return apt lines for SUITE from where this machine gets it; none if it has no such source."""
    fields = '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI) $(RELEASE)'
    lines = run(['apt-get', 'indextargets', '--format', fields, 'Created-By: Packages'])
    sources = set()
    for origin, codename, component, uri, release in (
        line.split() for line in lines.splitlines() if len(line.split()) == 5
    ):
        if origin == 'Debian' and codename.startswith(SUITE) and component == 'main':
            sources.add(f'deb {uri} {release} main\n')
    return ''.join(sorted(sources))
