"""The seam: nothing is read outside the root, and commands are bounded."""

import errno
import os
from pathlib import Path

from oslotest import base

from nested_agent.facts import Unread
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
