"""What actions/kmod.py rests on, asked of the real modprobe: nothing is loaded or unloaded.

In a mount namespace of its own, as in test_modprobe. Needs root.
"""

import subprocess
import tempfile
from pathlib import Path

from oslotest import base

from nested_agent.actions.kmod import NO_CONFIGURATION
from tests.functional.test_modprobe import elf

RELEASE = '6.1.0-modular'
NAMESPACE = """
set -e
for i in /run /usr/local; do mount -t tmpfs tmpfs $i; done
mkdir -p /run/modprobe.d /usr/local/lib/modprobe.d
for i in /etc /run /usr/local/lib /lib; do mount --bind $0/modprobe.d $i/modprobe.d; done
mount --bind $0/cmdline /proc/cmdline
exec /usr/sbin/modprobe -d $0 -S {release} "$@"
"""
FOREIGN = """\
options kvm_amd nested=y
options kvm halt_poll_ns=x
install kvm_amd /bin/false
remove kvm_amd /bin/echo removed
softdep kvm_amd pre: ccp
"""


class PrivateConfigurationTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix='nested-agent-kmod-')
        self.addCleanup(directory.cleanup)
        self.tree = Path(directory.name)
        (self.tree / 'modprobe.d').mkdir()
        (self.tree / 'modprobe.d/a.conf').write_text(FOREIGN)
        (self.tree / 'cmdline').write_text('quiet kvm_amd.nested=0 kvm.halt_poll_ns=5\n')
        modules = self.tree / 'lib/modules' / RELEASE
        (modules / 'kernel').mkdir(parents=True)
        for name, content in (
            ('kvm-amd', elf(imports='kvm_init')),
            ('kvm', elf('kvm_init')),
            ('ccp', elf()),
        ):
            (modules / f'kernel/{name}.ko').write_bytes(content)
        for name in ('order', 'builtin', 'builtin.modinfo'):
            (modules / f'modules.{name}').touch()
        subprocess.run(['/usr/sbin/depmod', '-b', self.tree, RELEASE], check=True)
        self.kernel = f'{modules}/kernel'

    def modprobe(self, *words):
        shell = ['/usr/bin/unshare', '-m', '/bin/sh', '-c', NAMESPACE.format(release=RELEASE)]
        done = subprocess.run(
            [*shell, self.tree, *words], capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout.splitlines()

    def test_the_configuration_does_all_that_otherwise(self):
        rows = self.modprobe('-D', 'kvm_amd')
        self.assertIn('kvm.ko halt_poll_ns=x halt_poll_ns=5', ' '.join(rows))
        self.assertIn(f'insmod {self.kernel}/ccp.ko ', rows)
        self.assertEqual(['remove /bin/echo removed'], self.modprobe('-n', '-v', '-r', 'kvm_amd'))

    def test_a_load_has_only_the_kernel_s_and_then_our_options(self):
        rows = self.modprobe(*NO_CONFIGURATION, '-D', 'kvm_amd', 'nested=1', 'npt=Y')
        self.assertEqual(
            [
                f'insmod {self.kernel}/kvm.ko halt_poll_ns=5 ',
                f'insmod {self.kernel}/kvm-amd.ko nested=0 nested=1 npt=Y',
            ],
            rows,
        )

    def test_so_has_what_it_depends_on(self):
        rows = self.modprobe(*NO_CONFIGURATION, '-D', 'kvm', 'halt_poll_ns=0')
        self.assertEqual([f'insmod {self.kernel}/kvm.ko halt_poll_ns=5 halt_poll_ns=0'], rows)

    def test_an_unload_runs_nobody_s_command(self):
        self.assertEqual([], self.modprobe(*NO_CONFIGURATION, '-n', '-v', '-r', 'kvm_amd'))
