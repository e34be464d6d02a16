"""One file changed by a step: undone or kept after an interruption or an error anywhere."""

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from oslotest import base
from testtools.content import text_content

from nested_agent.actions.changes import Changes
from nested_agent.actions.file_step import ROOM, FileStep
from nested_agent.actions.site import Site
from nested_agent.exceptions import StepError
from nested_agent.node import mounts
from tests.unit.fakes import FakeRoot, make_tree

CONF = '/etc/nova/nova.conf'
OLD = b'[libvirt]\ncpu_mode = custom\n'
NEW = b'[libvirt]\ncpu_mode = host-passthrough\n'
#: Everything that changes a file system.
OPERATIONS = (
    *('open', 'write', 'fsync', 'fchown', 'fchmod', 'setxattr', 'utime', 'link', 'rename'),
    *('unlink', 'mkdir', 'rmdir'),
)


class Killed(BaseException):
    """The process is gone: nothing it would still do happens."""


@contextlib.contextmanager
def failing(number: int, error: Callable[[], BaseException], *, for_good: bool) -> Iterator[None]:
    """Raise at the n-th operation on files, and at every later one if it is ``for_good``."""
    count = 0

    def wrapped(real: Any) -> Any:
        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == number or (count > number and for_good):
                raise error()
            return real(*args, **kwargs)

        return operation

    with contextlib.ExitStack() as stack:
        for name in OPERATIONS:
            real = (lambda fd: None) if name == 'fsync' else getattr(os, name)
            stack.enter_context(mock.patch.object(os, name, wrapped(real)))
        yield


def killed(number: int) -> contextlib.AbstractContextManager[None]:
    return failing(number, Killed, for_good=True)


class Write(FileStep):
    name = 'write'
    result: bytes | None = NEW

    def content(self, before: bytes | None) -> bytes | None:
        return self.result


class Remove(Write):
    result = None


class FileTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.new_node()

    def new_node(self, content: bytes | None = OLD) -> None:
        """Begin anew with a node that has one file, or none."""
        files: dict[str, str | bytes] = {'/etc/nova/other': 'x', '/state/x': ''}
        if content is not None:
            files[CONF] = content
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        self.tree = Path(directory.name)
        self.file = self.tree / CONF[1:]
        if content is not None:
            self.file.chmod(0o640)
            os.utime(self.file, (1e9, 1e9))
        self.root = FakeRoot(self.tree)
        state = self.tree / 'state'
        self.site = Site(self.root, mock.Mock(), Changes(state), state, None)

    def identity(self) -> Any:
        """Return what makes a file the very same one, None for no file."""
        if not self.file.exists():
            return None
        got = self.file.stat()
        return got.st_ino, got.st_mode, got.st_uid, got.st_mtime_ns, self.file.read_bytes()

    def names(self) -> list[str]:
        return sorted(os.listdir(self.file.parent))

    def prepared(self, kind: type[FileStep] = Write) -> tuple[FileStep, Any]:
        step = kind(self.site, (), CONF)
        step.precheck()
        return step, step.record()

    def originals(self) -> list[str]:
        directory = self.tree / 'state' / 'originals'
        return os.listdir(directory) if directory.exists() else []


class InterruptedTest(FileTestCase):
    """Killed before any operation on a file, then undone or kept by another process."""

    CASES: tuple[tuple[type[FileStep], bytes | None], ...] = (
        (Write, OLD),
        (Write, None),
        (Remove, OLD),
    )

    def apply_killed(
        self, kind: type[FileStep], content: bytes | None, at: int
    ) -> tuple[Any, bool]:
        """Return the record, and whether apply came to its end."""
        self.new_node(content)
        step, record = self.prepared(kind)
        self.before = self.identity()
        self.listed = self.names()
        try:
            with killed(at):
                step.apply()
        except Killed:
            return record, False
        return record, True

    def check_undone(self) -> None:
        self.assertEqual(self.before, self.identity())
        self.assertEqual(self.listed, self.names())
        self.assertEqual([], self.originals())
        self.assertEqual((), self.site.changes.files())

    def test_undone_wherever_apply_was_killed(self) -> None:
        total = 0
        for kind, content in self.CASES:
            for at in range(1, 100):
                record, whole = self.apply_killed(kind, content, at)
                for _ in range(2):
                    kind.undo(self.site, record, rebooted=True)
                    self.check_undone()
                total += 1
                if whole:
                    break
            self.assertGreater(at, 5)
        self.addDetail('count', text_content(f'{total} interruptions of apply undone'))

    def test_undone_wherever_undo_was_killed(self) -> None:
        total = 0
        for kind, content in self.CASES:
            for at in (1, 8, 12, 99):
                for number in range(1, 100):
                    record, _ = self.apply_killed(kind, content, at)
                    whole = True
                    try:
                        with killed(number):
                            kind.undo(self.site, record, rebooted=False)
                    except Killed:
                        whole = False
                    kind.undo(self.site, record, rebooted=True)
                    self.check_undone()
                    total += 1
                    if whole:
                        break
        self.assertGreater(total, 50)
        self.addDetail('count', text_content(f'{total} interruptions of undo undone'))

    def test_kept_wherever_forget_was_killed(self) -> None:
        total = 0
        for kind, content in self.CASES:
            for number in range(1, 100):
                record, _ = self.apply_killed(kind, content, 99)
                whole = True
                try:
                    with killed(number):
                        kind.forget(self.site, record)
                except Killed:
                    whole = False
                for _ in range(2):
                    kind.forget(self.site, record)
                    new = self.file.read_bytes() if self.file.exists() else None
                    self.assertEqual(kind.result, new)
                    self.assertEqual([], os.listdir(self.file.parent / ROOM))
                    (changed,) = self.site.changes.files()
                    self.assertEqual(CONF, changed.path)
                    if changed.original is None:
                        self.assertIsNone(content)
                    else:
                        self.assertEqual(content, self.site.changes.original(changed.original))
                total += 1
                if whole:
                    break
        self.assertGreater(total, 20)
        self.addDetail('count', text_content(f'{total} interruptions of forget finished'))


class ErrorTest(FileTestCase):
    def test_an_error_of_any_operation(self) -> None:
        """Told in words, and nothing is left behind; also where links cannot be made."""
        total = 0
        for links in (True, False):
            for code in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EPERM, errno.EIO):
                for number in range(1, 100):
                    self.new_node()
                    step, record = self.prepared()
                    before, listed = self.identity(), self.names()
                    told = False
                    with contextlib.ExitStack() as stack:
                        stack.enter_context(
                            failing(number, partial(OSError, code, 'x'), for_good=False)
                        )
                        if not links:
                            refusal = mock.Mock(side_effect=OSError(errno.EPERM, 'x'))
                            stack.enter_context(mock.patch.object(os, 'link', refusal))
                        try:
                            step.apply()
                        except StepError as error:
                            told = True
                            self.assertIn(errno.errorcode[code], str(error))
                            self.assertNotIn(
                                '.new',
                                ''.join(os.listdir(step._spare.parent))
                                if step._spare.parent.exists()
                                else '',
                            )
                    whole = not told and self.file.read_bytes() == NEW
                    Write.undo(self.site, record, rebooted=False)
                    self.assertEqual(listed, self.names())
                    self.assertEqual(before[1:], self.identity()[1:])
                    if links and told:
                        self.assertEqual(before, self.identity())
                    total += 1
                    if whole and number > 40:
                        break
        self.addDetail('count', text_content(f'{total} errors handled'))

    def test_words(self) -> None:
        for code, words in (
            (errno.ENOSPC, 'no space'),
            (errno.EBUSY, 'mount point'),
            (errno.EROFS, 'read-only'),
            (errno.EPERM, 'chattr'),
        ):
            self.new_node()
            step, _ = self.prepared()
            with failing(1, partial(OSError, code, 'x'), for_good=True):
                error = self.assertRaises(StepError, step.apply)
            self.assertIn(words, str(error))
            self.assertIn(CONF, str(error))


class PrecheckTest(FileTestCase):
    def refusal(self, path: str = CONF) -> str:
        return str(self.assertRaises(StepError, Write(self.site, (), path).precheck))

    def test_a_mount_point(self) -> None:
        mounted = str(self.file).replace('/nova.conf', '/nova\\040x.conf')
        line = f'36 35 98:0 /x {mounted} rw,noatime master:1 - ext4 /dev/root rw\n'
        table = self.tree / mounts.MOUNTS[1:]
        table.parent.mkdir(parents=True)
        table.write_text(line)
        self.file.with_name('nova x.conf').write_text('')
        self.prepared()
        self.assertIn('mount point', self.refusal('/etc/nova/nova x.conf'))

    def test_another_name(self) -> None:
        self.file.with_name('linked').hardlink_to(self.file)
        self.assertIn('hard links', self.refusal())

    def test_no_directory(self) -> None:
        self.assertIn('directory is not there', self.refusal('/etc/none/n.conf'))

    def test_no_file(self) -> None:
        self.assertIn('EISDIR', self.refusal('/etc/nova'))

    def test_a_circle_of_links(self) -> None:
        (self.file.parent / 'loop').symlink_to('loop')
        self.assertIn('ELOOP', self.refusal('/etc/nova/loop'))

    def test_too_large(self) -> None:
        os.truncate(self.file, 5 << 20)
        self.assertIn('EFBIG', self.refusal())

    def test_a_damaged_record_of_changes(self) -> None:
        (self.tree / 'state' / 'changes.json').write_text('{')
        self.assertIn('changes.json', self.refusal())

    def test_changed_before_the_record(self) -> None:
        step = Write(self.site, (), CONF)
        step.precheck()
        self.file.write_bytes(b'x')
        self.assertIn('somebody else', str(self.assertRaises(StepError, step.record)))

    def test_changed_between_record_and_apply(self) -> None:
        step, record = self.prepared()
        self.file.write_bytes(b'x')
        self.assertIn('somebody else', str(self.assertRaises(StepError, step.apply)))
        self.assertIn('left as it is', Write.undo(self.site, record, rebooted=False))
        self.assertEqual(b'x', self.file.read_bytes())

    def test_nothing_to_do(self) -> None:
        self.new_node(NEW)
        before, listed = self.identity(), self.names()
        step, record = self.prepared()
        step.apply()
        step.verify()
        self.assertIn('as it was', Write.undo(self.site, record, rebooted=False))
        Write.forget(self.site, record)
        self.assertEqual((before, listed), (self.identity(), self.names()))
        self.assertEqual((), self.site.changes.files())


class WrittenTest(FileTestCase):
    def apply(self) -> Any:
        step, record = self.prepared()
        step.apply()
        self.assertEqual(f'{CONF} is written', step.verify())
        return record

    def test_owner_and_mode(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.file, 1234, 2345)
        self.apply()
        got = self.file.stat()
        self.assertEqual(0o640, stat.S_IMODE(got.st_mode))
        if os.geteuid() == 0:
            self.assertEqual((1234, 2345), (got.st_uid, got.st_gid))

    def test_attributes(self) -> None:
        directory = self.file.parent
        try:
            os.setxattr(self.file, 'user.note', b'kept')
            os.setxattr(directory, 'system.posix_acl_default', acl(0x4))
        except OSError as error:
            self.skipTest(f'no extended attributes here: {error}')
        self.apply()
        self.assertEqual(['user.note'], [x for x in os.listxattr(self.file) if 'sel' not in x])
        self.assertEqual(0o640, stat.S_IMODE(self.file.stat().st_mode))
        # And an access list of its own, with another mask than the directory's.
        self.new_node()
        os.setxattr(self.file, 'system.posix_acl_access', acl(0x6))
        before = os.getxattr(self.file, 'system.posix_acl_access')
        self.apply()
        self.assertEqual(before, os.getxattr(self.file, 'system.posix_acl_access'))

    def test_links_stay(self) -> None:
        link = self.file.parent / 'link.conf'
        link.symlink_to('/etc/nova/nova.conf')
        step = Write(self.site, (), '/etc/nova/link.conf')
        step.precheck()
        record = step.record()
        self.assertEqual(CONF, record['path'])
        step.apply()
        self.assertTrue(link.is_symlink())
        self.assertEqual(NEW, self.file.read_bytes())

    def test_a_new_file_is_like_its_neighbour(self) -> None:
        for like, mode in ((CONF, 0o640), (None, 0o644)):
            step = Write(self.site, (), f'/etc/nova/zz-{mode}.conf', like)
            step.precheck()
            step.record()
            step.apply()
            self.assertEqual(mode, stat.S_IMODE(step.file.stat().st_mode))

    def test_changed_behind_us(self) -> None:
        step, _ = self.prepared()
        step.apply()
        self.file.write_bytes(b'theirs')
        self.assertIn('somebody else', str(self.assertRaises(StepError, step.verify)))

    def test_undo_leaves_what_others_wrote(self) -> None:
        record = self.apply()
        self.file.write_bytes(b'theirs')
        error = self.assertRaises(StepError, Write.undo, self.site, record, rebooted=False)
        aside = Path(str(error).rpartition(' in ')[2])
        self.assertEqual(OLD, aside.read_bytes())
        self.assertEqual(0o600, stat.S_IMODE(aside.stat().st_mode))
        self.assertEqual(0o700, stat.S_IMODE(aside.parent.stat().st_mode))
        self.assertEqual(b'theirs', self.file.read_bytes())
        self.assertEqual(['nova.conf', 'other'], self.names())
        # Told once more, but it is no failure any more.
        self.assertIn(str(aside), Write.undo(self.site, record, rebooted=False))

    def test_what_was_not_done_is_not_remembered(self) -> None:
        _, record = self.prepared()
        Write.forget(self.site, record)
        self.assertEqual((), self.site.changes.files())
        record = self.apply()
        self.file.write_bytes(OLD)
        Write.forget(self.site, record)
        self.assertEqual((), self.site.changes.files())
        self.assertEqual([], self.originals())

    def test_undo_without_the_spare(self) -> None:
        record = self.apply()
        for path in (self.file.parent / ROOM).iterdir():
            path.unlink()
        self.assertIn('put back', Write.undo(self.site, record, rebooted=False))
        self.assertEqual(OLD, self.file.read_bytes())
        self.assertEqual(0o640, stat.S_IMODE(self.file.stat().st_mode))

    def test_the_directory_is_not_changed_once_it_is_kept(self) -> None:
        record = self.apply()
        os.utime(self.file.parent, (1e9, 1e9))
        before = self.file.parent.stat().st_ctime_ns
        Write.forget(self.site, record)
        self.assertEqual(before, self.file.parent.stat().st_ctime_ns)


def acl(permissions: int) -> bytes:
    """Return an access control list: user 1000 has some permissions (linux/posix_acl_xattr.h)."""
    none = 0xFFFFFFFF
    entries = (
        (0x01, 6, none),
        (0x02, permissions, 1000),
        (0x04, 4, none),
        (0x10, permissions, none),
        (0x20, 0, none),
    )
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)
