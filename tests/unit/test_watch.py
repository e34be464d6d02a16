"""Changes as the kernel tells them (real inotify, real files)."""

import os
import select
import tempfile
from pathlib import Path

from oslotest import base

from nested_agent.watch import Watcher


class WatcherTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix='nested-agent-watch-')
        self.addCleanup(directory.cleanup)
        self.base = Path(os.path.realpath(directory.name))
        self.watcher = Watcher()
        self.addCleanup(self.watcher.close)

    def changed(self):
        """Return the names below the base that changed; inotify queues before the write returns."""
        found = set()
        while select.select([self.watcher], [], [], 0)[0]:
            found |= self.watcher.drain()
        return {path.removeprefix(f'{self.base}/') for path in found}

    def file(self, name, text=''):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def test_a_write_in_place(self):
        path = self.file('nova.conf')
        self.watcher.follow([str(path)])
        path.write_text('x')
        self.assertEqual({'nova.conf'}, self.changed())

    def test_a_save_by_rename(self):
        path = self.file('nova.conf')
        self.watcher.follow([str(path)])
        for _ in range(3):
            self.file('.nova.conf.swp', 'new').replace(path)
            self.assertEqual({'nova.conf'}, self.changed())

    def test_neighbours_do_not_matter(self):
        self.watcher.follow([str(self.file('nova.conf'))])
        self.file('other.conf', 'x')
        self.assertEqual(set(), self.changed())

    def test_reading_is_no_change(self):
        path = self.file('nova.conf')
        self.watcher.follow([str(path), str(self.base)])
        path.read_text()
        os.listdir(self.base)
        self.assertEqual(set(), self.changed())

    def test_everything_in_a_directory_matters(self):
        self.file('modprobe.d/a.conf')
        self.watcher.follow([str(self.base / 'modprobe.d')])
        self.file('modprobe.d/new.conf', 'x')
        (self.base / 'modprobe.d/a.conf').unlink()
        self.assertEqual({'modprobe.d/new.conf', 'modprobe.d/a.conf'}, self.changed())

    def test_a_path_that_comes_to_be(self):
        path = self.base / 'run/modprobe.d'
        self.watcher.follow([str(path)])
        path.parent.mkdir()
        self.assertEqual({'run'}, self.changed())
        self.watcher.follow([str(path)])
        path.mkdir()
        self.assertEqual({'run/modprobe.d'}, self.changed())
        self.watcher.follow([str(path)])
        self.file('run/modprobe.d/x.conf')
        self.assertEqual({'run/modprobe.d/x.conf'}, self.changed())

    def test_a_directory_that_is_replaced(self):
        path = self.file('etc/nova/nova.conf')
        self.watcher.follow([str(path), str(path.parent)])
        path.parent.rename(self.base / 'old')
        self.assertIn('etc/nova', self.changed())
        self.file('etc/nova/nova.conf')
        self.watcher.follow([str(path), str(path.parent)])
        self.changed()
        path.write_text('new')
        self.assertEqual({'etc/nova/nova.conf'}, self.changed())

    def test_the_target_of_a_link(self):
        target = self.file('real/nova.conf')
        link = self.base / 'nova.conf'
        link.symlink_to(target)
        self.watcher.follow([str(link)])
        target.write_text('x')
        self.assertEqual({'real/nova.conf'}, self.changed())

    def test_what_is_not_followed_any_more_is_quiet(self):
        path = self.file('a/nova.conf')
        self.assertTrue(self.watcher.follow([str(path)]))
        self.assertFalse(self.watcher.follow([str(path)]))
        self.watcher.follow([str(self.file('b/nova.conf'))])
        path.write_text('x')
        self.assertEqual(set(), self.changed())

    def test_attributes_count(self):
        path = self.file('nova.conf')
        self.watcher.follow([str(path)])
        path.chmod(0o600)
        self.assertEqual({'nova.conf'}, self.changed())

    def test_what_may_not_be_looked_at_is_no_error(self):
        path = self.file('private/nova.conf')
        path.parent.chmod(0)
        self.addCleanup(path.parent.chmod, 0o700)
        if os.geteuid() == 0:
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        self.assertRaises(PermissionError, path.stat)
        self.assertTrue(self.watcher.follow([str(path)]))
