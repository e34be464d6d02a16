import errno
import os
import tempfile
import unittest
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies

from nested_agent.facts import Location, Manager, NovaCompute, NovaProcess, Setting, Unread
from nested_agent.node import nova, nova_config, nova_files
from tests.unit.fakes import FakeRoot, write_tree
from tests.unit.test_nova_config import in_force
from tests.unit.test_nova_process import ID, PYTHON_ARGV, ProcTest, process

PASSTHROUGH = '[libvirt]\ncpu_mode=host-passthrough\n'
CUSTOM = '[libvirt]\ncpu_mode=custom\n'
DOCKER = f'0::/system.slice/docker-{ID}.scope\n'


class NovaTest(ProcTest):
    def setUp(self) -> None:
        super().setUp()
        nova_config._Memory.last = None

    def compute(
        self,
        *parts: dict[str, str | bytes],
        config_files: Sequence[str] = (),
        config_dirs: Sequence[str] = (),
    ) -> NovaCompute:
        compute = nova.read(self.tree(*parts), config_files=config_files, config_dirs=config_dirs)
        assert isinstance(compute, NovaCompute), compute
        return compute

    def mounted(self, *parts: dict[str, str | bytes]) -> FakeRoot:
        """Return a node whose process 70 has the same root directory, with other mounts on it."""
        tree = self.tree(*parts)
        inner = tree.below('/proc/70/root')
        real, theirs = tree.stat, inner.stat
        tree.stat = lambda name: real('/' if name == '/proc/70/root' else name)
        inner.stat = lambda name: real(name) if name == '/' else theirs(name)
        tree.below = lambda name: inner
        return tree

    def paths(self, compute: NovaCompute) -> list[str]:
        return [file.path for file in compute.files]

    def mode(self, compute: NovaCompute) -> Setting:
        assert not isinstance(compute.settings, Unread), compute.settings
        return in_force(compute.settings['libvirt.cpu_mode'])


class RunningTest(NovaTest):
    def test_files_are_those_of_its_arguments(self) -> None:
        compute = self.compute(
            process(70, (*PYTHON_ARGV, '--config-file', '/a.conf')),
            {'/a.conf': PASSTHROUGH, '/etc/nova/nova.conf': CUSTOM, '/op.conf': CUSTOM},
            config_files=['/op.conf'],
        )
        self.assertEqual('process', compute.found_by)
        self.assertEqual('/', compute.root)
        self.assertEqual(['/a.conf'], self.paths(compute))
        self.assertEqual(Setting('host-passthrough', Location('/a.conf', 2)), self.mode(compute))

    def test_without_arguments_the_default_search(self) -> None:
        compute = self.compute(
            process(70, PYTHON_ARGV),
            {
                '/etc/passwd': 'nova:x:162:162::/home/nova:\n',
                '/home/nova/.nova/nova-compute.conf': '',
                '/etc/nova/nova.conf': CUSTOM,
                '/etc/nova/nova.conf.d/1.conf': PASSTHROUGH,
            },
        )
        self.assertEqual(
            [
                '/etc/nova/nova.conf',
                '/home/nova/.nova/nova-compute.conf',
                '/etc/nova/nova.conf.d/1.conf',
            ],
            self.paths(compute),
        )
        self.assertEqual('host-passthrough', self.mode(compute).value)

    def test_environment(self) -> None:
        compute = self.compute(
            process(70, PYTHON_ARGV, environ=b'OS_LIBVIRT__CPU_MODE=none\0'),
            {'/etc/nova/nova.conf': CUSTOM},
        )
        self.assertEqual(Setting('none', 'OS_LIBVIRT__CPU_MODE'), self.mode(compute))

    def test_files_of_a_container(self) -> None:
        compute = self.compute(
            process(70, PYTHON_ARGV, group=DOCKER, root='-> /merged'),
            {
                '/etc/nova/nova.conf': CUSTOM,
                '/secret.conf': CUSTOM,
                '/merged/etc/nova/nova.conf': '-> /real/n.conf',
                '/merged/real/n.conf': PASSTHROUGH,
                # Inside the container this link points at nothing.
                '/merged/etc/nova-compute.conf': '-> /secret.conf',
            },
        )
        self.assertEqual(('/proc/70/root', Manager.CONTAINER), (compute.root, compute.manager))
        self.assertEqual(['/etc/nova/nova.conf'], self.paths(compute))
        self.assertEqual(
            Setting('host-passthrough', Location('/etc/nova/nova.conf', 2)), self.mode(compute)
        )

    def test_container_that_cannot_be_entered(self) -> None:
        compute = self.compute(
            process(70, PYTHON_ARGV, group=DOCKER, root='-> /missing'),
            {'/etc/nova/nova.conf': CUSTOM},
        )
        assert isinstance(compute.settings, Unread)
        self.assertEqual(
            ('/proc/70/root', 'NotAvailable'), (compute.settings.source, compute.settings.error)
        )
        self.assertEqual((), compute.files)

    def test_mounts_of_its_own(self) -> None:
        # BindPaths=, TemporaryFileSystem= of its unit: the same "/", and other files below it.
        root, main = '-> /theirs', '/etc/nova/nova.conf'
        named = (*PYTHON_ARGV, f'--config-file={main}')
        for argv, theirs, paths in (
            (named, {f'/theirs{main}': PASSTHROUGH}, [main]),
            (PYTHON_ARGV, {f'/theirs{main}': PASSTHROUGH}, [main]),
            (PYTHON_ARGV, {'/theirs/etc/nova.conf': PASSTHROUGH}, ['/etc/nova.conf']),
        ):
            tree = self.mounted(process(70, argv, root=root), {main: CUSTOM}, theirs)
            compute = nova.read(tree)
            assert isinstance(compute, NovaCompute)
            self.assertEqual('/proc/70/root', compute.root)
            self.assertEqual(paths, self.paths(compute))
            self.assertEqual('host-passthrough', self.mode(compute).value)
        tree = self.mounted(process(70, named, root=root), {main: CUSTOM, '/theirs/x': ''})
        compute = nova.read(tree)
        assert isinstance(compute, NovaCompute) and isinstance(compute.settings, Unread)
        self.assertEqual((main, 'ENOENT'), (compute.settings.source, compute.settings.error))

    def test_mounts_of_its_own_that_change_none_of_its_files(self) -> None:
        argv = (*PYTHON_ARGV, '--config-file=/a.conf')
        parts = process(70, argv, root='-> /theirs'), {'/a.conf': CUSTOM, '/theirs/tmp/x': ''}
        tree = self.mounted(*parts)
        os.link(tree.base / 'a.conf', tree.base / 'theirs/a.conf')
        compute = nova.read(tree)
        assert isinstance(compute, NovaCompute)
        self.assertEqual(('/', 'custom'), (compute.root, self.mode(compute).value))

    def test_a_home_that_is_hidden(self) -> None:
        # ProtectHome= of the agent's unit; oslo.config would prefer what is there.
        own, main = '/home/nova/.nova/nova.conf', '/etc/nova/nova.conf'
        host = {'/etc/passwd': 'nova:x:162:162::/home/nova:\n', main: CUSTOM}
        theirs = {f'/theirs{own}': PASSTHROUGH, '/theirs/etc/passwd': host['/etc/passwd']}
        tree = self.mounted(process(70, PYTHON_ARGV, root='-> /theirs'), host, theirs)
        (tree.base / 'home').mkdir(mode=0)
        compute = nova.read(tree)
        assert isinstance(compute, NovaCompute)
        self.assertEqual(('/proc/70/root', [own]), (compute.root, self.paths(compute)))
        self.assertEqual('host-passthrough', self.mode(compute).value)
        # Nor can what it sees be looked at.
        tree = self.tree(process(70, PYTHON_ARGV, root='-> /missing'), host)
        (tree.base / 'home').mkdir(mode=0)
        compute = nova.read(tree)
        assert isinstance(compute, NovaCompute) and isinstance(compute.settings, Unread)
        self.assertEqual((own, 'EACCES'), (compute.settings.source, compute.settings.error))
        self.assertEqual((), compute.files)

    @unittest.skipUnless(os.geteuid() == 0, 'what nobody may enter')
    def test_a_home_that_is_hidden_from_nova_compute(self) -> None:
        files = {'/etc/passwd': 'nova:x:162:162::/home/nova:\n', '/etc/nova/nova.conf': CUSTOM}
        tree = self.tree(process(70, PYTHON_ARGV), files)
        (tree.base / 'home').mkdir(mode=0)
        compute = nova.read(tree)
        assert isinstance(compute, NovaCompute)
        self.assertEqual(('/', ['/etc/nova/nova.conf']), (compute.root, self.paths(compute)))

    def test_a_null_device_of_its_own(self) -> None:
        null = Path('/dev/null').stat()
        copy = os.stat_result((null.st_mode, null.st_ino + 1, *null[2:]), {'st_rdev': null.st_rdev})
        ours, theirs = self.tree({}), self.tree({})
        ours.stat, theirs.stat = lambda name: null, lambda name: copy
        self.assertTrue(nova_files.same(ours, theirs, ['/dev/null']))

    def test_a_file_replaced_while_it_is_compared(self) -> None:
        main = '/etc/nova/nova.conf'
        tree = self.tree(process(70, PYTHON_ARGV), {main: CUSTOM, '/new': PASSTHROUGH})
        real = tree.stat

        def stat(name: str) -> os.stat_result:
            found = real(name)
            if name == main and tree.exists('/new'):
                tree.path('/new').rename(tree.path(main))
            return found

        with mock.patch.object(tree, 'stat', stat):
            compute = nova.read(tree)
        assert isinstance(compute, NovaCompute)
        self.assertEqual(('/', 'host-passthrough'), (compute.root, self.mode(compute).value))

    def test_process_that_ends_meanwhile(self) -> None:
        tree = self.tree(process(70, PYTHON_ARGV), {'/etc/nova/nova.conf': CUSTOM})
        with mock.patch('nested_agent.node.nova_process.alive', side_effect=[True, False]):
            compute = nova.read(tree)
        assert isinstance(compute, NovaCompute)
        self.assertEqual((None, 'default'), (compute.process, compute.found_by))

    def test_container_that_ends_meanwhile(self) -> None:
        tree = self.tree(
            process(70, PYTHON_ARGV, group=DOCKER, root='-> /merged'), {'/merged/x': ''}
        )
        with mock.patch('nested_agent.node.nova_process.alive', side_effect=[True, False]):
            self.assertIsNone(nova.read(tree))

    def test_missing_file(self) -> None:
        compute = self.compute(process(70, (*PYTHON_ARGV, '--config-file', '/a.conf')))
        assert isinstance(compute.settings, Unread)
        self.assertEqual(('/a.conf', 'ENOENT'), (compute.settings.source, compute.settings.error))

    def test_missing_directory(self) -> None:
        compute = self.compute(process(70, (*PYTHON_ARGV, '--config-dir', '/d')))
        assert isinstance(compute.settings, Unread)
        self.assertEqual(('/d', 'ENOENT'), (compute.settings.source, compute.settings.error))

    def test_overwritten_command_line(self) -> None:
        compute = self.compute(
            process(70, b'nova-compute: worker\0\0\0'),
            {'/etc/nova/nova.conf': '', '/etc/nova/nova-compute.conf': PASSTHROUGH},
        )
        assert isinstance(compute.process, NovaProcess)
        self.assertEqual(('debian', 70), (compute.found_by, compute.process.pid))
        self.assertEqual('host-passthrough', self.mode(compute).value)

    def test_others(self) -> None:
        compute = self.compute(process(70, PYTHON_ARGV), process(9, PYTHON_ARGV, group=DOCKER))
        self.assertEqual((9,), compute.others)

    def test_directories(self) -> None:
        compute = self.compute(
            process(70, (*PYTHON_ARGV, '--config-dir=/d')), {'/d/a.conf': '', '/etc/nova/n': ''}
        )
        self.assertEqual(['/d', '/etc/nova'], sorted(each.path for each in compute.directories))
        for each in compute.directories:
            assert isinstance(each.changed, float)

    def test_processes_that_cannot_be_looked_at(self) -> None:
        root = FakeRoot(Path('/nonexistent'))
        problem = nova.read(root)
        assert isinstance(problem, Unread)
        self.assertEqual(('/proc', 'ENOENT'), (problem.source, problem.error))
        root.live = False
        self.assertIsNone(nova.read(root))


class ManagerTest(NovaTest):
    def manager(
        self,
        unit: str,
        argv: tuple[str, ...] = PYTHON_ARGV,
        *,
        group: str = '',
        name: str = 'x',
    ) -> Manager:
        tree: dict[str, str | bytes] = {'/merged/x': '', f'/{name}': ''}
        group = group or f'0::/system.slice/{unit}\n'
        root = '-> /merged' if 'docker' in group or 'libpod' in group else '-> /'
        return self.compute(process(70, argv, group=group, root=root), tree).manager

    def test_by_unit(self) -> None:
        for unit, manager in (
            ('nova-compute.service', Manager.PACKAGE),
            ('openstack-nova-compute.service', Manager.PACKAGE),
            ('devstack@n-cpu.service', Manager.DEVSTACK),
            ('snap.openstack-hypervisor.nova-compute.service', Manager.SNAP),
            (f'edpm_nova_compute.service/libpod-payload-{ID}', Manager.EDPM),
            (f'tripleo_nova_compute.service/libpod-payload-{ID}', Manager.TRIPLEO),
            (f'kolla-nova_compute-container.service/docker-{ID}.scope', Manager.KOLLA),
            ('mine.service', Manager.UNKNOWN),
        ):
            self.assertEqual(manager, self.manager(unit), unit)

    def test_by_arguments(self) -> None:
        unit = 'nova-compute.service'
        for argv, manager in (
            (('/usr/bin/nova-compute', '--config-file', '/etc/nova/nova-cpu.conf'), 'devstack'),
            (('/openstack/venvs/nova-31/bin/nova-compute',), 'openstack-ansible'),
            (('/snap/openstack-hypervisor/1/bin/nova-compute',), 'snap'),
            (('/opt/venv/bin/nova-compute',), 'unknown'),
        ):
            self.assertEqual(Manager(manager), self.manager(unit, argv), str(argv))

    def test_of_a_container(self) -> None:
        for name, manager in (
            ('etc/kolla/nova-compute/x', Manager.KOLLA),
            ('merged/var/lib/kolla/config_files/x', Manager.KOLLA),
            ('var/lib/openstack/nova/x', Manager.EDPM),
            ('var/lib/openstack/config/nova/x', Manager.EDPM),
            ('var/lib/config-data/puppet-generated/nova_libvirt/x', Manager.TRIPLEO),
            ('x', Manager.CONTAINER),
        ):
            self.assertEqual(manager, self.manager('', group=DOCKER, name=name), name)

    def test_host_process_beside_remains_of_kolla(self) -> None:
        name = 'etc/kolla/nova-compute/nova.conf'
        self.assertEqual(Manager.PACKAGE, self.manager('nova-compute.service', name=name))


class StoppedTest(NovaTest):
    def test_nothing_at_all(self) -> None:
        self.assertIsNone(nova.read(self.tree({'/proc/x': ''})))

    def test_processes_that_are_hidden(self) -> None:
        root = self.tree({'/proc/1/cmdline': ''})
        root.path('/proc/1').rename(root.base / 'proc/2')
        self.assertIsInstance(nova.read(root), Unread)
        write_tree(root.base, {'/etc/nova/nova.conf': PASSTHROUGH})
        compute = nova.read(root)
        assert isinstance(compute, NovaCompute)
        assert isinstance(compute.process, Unread)
        self.assertEqual('host-passthrough', self.mode(compute).value)

    def test_layouts(self) -> None:
        main, own = '/etc/nova/nova.conf', '/etc/nova/nova-compute.conf'
        drop_in = '/etc/nova/nova.conf.d/1.conf'
        dist = '/usr/share/nova/nova-dist.conf'
        snap = '/var/snap/openstack-hypervisor/common/etc/nova'
        kolla = '/etc/kolla/nova-compute/nova.conf'
        edpm = '/var/lib/openstack/nova'
        for there, found_by, manager, files in (
            ([main, own], 'debian', Manager.PACKAGE, [main, own]),
            ([main, own, drop_in], 'debian', Manager.PACKAGE, [drop_in, main, own]),
            ([main, '/etc/init.d/nova-compute'], 'debian', Manager.PACKAGE, [main]),
            ([main], 'default', Manager.UNKNOWN, [main]),
            ([main, '/openstack/venvs/x'], 'default', Manager.OPENSTACK_ANSIBLE, [main]),
            ([main, own, drop_in, dist], 'rdo', Manager.PACKAGE, [dist, main, own, drop_in]),
            (
                [main, '/etc/nova/nova-cpu.conf'],
                'devstack',
                Manager.DEVSTACK,
                ['/etc/nova/nova-cpu.conf'],
            ),
            ([drop_in, kolla], 'kolla', Manager.KOLLA, [kolla]),
            (
                [f'{edpm}/01-nova.conf', f'{edpm}/nova-blank.conf', f'{edpm}/x.conf'],
                'edpm',
                Manager.EDPM,
                [f'{edpm}/01-nova.conf', f'{edpm}/nova-blank.conf'],
            ),
            (
                [f'{snap}/nova.conf', f'{snap}/nova.conf.d/1.conf'],
                'snap',
                Manager.SNAP,
                [f'{snap}/nova.conf', f'{snap}/nova.conf.d/1.conf'],
            ),
            ([f'{snap}/nova.conf'], 'snap', Manager.SNAP, [f'{snap}/nova.conf']),
        ):
            compute = self.compute({'/proc/x': ''}, dict.fromkeys(there, ''))
            self.assertEqual(
                (None, found_by, manager, files, '/'),
                (
                    compute.process,
                    compute.found_by,
                    compute.manager,
                    self.paths(compute),
                    compute.root,
                ),
            )

    def test_a_place_that_may_not_be_looked_at(self) -> None:
        # /etc/nova with mode 0750, for one, and whoever asks is in no group of it.
        kolla = '/etc/kolla/nova-compute'
        for call, place, there in (
            ('stat', '/etc/nova/nova-cpu.conf', '/x'),
            ('stat', kolla, f'{kolla}/nova.conf'),
            ('names', kolla, f'{kolla}/nova.conf'),
            ('stat', '/etc/nova/nova.conf', '/etc/init.d/nova-compute'),
            ('stat', '/etc/nova/nova.conf', '/x'),
        ):
            tree = self.tree({'/proc/x': '', there: ''})
            with mock.patch.object(tree, call, self.refusing(getattr(tree, call), place)):
                compute = nova.read(tree)
            assert isinstance(compute, NovaCompute) and isinstance(compute.settings, Unread)
            self.assertEqual(
                (place, 'EACCES'), (compute.settings.source, compute.settings.error), there
            )
            self.assertEqual((None, ()), (compute.process, compute.files))

    def refusing(self, real: Callable[[str], Any], place: str) -> Callable[[str], Any]:
        def function(name: str) -> Any:
            if name == place:
                raise PermissionError(errno.EACCES, 'Permission denied')
            return real(name)

        return function

    def test_what_is_not_there_is_passed_over(self) -> None:
        # Not a directory where one is looked for, as if it were not there.
        compute = self.compute({'/proc/x': '', '/etc/kolla/nova-compute': '', '/etc/nova.conf': ''})
        self.assertEqual(('default', ['/etc/nova.conf']), (compute.found_by, self.paths(compute)))

    def test_operator_says(self) -> None:
        files: dict[str, str | bytes] = {
            '/proc/x': '',
            '/etc/nova/nova.conf': CUSTOM,
            '/etc/nova/nova-compute.conf': '',
            '/op.conf': PASSTHROUGH,
            '/op.d/1.conf': CUSTOM,
        }
        compute = self.compute(files, config_files=['/op.conf'], config_dirs=['/op.d'])
        self.assertEqual(('option', Manager.PACKAGE), (compute.found_by, compute.manager))
        self.assertEqual(['/op.conf', '/op.d/1.conf'], self.paths(compute))
        self.assertEqual('custom', self.mode(compute).value)
        compute = self.compute(files, config_dirs=['/missing'])
        assert isinstance(compute.settings, Unread)
        self.assertEqual('ENOENT', compute.settings.error)

    def test_captured_tree(self) -> None:
        root = self.tree(process(70, PYTHON_ARGV), {'/etc/nova/nova.conf': PASSTHROUGH})
        root.live = False
        compute = nova.read(root)
        assert isinstance(compute, NovaCompute)
        self.assertIsNone(compute.process)
        self.assertEqual('host-passthrough', self.mode(compute).value)


LINES = strategies.lists(
    strategies.sampled_from(
        [
            *('[DEFAULT]', '[libvirt]', '[LibVirt]', '[x', ' [libvirt]', '', '# c', '\ufeff', '='),
            *('cpu_mode=custom', 'cpu_mode=$cpu_mode', 'cpu_mode=${x.y}', 'cpu_models=$virt_type'),
            *(
                'virt_type = $cpu_models$cpu_models',
                ' more',
                '\tmore',
                'host=$host',
                'config_dir=$x',
            ),
            *('config_source=a', 'config_file=b', 'shell_completion=c', 'cpu_model=$', 'x:y\r'),
            *('compute_driver=${libvirt}', 'cpu_models=${libvirt.cpu_mode.x}', 'config_dir=\\$'),
        ]
    )
).map(lambda lines: '\n'.join(lines).encode())
CONTENT = strategies.one_of(strategies.binary(max_size=60), LINES)
NAMES = (
    *('/proc/70/stat', '/proc/70/cgroup', '/proc/70/environ', '/proc/70/status', '/proc/uptime'),
    *('/etc/passwd', '/proc/self/cgroup', '/etc/nova/nova.conf', '/etc/nova/nova.conf.d/1.conf'),
)


class GarbageTest(NovaTest):
    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(
        strategies.dictionaries(strategies.sampled_from(NAMES), CONTENT),
        strategies.one_of(
            strategies.just(b'nova-compute\0'),
            strategies.binary(max_size=30).map(lambda tail: b'nova-compute\0' + tail),
            strategies.binary(max_size=30).map(lambda tail: b'nova-compute ' + tail),
        ),
    )
    def test_never_raises(self, garbage: Mapping[str, bytes], cmdline: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            init = {'/proc/1/cmdline': 'init'}
            write_tree(Path(directory), {**init, **process(70, cmdline), **garbage})
            compute = nova.read(FakeRoot(Path(directory)))
        self.assertNotIsInstance(compute, Unread)
        repr(compute).encode()
