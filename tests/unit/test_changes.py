"""The record of what the agent changed: over several changes, and with others in between."""

import os
import stat
import tempfile
import time
from pathlib import Path

from oslotest import base

from nested_agent import durable
from nested_agent.actions import files
from nested_agent.actions.changed import ChangedModule, ChangedOption
from nested_agent.actions.changes import Changes
from nested_agent.exceptions import RecordError

CONF = '/etc/nova/nova.conf'
DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'
MODE = 'libvirt.cpu_mode'
FLAGS = 'libvirt.cpu_model_extra_flags'


class ChangesTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name, 'state')
        self.directory.mkdir()
        self.changes = Changes(self.directory)

    def change(
        self, before: str | None, after: str | None, path: str = CONF, **options: tuple[str, str]
    ) -> None:
        """Keep a change of whole contents, twice as after an interruption."""
        old, new = (None if each is None else each.encode() for each in (before, after))
        changed = {f'libvirt.{name}': ChangedOption(*each) for name, each in options.items()}
        for _ in range(2):
            if old is not None:
                self.changes.save(old)
            self.changes.keep_file(path, files.digest(old), files.digest(new), changed or None)

    def original(self) -> str | None:
        (changed,) = self.changes.files()
        if changed.original is None:
            return None
        return self.changes.original(changed.original).decode()

    def saved(self) -> int:
        return len(os.listdir(self.directory / 'originals'))


class FileTest(ChangesTestCase):
    def test_the_first_original_counts(self) -> None:
        self.change('o', 'a', cpu_mode=('x', 'y'))
        self.change('a', 'b', cpu_mode=('y', 'z'), virt_type=('qemu', 'kvm'))
        (changed,) = self.changes.files()
        self.assertEqual('o', self.original())
        self.assertTrue(changed.intact)
        self.assertEqual(ChangedOption('x', 'z'), changed.options[MODE])
        self.assertEqual(ChangedOption('qemu', 'kvm'), changed.options['libvirt.virt_type'])
        self.assertEqual({files.digest(x) for x in (b'o', b'a', b'b')}, set(changed.states))
        self.assertEqual(1, self.saved())

    def test_there_was_no_file(self) -> None:
        self.change(None, 'a', DROPIN)
        self.change('a', 'b', DROPIN)
        self.assertIsNone(self.original())
        self.assertEqual(0, self.saved())

    def test_others_put_the_original_back(self) -> None:
        for _ in range(3):
            self.change('o', 'a', cpu_mode=('x', 'y'))
        (changed,) = self.changes.files()
        self.assertTrue(changed.intact)
        self.assertEqual(ChangedOption('x', 'y'), changed.options[MODE])
        self.assertEqual('o', self.original())

    def test_others_wrote_a_file_without_anything_of_ours(self) -> None:
        self.change('o', 'a', cpu_mode=('x', 'y'))
        self.change('theirs', 'b', cpu_mode=('w', 'y'))
        (changed,) = self.changes.files()
        self.assertTrue(changed.intact)
        self.assertEqual('theirs', self.original())
        self.assertEqual(ChangedOption('w', 'y'), changed.options[MODE])
        self.assertEqual(1, self.saved())

    def test_others_changed_the_file_and_left_what_is_ours(self) -> None:
        self.change('o', 'a', cpu_mode=('x', 'y'))
        self.change('a and theirs', 'b', virt_type=('qemu', 'kvm'))
        (changed,) = self.changes.files()
        self.assertFalse(changed.intact)
        self.assertEqual(ChangedOption('x', 'y'), changed.options[MODE])
        self.assertEqual('o', self.original())

    def test_others_changed_one_of_our_options(self) -> None:
        self.change('o', 'a', cpu_mode=('x', 'y'), virt_type=('qemu', 'kvm'))
        self.change('theirs', 'b', cpu_mode=('w', 'y'))
        (changed,) = self.changes.files()
        self.assertFalse(changed.intact)
        # Without the agent it would be what they wrote.
        self.assertEqual(ChangedOption('w', 'y'), changed.options[MODE])
        self.assertEqual(ChangedOption('qemu', 'kvm'), changed.options['libvirt.virt_type'])

    def test_a_file_of_our_own_is_ours_whatever_others_wrote(self) -> None:
        self.change(None, 'a', DROPIN)
        self.change('theirs', 'b', DROPIN)
        (changed,) = self.changes.files()
        self.assertIsNone(changed.original)
        self.assertNotIn(files.digest(b'theirs'), changed.states)

    def test_dropped(self) -> None:
        self.change('o', 'a', cpu_mode=('x', 'y'))
        self.change(None, 'd', DROPIN)
        self.assertEqual([DROPIN, CONF], [each.path for each in self.changes.files()])
        for _ in range(2):
            self.changes.drop_file(CONF)
            self.assertEqual([DROPIN], [each.path for each in self.changes.files()])
            self.assertEqual(0, self.saved())

    def test_an_original_is_kept_as_long_as_a_file_needs_it(self) -> None:
        self.change('o', 'a', cpu_mode=('x', 'y'))
        self.change('o', 'b', '/etc/nova/nova-compute.conf', cpu_mode=('x', 'y'))
        self.changes.drop_file('/etc/nova/nova-compute.conf')
        self.changes.discard(files.digest(b'o'))
        self.assertEqual('o', self.original())

    def test_what_a_kill_left_is_swept_away(self) -> None:
        self.change('mine', 'ours')
        self.changes.save(b'about to be replaced')
        (self.directory / 'originals/.5678.new').touch()
        torn = self.directory / '.report.json.1234.new'
        torn.touch()
        self.changes.sweep(time.time())
        self.assertEqual(1, self.saved())
        self.assertEqual('mine', self.original())
        # It may be in use by another process.
        self.assertTrue(torn.exists())
        self.changes.sweep(time.time() + 2 * durable.ABANDONED_SECONDS)
        self.assertFalse(torn.exists())
        self.assertEqual('mine', self.original())

    def test_readable_by_root_alone(self) -> None:
        self.change('password = x', 'a', cpu_mode=('x', 'y'))
        for path in self.directory.rglob('*'):
            wanted = 0o700 if path.is_dir() else 0o600
            self.assertEqual(wanted, stat.S_IMODE(path.stat().st_mode), path)
        self.assertEqual(3, len(list(self.directory.rglob('*'))))


class ModuleTest(ChangesTestCase):
    def test_the_first_time_counts(self) -> None:
        self.assertIsNone(self.changes.module())
        self.changes.keep_module('kvm_amd', 'b1', {'nested': '0'})
        self.changes.keep_module('kvm_amd', 'b2', None)
        self.change('o', 'a')
        first = ChangedModule('kvm_amd', 'b1', {'nested': '0'})
        self.assertEqual(first, self.changes.module())
        self.changes.drop_module()
        self.changes.drop_module()
        self.assertIsNone(self.changes.module())
        self.changes.keep_module('kvm_amd', None, None)
        self.assertEqual(ChangedModule('kvm_amd', None, None), self.changes.module())
        self.assertEqual('o', self.original())

    def test_cleared(self) -> None:
        self.change('o', 'a')
        self.changes.keep_module('kvm_amd', None, None)
        aside = self.changes.set_aside(b'theirs', 'nova.conf')
        for _ in range(2):
            self.changes.clear()
            self.assertEqual((), self.changes.files())
            self.assertIsNone(self.changes.module())
        self.assertEqual(0, self.saved())
        self.assertEqual(b'theirs', aside.read_bytes())


class DamagedTest(ChangesTestCase):
    def test_a_damaged_record_is_told_and_never_overwritten(self) -> None:
        self.change('o', 'a')
        file = self.directory / 'changes.json'
        good = file.read_text()
        for bad in (
            *('', '{', 'null', '[]', '{"version": 2}', '{"version": 1}', good[:-20]),
            *(good.replace('"states"', '"x"'), good.replace('"files": [', '"files": [7,')),
        ):
            file.write_text(bad)
            for call in (
                self.changes.files,
                self.changes.module,
                lambda: self.changes.keep_file(CONF, None, None, None),
                lambda: self.changes.keep_module('kvm_amd', None, None),
                lambda: self.changes.drop_file(CONF),
                lambda: self.changes.discard(files.digest(b'o')),
            ):
                error = self.assertRaises(RecordError, call)
                self.assertIn(str(file), str(error))
                self.assertIn('backup', str(error))
            self.assertEqual(bad, file.read_text())
        self.assertEqual(1, self.saved())

    def test_a_damaged_original(self) -> None:
        self.change('o', 'a')
        name = files.digest(b'o')
        path = self.directory / 'originals' / name
        path.write_text('x')
        self.assertIn('damaged', str(self.assertRaises(RecordError, self.changes.original, name)))
        path.unlink()
        self.assertIn('gone', str(self.assertRaises(RecordError, self.changes.original, name)))

    def test_it_cannot_be_written(self) -> None:
        changes = Changes(self.directory / 'missing')
        for call in (
            lambda: changes.save(b'x'),
            lambda: changes.keep_module('kvm_amd', None, None),
            lambda: changes.set_aside(b'x', 'y'),
        ):
            error = self.assertRaises(RecordError, call)
            self.assertIn('directory is not there (ENOENT)', str(error))
