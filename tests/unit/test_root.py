"""The seam: nothing is read outside the root, and commands are bounded."""

import contextlib
import errno
import os
import shutil
import signal
import time
import types
from pathlib import Path
from unittest import mock

from oslotest import base

from nested_agent.facts import Unread
from nested_agent.node import root as root_module
from nested_agent.node.root import Root
from tests.unit.fakes import make_tree


class CapturedTreeTest(base.BaseTestCase):
    def tree(self, files):
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        return Root(directory.name)

    def test_a_file_is_read_below_the_root(self):
        root = self.tree({'/etc/hostname': 'node1\n'})
        self.assertEqual('node1\n', root.read_text('/etc/hostname'))

    def test_an_absolute_link_stays_inside(self):
        root = self.tree({'/etc/a': '-> /etc/hostname', '/etc/hostname': 'inside\n'})
        self.assertEqual('inside\n', root.read_text('/etc/a'))

    def test_a_link_in_the_middle_of_a_path_stays_inside(self):
        root = self.tree({'/lib': '-> /usr/lib', '/usr/lib/x': 'inside'})
        self.assertEqual('inside', root.read_text('/lib/x'))

    def test_dots_do_not_lead_out(self):
        root = self.tree({'/etc/a': '-> ../../../../../../etc/passwd'})
        error = self.assertRaises(OSError, root.read_text, '/etc/a')
        self.assertEqual(errno.ENOENT, error.errno)
        self.assertEqual(root.base / 'etc/passwd', root.path('/../../etc/passwd'))

    def test_a_loop_of_links_is_an_error(self):
        root = self.tree({'/a': '-> /b', '/b': '-> /a'})
        error = self.assertRaises(OSError, root.read_text, '/a')
        self.assertEqual(errno.ELOOP, error.errno)

    def test_what_the_unit_hides_is_not_absent(self):
        root = self.tree({'/home/nova/nova.conf': '', '/root/x': '', '/run/y': ''})
        names = ('/home/nova/other.conf', '/root/other', '/run/user/1/x', '/etc/x')
        for name in names:
            for read in (root.read_text, root.stat):
                self.assertRaises(FileNotFoundError, read, name)
        # What ProtectHome= puts there instead: empty, and to be entered by nobody.
        for top in ('/home', '/root', '/run/user'):
            shutil.rmtree(root.path(top), ignore_errors=True)
            root.path(top).mkdir(mode=0o000)
        for name in names[:-1]:
            for read in (root.read_text, root.stat):
                self.assertRaises(PermissionError, read, name)
        self.assertRaises(FileNotFoundError, root.stat, '/etc/x')
        self.assertFalse(root.exists('/home/nova/nova.conf'))

    def test_a_pipe_does_not_block(self):
        root = self.tree({'/etc/x': ''})
        os.mkfifo(root.base / 'etc/pipe')
        error = self.assertRaises(OSError, root.read_text, '/etc/pipe')
        self.assertEqual(errno.EINVAL, error.errno)

    def test_a_huge_file_is_refused(self):
        root = self.tree({'/big': b'x' * 2000})
        error = self.assertRaises(OSError, root.read_bytes, '/big', 1000)
        self.assertEqual(errno.EFBIG, error.errno)

    def test_a_directory_is_not_a_file(self):
        root = self.tree({'/etc/x': ''})
        self.assertEqual('EISDIR', root.try_text('/etc').error)

    def test_a_nul_in_a_name_is_an_error_like_any_other(self):
        for root in (self.tree({}), Root()):
            for ask in (root.path, root.stat, root.present, root.names, root.open, root.read_text):
                error = self.assertRaises(OSError, ask, '/etc/a\0b')
                self.assertEqual(errno.EINVAL, error.errno)
            self.assertFalse(root.exists('/etc/a\0b'))
            self.assertEqual('EINVAL', root.try_text('/etc/a\0b').error)

    def test_absent_is_not_unreadable(self):
        root = self.tree({'/etc/a': ''})
        self.assertTrue(root.present('/etc/a'))
        self.assertFalse(root.present('/etc/b'))
        self.assertFalse(root.present('/etc/a/b'))
        Path(root.base, 'etc').chmod(0)
        self.addCleanup(Path(root.base, 'etc').chmod, 0o700)
        if os.getuid() == 0:
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        self.assertRaises(PermissionError, root.present, '/etc/a')
        self.assertFalse(root.exists('/etc/a'))

    def test_a_pipe_is_no_regular_file(self):
        root = self.tree({'/etc/x': ''})
        os.mkfifo(root.base / 'etc/pipe')
        error = self.assertRaises(OSError, root.open_regular, '/etc/pipe')
        self.assertEqual(errno.EINVAL, error.errno)
        self.assertEqual('EINVAL', root.try_text('/etc/pipe').error)

    def test_a_name_that_is_no_text_can_be_printed(self):
        found = self.tree({}).try_text('/etc/\udcff')
        self.assertEqual('/etc/\ufffd', found.source)

    def test_no_command_runs(self):
        result = self.tree({}).run(['/bin/true'], timeout=5)
        self.assertIsInstance(result, Unread)
        self.assertEqual('NotAvailable', result.error)

    def test_there_are_no_processes(self):
        self.assertEqual([], list(self.tree({'/proc/1/cmdline': ''}).pids()))

    def test_a_container_root_is_contained_too(self):
        root = self.tree({'/proc/7/root/etc/a': '-> /secret', '/secret': 'host'})
        error = self.assertRaises(OSError, root.below('/proc/7/root').read_text, '/etc/a')
        self.assertEqual(errno.ENOENT, error.errno)


class CommandTest(base.BaseTestCase):
    """What becomes of a command and of what it starts; each tells its pids by a file."""

    def setUp(self):
        super().setUp()
        directory = make_tree({'/x': ''})
        self.addCleanup(directory.cleanup)
        self.told = Path(directory.name, 'pids')

    def pids(self):
        return [int(word) for word in self.told.read_text().split()]

    def overdue(self, script, ready=lambda: True):
        """Run a script whose time is up as soon as it has told its pids, and ``ready`` says so."""
        begun = None

        def clock():
            nonlocal begun
            if begun is None:  # from which on the time is counted, however fast the script was
                begun = time.monotonic()
                return begun
            told = self.told.exists() and self.told.read_text().endswith('\n')
            # Should it never tell, the test fails instead of hanging.
            return begun + 1e6 if told and ready() else time.monotonic()

        clocks = types.SimpleNamespace(monotonic=clock)
        with mock.patch.object(root_module, 'time', clocks):
            return Root().run(['/bin/sh', '-c', script, 'sh', str(self.told)], timeout=120)

    def assert_dead(self, pid):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z':
                    return
            except OSError:
                return
            time.sleep(0.01)
        self.fail(f'{pid} still runs')

    def test_its_children_are_killed_with_it(self):
        done = self.overdue('sleep 600 & echo $$ $! >"$1"; wait')
        self.assertEqual('Timeout', done.error)
        for pid in self.pids():
            self.assert_dead(pid)

    def test_so_are_those_it_left_behind(self):
        def ended():
            try:
                stat = Path(f'/proc/{self.pids()[0]}/stat').read_text()
            except OSError:
                return True
            return stat.rpartition(')')[2].split()[0] == 'Z'

        done = self.overdue('sleep 600 & echo $$ $! >"$1"', ended)
        self.assertEqual('Timeout', done.error)
        for pid in self.pids():
            self.assert_dead(pid)

    def test_one_that_ignores_signals_does_not_hang_us(self):
        script = 'trap "" TERM INT HUP QUIT; echo $$ >"$1"; while :; do sleep 600; done'
        self.assertEqual('Timeout', self.overdue(script).error)
        self.assert_dead(self.pids()[0])

    def test_a_daemon_that_keeps_its_output_open_does_not_hang_us(self):
        done = self.overdue('setsid sh -c \'echo $$ >"$1"; exec sleep 600\' sh "$1" &')
        self.addCleanup(os.kill, self.pids()[0], signal.SIGKILL)
        self.assertEqual('Timeout', done.error)

    def test_alive_is_called_meanwhile(self):
        script = 'until [ -e "$1" ]; do sleep 0.05; done; echo seen'
        command = ['/bin/sh', '-c', script, 'sh', str(self.told)]
        done = Root().run(command, timeout=120, alive=self.told.touch)
        self.assertEqual((0, 'seen\n'), (done.returncode, done.stdout))

    def test_an_alive_that_raises_ends_it(self):
        class StopError(Exception):
            pass

        def alive():
            with contextlib.suppress(OSError):
                if self.told.read_text().endswith('\n'):
                    raise StopError

        command = ['/bin/sh', '-c', 'sleep 600 & echo $$ $! >"$1"; wait', 'sh', str(self.told)]
        self.assertRaises(StopError, Root().run, command, timeout=120, alive=alive)
        for pid in self.pids():
            self.assert_dead(pid)

    def test_much_output_is_kept_whole(self):
        done = Root().run(['/usr/bin/head', '-c', '3000000', '/dev/zero'], timeout=120)
        self.assertEqual(3000000, len(done.stdout))

    def test_how_it_ended_is_told(self):
        done = Root().run(['/bin/sh', '-c', 'echo out; echo err >&2; exit 3'], timeout=120)
        self.assertEqual((3, 'out\n', 'err\n'), tuple(done))

    def test_it_reads_nothing_from_us(self):
        self.assertEqual((0, '', ''), tuple(Root().run(['/bin/cat'], timeout=120)))


class FilterTest(base.BaseTestCase):
    def filtered(self, *command, timeout=120.0):
        with open('/dev/null', 'rb') as source:  # noqa: PTH123
            return b''.join(Root().filtered(command, source.fileno(), timeout=timeout))

    def test_what_takes_too_long_is_not_taken_for_damaged(self):
        error = self.assertRaises(OSError, self.filtered, '/bin/sleep', '600', timeout=0.1)
        self.assertEqual(errno.ETIMEDOUT, error.errno)

    def test_what_fails_is(self):
        self.assertEqual(errno.EIO, self.assertRaises(OSError, self.filtered, '/bin/false').errno)
        self.assertEqual(b'', self.filtered('/bin/cat'))


class ThisHostTest(base.BaseTestCase):
    def test_own_processes_are_seen(self):
        self.assertIn(os.getpid(), list(Root().pids()))

    def test_a_command_has_a_clean_environment(self):
        os.environ['LD_PRELOAD_TEST'] = 'x'
        self.addCleanup(os.environ.pop, 'LD_PRELOAD_TEST')
        done = Root().run(['/usr/bin/env'], timeout=30)
        self.assertEqual({'PATH', 'LC_ALL'}, {line.split('=')[0] for line in done.stdout.split()})

    def test_a_command_that_hangs_is_killed(self):
        done = Root().run(['/bin/sleep', '600'], timeout=0.1)
        self.assertEqual('Timeout', done.error)

    def test_a_command_that_is_not_there(self):
        done = Root().run(['/nonexistent/modprobe', '-D'], timeout=1)
        self.assertEqual(('/nonexistent/modprobe -D', 'ENOENT'), (done.source, done.error))

    def test_permission_denied_is_said(self):
        directory = make_tree({'/f': 'secret'})
        self.addCleanup(directory.cleanup)
        Path(directory.name, 'f').chmod(0)
        if os.getuid() == 0:
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        unread = Root().try_text(f'{directory.name}/f')
        self.assertEqual('EACCES', unread.error)
