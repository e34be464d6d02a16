import os
import time
from pathlib import Path
from unittest import mock

from oslotest import base

from nested_agent.facts import Unread
from nested_agent.node import cgroup, nova_argv, nova_process
from tests.unit.fakes import FakeRoot, make_tree

ID = '0123456789abcdef' * 4
HOST_GROUP = '0::/system.slice/nova-compute.service\n'
PYTHON_ARGV = ('/usr/bin/python3', '/usr/bin/nova-compute')


def process(
    pid: int,
    argv: tuple[str, ...] | bytes,
    *,
    parent: int = 1,
    group: str = HOST_GROUP,
    environ: bytes = b'',
    ticks: int = 500,
    root: str = '-> /',
) -> dict[str, str | bytes]:
    """Return the files of /proc/PID."""
    cmdline = argv if isinstance(argv, bytes) else b''.join(a.encode() + b'\0' for a in argv)
    fields = f'S {parent} ' + '0 ' * 17 + f'{ticks} 0 0'
    return {
        f'/proc/{pid}/cmdline': cmdline,
        f'/proc/{pid}/stat': f'{pid} (nova) compute) ({fields}\n'.replace('(S', 'S'),
        f'/proc/{pid}/cgroup': group,
        f'/proc/{pid}/environ': environ,
        f'/proc/{pid}/status': 'Name:\tnova-compute\nUid:\t162\t162\t162\t162\n',
        f'/proc/{pid}/root': root,
        f'/proc/{pid}/cwd': '-> /var/lib/nova',
    }


class ProcTest(base.BaseTestCase):
    def tree(self, *parts: dict[str, str | bytes]) -> FakeRoot:
        files: dict[str, str | bytes] = {
            '/proc/uptime': '1000.00 5.00\n',
            '/proc/1/cmdline': '/sbin/init\0',
        }
        for part in parts:
            files.update(part)
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        return FakeRoot(Path(directory.name))

    def found(self, *parts: dict[str, str | bytes]) -> nova_process.Found:
        found = nova_process.find(self.tree(*parts))
        assert isinstance(found, nova_process.Found)
        return found


class CommandLineTest(base.BaseTestCase):
    def test_is_nova_compute(self) -> None:
        for argv, expected in (
            (['nova-compute'], ()),
            (['/opt/x y/nova-compute', '--debug'], ('--debug',)),
            ([*PYTHON_ARGV, '--config-file', 'a'], ('--config-file', 'a')),
            (['/usr/bin/python3.12', '-s', '/usr/bin/nova-compute', 'x'], ('x',)),
            (
                ['/openstack/venvs/nova-1/bin/python', '/openstack/venvs/nova-1/bin/nova-compute'],
                (),
            ),
            (['/bin/bash', '/usr/local/bin/nova-compute'], ()),
            (['nova-compute --config-file=/a'], ('--config-file=/a',)),
            (['/usr/bin/python3 /usr/bin/nova-compute --debug'], ('--debug',)),
            (['nova-compute: 3 instances'], None),
        ):
            self.assertEqual((True, expected), nova_argv.arguments(argv), str(argv))

    def test_is_something_else(self) -> None:
        for argv in (
            [],
            [''],
            ['grep', 'nova-compute'],
            ['vim', '/etc/nova/nova-compute.conf'],
            ['vim', 'nova-compute'],
            ['tail', '-f', '/var/log/nova/nova-compute.log'],
            ['tail', '-f', 'nova-compute'],
            ['systemctl', 'restart', 'nova-compute'],
            ['sudo', 'nova-compute'],
            ['runuser', '-u', 'nova', '/usr/bin/nova-compute'],
            ['su', 'nova', '-c', 'nova-compute'],
            ['/bin/sh', '-c', 'nova-compute'],
            ['bash', '-lc', '/usr/bin/nova-compute'],
            ['/bin/bash', '/usr/local/bin/healthcheck_port', 'nova-compute', '5672'],
            ['python3', 'manage.py', 'nova-compute'],
            ['python3', '-u', 'wrap.py', 'nova-compute'],
            ['/usr/bin/nova-compute-service'],
            ['dumb-init', '--', 'nova-compute'],
            ['vim nova-compute'],
            ['-'],
            ['bash', '-'],
        ):
            self.assertEqual((False, None), nova_argv.arguments(argv), str(argv))

    def test_named_files_in_order_by_argparse(self) -> None:
        arguments = (
            *('--log-file', '/var/log/x', '--config-dir=/d', '--config-f', '/a'),
            *('--config-file=/b', '--debug'),
        )
        self.assertEqual(
            (('directory', '/d'), ('file', '/a'), ('file', '/b')), nova_argv.named_files(arguments)
        )

    def test_arguments_that_make_no_sense(self) -> None:
        for arguments in (('--config-file',), ('--config', 'x')):
            problem = nova_argv.named_files(arguments)
            assert isinstance(problem, Unread)
            self.assertEqual('Malformed', problem.error)

    def test_only_the_whole_option_turns_defaults_off(self) -> None:
        self.assertTrue(nova_argv.gives(['--config-file=/a'], '--config-file'))
        self.assertTrue(nova_argv.gives(['--config-file', '/a'], '--config-file'))
        self.assertFalse(nova_argv.gives(['--config-f', '/a'], '--config-file'))


class ControlGroupTest(base.BaseTestCase):
    def test_places(self) -> None:
        for path, unit, container in (
            ('/system.slice/nova-compute.service', 'nova-compute.service', None),
            (
                '/system.slice/system-devstack.slice/devstack@n-cpu.service',
                'devstack@n-cpu.service',
                None,
            ),
            (
                '/system.slice/snap.openstack-hypervisor.nova-compute.service',
                'snap.openstack-hypervisor.nova-compute.service',
                None,
            ),
            (f'/system.slice/docker-{ID}.scope', None, ID),
            (f'/docker/{ID}', None, ID),
            (f'/machine.slice/libpod-{ID}.scope/container', None, ID),
            (
                f'/system.slice/edpm_nova_compute.service/libpod-payload-{ID}',
                'edpm_nova_compute.service',
                ID,
            ),
            (f'/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope', None, ID),
            (f'/kubepods/besteffort/pod1/{ID}', None, ID),
            (f'/machine.slice/crio-{ID}.scope', None, ID),
            (f'/machine.slice/libpod-conmon-{ID}.scope', None, None),
            ('/lxc.payload.cpu1/system.slice/nova-compute.service', None, 'cpu1'),
            ('/lxc/cpu1/system.slice/nova-compute.service', None, 'cpu1'),
            ('/machine.slice/machine-node.scope/payload', None, 'node'),
            ('/machine.slice/systemd-nspawn@node.service/payload', None, 'node'),
            ('/user.slice/user-1.slice/user@1.service/app.slice/n.service', None, None),
            ('/user.slice/user-1000.slice/session-3.scope', None, None),
            ('/', None, None),
        ):
            self.assertEqual((unit, container), cgroup.place(f'0::{path}\n'), path)

    def test_v1_and_hybrid(self) -> None:
        text = (
            f'12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/docker.service\n'
        )
        self.assertEqual(ID, cgroup.place(text).container)
        text = '4:memory:/other.service\n1:name=systemd:/system.slice/a.service\n0::/\n'
        self.assertEqual(('a.service', None), cgroup.place(text))

    def test_its_own_container_is_the_host(self) -> None:
        theirs = '0::/machine.slice/machine-n.scope/payload/system.slice/nova-compute.service\n'
        ours = '0::/machine.slice/machine-n.scope/payload/system.slice/nested-agent.service\n'
        self.assertEqual(('nova-compute.service', None), cgroup.place(theirs, ours))
        other = ours.replace('machine-n.', 'machine-m.')
        self.assertEqual((None, 'n'), cgroup.place(theirs, other))

    def test_garbage(self) -> None:
        self.assertEqual((None, None), cgroup.place('\0:\n::::\nx\n'))


class FindTest(ProcTest):
    def test_nothing_runs(self) -> None:
        self.assertIsNone(nova_process.find(self.tree(process(7, ('grep', 'nova-compute')))))

    def test_processes_that_are_hidden(self) -> None:
        # hidepid=2: of other users' processes there is no trace.
        root = self.tree(process(7, ('bash',)))
        root.path('/proc/1/cmdline').unlink()
        root.path('/proc/1').rmdir()
        found = nova_process.find(root)
        assert isinstance(found, Unread)
        self.assertEqual(('/proc', 'EACCES'), (found.source, found.error))
        # hidepid=1: they are listed, and refuse.
        root = self.tree(process(7, ('bash',)))
        real = os.open

        def refusing(path: str, flags: int) -> int:
            if path.endswith('/proc/1/cmdline'):
                raise PermissionError
            return real(path, flags)

        with mock.patch.object(os, 'open', refusing):
            self.assertIsInstance(nova_process.find(root), Unread)
        self.assertIsNone(nova_process.find(root))

    def test_one_of_its_own_is_found_among_hidden_ones(self) -> None:
        root = self.tree(process(7, PYTHON_ARGV))
        root.path('/proc/1/cmdline').unlink()
        root.path('/proc/1').rmdir()
        self.assertIsInstance(nova_process.find(root), nova_process.Found)

    def test_captured_tree_has_no_processes(self) -> None:
        root = self.tree(process(7, PYTHON_ARGV))
        root.live = False
        self.assertIsNone(nova_process.find(root))

    def test_facts(self) -> None:
        ticks = os.sysconf('SC_CLK_TCK') * 250
        argv = (*PYTHON_ARGV, '--config-file', '/etc/nova/nova.conf')
        with mock.patch.object(time, 'time', return_value=5000.0):
            found = self.found(process(70, argv, ticks=ticks), process(5, ('init',)))
        self.assertEqual(70, found.process.pid)
        self.assertEqual(argv, found.process.argv)
        self.assertEqual(('--config-file', '/etc/nova/nova.conf'), found.arguments)
        self.assertEqual(5000.0 - 1000.0 + 250.0, found.process.started)
        self.assertEqual(ticks, found.process.ticks)
        self.assertEqual('nova-compute.service', found.process.unit)
        self.assertIsNone(found.process.container)
        self.assertEqual('/proc/70/root', found.root)
        self.assertEqual('/var/lib/nova', found.directory)
        self.assertEqual(162, found.uid)
        self.assertEqual((), found.others)

    def test_only_libvirt_variables_are_kept(self) -> None:
        environ = (
            b'OS_PASSWORD=secret\0OS_LIBVIRT__CPU_MODE=custom\0XOS_LIBVIRT__A=secret\0'
            b'OS_LIBVIRT__CPU_MODE=none\0OS_LIBVIRT__CPU_MODELS=a=b\0OS_LIBVIRT__BROKEN\0'
        )
        found = self.found(process(9, PYTHON_ARGV, environ=environ))
        self.assertEqual(
            {'OS_LIBVIRT__CPU_MODE': 'custom', 'OS_LIBVIRT__CPU_MODELS': 'a=b'},
            found.process.environment,
        )
        self.assertNotIn('secret', repr(found))

    def test_environment_unreadable(self) -> None:
        root = self.tree(process(9, PYTHON_ARGV))
        environ = root.path('/proc/9/environ')
        environ.unlink()
        environ.mkdir()
        found = nova_process.find(root)
        assert isinstance(found, nova_process.Found)
        assert isinstance(found.process.environment, Unread)
        self.assertEqual('EISDIR', found.process.environment.error)

    def test_environment_overwritten_by_the_title(self) -> None:
        # As setproctitle leaves it: the title's end, or nothing; not all of it has to be gone.
        for argv, environ in (
            (b'nova-compute: worker(0)\0', b'orker(0)' + bytes(36)),
            (b'/usr/bin/python3 /usr/bin/nova-compute\0', bytes(44)),
            (b'nova-compute: worker(0)\0', b'OS_LIBVIRT__CPU_MODE=custom\0'),
            (b'nova-compute: worker(0)\0', b''),
            (b'nova-compute' + bytes(18), bytes(44)),
        ):
            found = self.found(process(9, argv, environ=environ))
            self.assertEqual(
                Unread('/proc/9/environ', 'NotAvailable', 'overwritten by the process title'),
                found.process.environment,
                str((argv, environ)),
            )
        for argv in (b'nova-compute\0', b'/usr/bin/python3\0/usr/bin/nova-compute\0'):
            found = self.found(process(9, argv, environ=b''))
            self.assertEqual({}, found.process.environment)

    def test_wrapper_gives_way_to_its_child(self) -> None:
        wrapper = process(10, ('/bin/bash', '/usr/local/bin/nova-compute'))
        found = self.found(wrapper, process(30, PYTHON_ARGV, parent=10))
        self.assertEqual(30, found.process.pid)
        self.assertEqual((), found.others)

    def test_forked_copy_gives_way_to_its_parent(self) -> None:
        found = self.found(process(30, PYTHON_ARGV), process(4, PYTHON_ARGV, parent=30))
        self.assertEqual(30, found.process.pid)
        self.assertEqual((), found.others)

    def test_wrapper_process_and_copy(self) -> None:
        found = self.found(
            process(10, ('/bin/sh', 'nova-compute')),
            process(20, PYTHON_ARGV, parent=10),
            process(30, PYTHON_ARGV, parent=20),
        )
        self.assertEqual((20, ()), (found.process.pid, found.others))

    def test_host_before_container_then_lowest_pid(self) -> None:
        found = self.found(
            process(5, PYTHON_ARGV, group=f'0::/docker/{ID}\n'),
            process(40, (*PYTHON_ARGV, '--config-file=/ironic')),
            process(30, PYTHON_ARGV),
        )
        self.assertEqual((30, (5, 40)), (found.process.pid, found.others))

    def test_zombie_and_vanished(self) -> None:
        self.assertIsNone(nova_process.find(self.tree(process(7, b''))))
        root = self.tree(process(7, PYTHON_ARGV))
        real = root.read_bytes
        asked = []

        def once(name: str, limit: int = 0) -> bytes:
            asked.append(name)
            if asked.count('/proc/7/cmdline') > 1:
                raise ProcessLookupError
            return real(name)

        with mock.patch.object(root, 'read_bytes', once):
            self.assertIsNone(nova_process.find(root))
        self.assertIsNotNone(nova_process.find(root))

    def test_proc_that_cannot_be_listed(self) -> None:
        self.assertRaises(FileNotFoundError, nova_process.find, FakeRoot(Path('/nonexistent')))

    def test_root_of_a_container(self) -> None:
        group = f'0::/docker/{ID}\n'
        found = self.found(
            process(7, PYTHON_ARGV, group=group, root='-> /merged'), {'/merged/etc/x': ''}
        )
        self.assertEqual('/proc/7/root', found.root)
        self.assertEqual(ID, found.process.container)

    def test_root_that_cannot_be_followed(self) -> None:
        found = self.found(process(7, PYTHON_ARGV, root='-> /missing'))
        self.assertEqual('/', found.root)
        found = self.found(process(7, PYTHON_ARGV, root='-> /missing', group=f'0::/docker/{ID}\n'))
        assert isinstance(found.root, Unread)
        # Not ENOENT, which would be a file that nova-compute itself does not find.
        self.assertEqual(('/proc/7/root', 'NotAvailable'), (found.root.source, found.root.error))

    def test_malformed_stat(self) -> None:
        files = process(7, PYTHON_ARGV)
        for stat in ('', '7 (a', '7 (a) S x ' + '0 ' * 30, '7 (a) S 1 ' + '0 ' * 17 + 'x 0'):
            found = self.found({**files, '/proc/7/stat': stat})
            assert isinstance(found.process.started, Unread)
            self.assertEqual('Malformed', found.process.started.error)
