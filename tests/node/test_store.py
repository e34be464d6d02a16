"""The cache of the test bed: what parallel and killed test runs may rely on."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fixtures
from oslotest import base

from tests.node.bed.polling import poll
from tests.node.bed.store import Store


def write(path: Path) -> None:
    (path / 'file').write_text('complete')


class StoreTest(base.BaseTestCase):
    """Two stores on one directory stand for two processes: locks belong to open files."""

    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)
        self.mine = Store(self.root)
        self.other = Store(self.root)

    def test_an_entry_is_built_once_and_given_to_all_at_once(self) -> None:
        builds = []

        def build(path: Path) -> None:
            builds.append(path)
            inode = (self.root / 'locks' / 'thing-1.build').stat().st_ino
            poll(lambda: self._waited_for(inode), 60, 'the other one waits')
            write(path)

        with ThreadPoolExecutor() as threads:
            paths = [threads.submit(s.entry, 'thing', '1', build) for s in (self.mine, self.other)]
            self.assertEqual([self.root / 'thing-1'] * 2, [path.result(60) for path in paths])
        self.assertEqual(1, len(builds))
        self.assertEqual('complete', (self.root / 'thing-1' / 'file').read_text())

    def test_a_failed_build_leaves_nothing_and_is_not_repeated(self) -> None:
        def build(path: Path) -> None:
            write(path)
            raise RuntimeError(f'attempt in {path}')

        first = self.assertRaises(RuntimeError, self.mine.entry, 'thing', '1', build)
        self.assertIs(first, self.assertRaises(RuntimeError, self.mine.entry, 'thing', '1', write))
        self.assertEqual([], list((self.root / 'scratch').iterdir()))
        self.assertTrue(self.other.entry('thing', '1', write).is_dir())

    def test_old_entries_go_but_not_those_in_use(self) -> None:
        unused = self.root / 'thing-1'
        unused.mkdir()
        used = self.mine.entry('thing', '2', write)
        new = self.other.entry('thing', '3', write, keep=1)
        self.assertEqual({used, new}, set(self.root.glob('thing-*')))
        self.assertFalse(unused.exists())

    def _waited_for(self, inode: int) -> bool:
        locks = Path('/proc/locks').read_text().splitlines()
        return any('->' in line and f':{inode} ' in line for line in locks)
