"""Boot images: real ones, made by cpio and the compressors initramfs tools use."""

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
from pathlib import Path
from unittest import mock

from oslotest import base

from nested_agent.facts import Kernel, Unread
from nested_agent.node import cpio, initramfs
from tests.unit import fakes

R = '6.1.0-test'
IMAGE = f'/boot/initrd.img-{R}'
MACHINE = '0123456789abcdef' * 2
KO = f'usr/lib/modules/{R}/kernel/arch/x86/kvm/kvm-amd.ko.xz'


def archive(files, form='newc'):
    """Return what cpio makes of files; the order is the given one."""
    with fakes.make_tree({f'/{name}': content for name, content in files.items()}) as tree:
        return subprocess.run(
            ['/usr/bin/cpio', '-o', '-H', form, '--quiet'],
            input='\n'.join(files).encode(),
            stdout=subprocess.PIPE,
            cwd=tree,
            check=True,
        ).stdout


def piped(*command):
    return lambda data: subprocess.run(command, input=data, stdout=-1, check=True).stdout


EARLY = {'kernel/x86/microcode/AuthenticAMD.bin': b'\xff' * 5000}
FULL = {
    'usr/lib/modprobe.d/b.conf': 'options kvm_amd npt=1\n',
    'etc/modprobe.d/a.conf': 'options kvm_amd nested=1 \n',
    'etc/modprobe.d/b.conf': 'options kvm-amd nested=0\n',
    'etc/modprobe.d/c.txt': 'options kvm_amd c=0\n',
    'etc/other/d.conf': 'options kvm_amd d=0\n',
    'bin/filler': os.urandom(300_001),
    KO: b'module',
}


class InitramfsCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        tree = fakes.make_tree({IMAGE: b''})
        self.addCleanup(tree.cleanup)
        self.base = Path(tree.name)
        self.image = self.base / IMAGE[1:]
        initramfs._read_before.clear()

    def read(self, data, *, cmdline='', live=True):
        self.image.write_bytes(data)
        root = fakes.FakeRoot(self.base, live=live)
        return initramfs.read(root, 'kvm_amd', Kernel(R, cmdline), 9e9)


class TestFormats(InitramfsCase):
    def check(self, data):
        found = self.read(data)
        self.assertNotIsInstance(found, Unread, str(found))
        self.assertEqual(('nested=1', 'nested=0'), found.options)
        self.assertTrue(found.has_module)
        self.assertEqual(
            ['/etc/modprobe.d/a.conf:1', '/etc/modprobe.d/b.conf:1'],
            [str(line.where) for line in found.lines],
        )
        self.assertEqual(IMAGE, found.image)

    def test_plain(self):
        self.check(archive(FULL))

    def test_gzip(self):
        self.check(gzip.compress(archive(FULL)))

    def test_xz(self):
        self.check(lzma.compress(archive(FULL), check=lzma.CHECK_CRC32))

    def test_lzma(self):
        self.check(lzma.compress(archive(FULL), lzma.FORMAT_ALONE))

    def test_bzip2(self):
        self.check(bz2.compress(archive(FULL)))

    def test_zstd(self):
        self.check(piped('/usr/bin/zstd', '-qc')(archive(FULL)))

    def test_lz4_as_initramfs_tools_calls_it(self):
        self.check(piped('/usr/bin/lz4', '-l', '-qc')(archive(FULL)))

    def test_early_microcode_before_each_compression(self):
        for compress in (gzip.compress, lzma.compress, piped('/usr/bin/zstd', '-qc')):
            self.check(archive(EARLY) + bytes(512) + compress(archive(FULL)))

    def test_parts_of_every_kind_in_a_row(self):
        half = len(FULL) // 2
        first = dict(list(FULL.items())[:half])
        second = dict(list(FULL.items())[half:])
        self.check(
            gzip.compress(archive(first))
            + bytes(7)
            + archive(EARLY)
            + bytes(512)
            + lzma.compress(archive(EARLY) + archive(second))
            + bytes(100)
        )

    def test_crc_format_and_dotted_names(self):
        data = archive({f'./{name}': data for name, data in FULL.items()}, 'crc')
        self.assertTrue(data.startswith(b'070702'))
        self.check(data)

    def test_later_archive_overwrites(self):
        old = {'etc/modprobe.d/b.conf': 'options kvm_amd old=1\n'}
        self.check(archive(old) + gzip.compress(archive(FULL)))

    def test_captured_tree(self):
        data = piped('/usr/bin/zstd', '-qc')(archive(FULL))
        self.assertTrue(self.read(data, live=False).has_module)


class TestContent(InitramfsCase):
    def test_without_the_module(self):
        files = {
            'lib/modules/x/kvm.ko': '',
            'lib/modules/x/xkvm-amd.ko': '',
            'kvm-amd.ko.txt/y': '',
            'etc/modprobe.d/a.conf': '#\n',
        }
        found = self.read(archive(files))
        self.assertEqual((False, ()), (found.has_module, found.options))

    def test_kernel_arguments_come_last(self):
        found = self.read(archive(FULL), cmdline='kvm_amd.nested=1')
        self.assertEqual(('nested=1', 'nested=0', 'nested=1'), found.options)
        self.assertEqual(2, len(found.lines))

    def test_link_to_null_masks(self):
        files = {**FULL, 'etc/modprobe.d/b.conf': '-> /dev/null'}
        self.assertEqual(('nested=1',), self.read(archive(files)).options)

    def test_other_links_are_not_guessed(self):
        for name, target in (('b.conf', '/usr/b.conf'), ('', '/usr/lib/modprobe.d')):
            files = {f'etc/modprobe.d/{name}'.rstrip('/'): f'-> {target}', KO: b''}
            found = self.read(archive(files))
            self.assertEqual('Malformed', found.error)
            self.assertIn(target, found.detail)

    def test_hard_links_share_the_last_ones_data(self):
        with fakes.make_tree({'/etc/modprobe.d/a.conf': 'options kvm_amd nested=0\n'}) as tree:
            directory = Path(tree) / 'etc/modprobe.d'
            (directory / 'b.conf').hardlink_to(directory / 'a.conf')
            data = subprocess.run(
                ['/usr/bin/cpio', '-o', '-H', 'newc', '--quiet'],
                input=b'etc/modprobe.d/a.conf\netc/modprobe.d/b.conf\n',
                stdout=subprocess.PIPE,
                cwd=tree,
                check=True,
            ).stdout
        self.assertEqual(1, data.count(b'nested=0'))
        self.assertEqual(('nested=0', 'nested=0'), self.read(data).options)


class TestDamage(InitramfsCase):
    def damaged(self, data):
        found = self.read(data)
        self.assertIsInstance(found, Unread)
        self.assertEqual((IMAGE, 'Malformed'), (found.source, found.error))
        self.assertTrue(found.detail)

    def test_garbage(self):
        for data in (b'', bytes(1000), b'x', b'070701', b'garbage' * 100, b'\x89LZO\0\r\n'):
            self.damaged(data)

    def test_truncated_at_any_part(self):
        compressors = (
            bytes,
            gzip.compress,
            lzma.compress,
            bz2.compress,
            piped('/usr/bin/zstd', '-qc'),
            piped('/usr/bin/lz4', '-l', '-qc'),
        )
        for compress in compressors:
            data = compress(archive(FULL))
            for part in (0.1, 0.5, 0.99):
                self.damaged(data[: int(len(data) * part)])

    def test_flipped_header(self):
        data = bytearray(archive(FULL))
        data[20] = ord('z')
        self.damaged(bytes(data))

    def test_sizes_are_plain_hexadecimal(self):
        data = archive({'bin/filler': b'x' * 100})
        for size in (b'-0000074', b'  000064', b'+0000064', b'0x000064', b'000_0064'):
            self.damaged(data[:54] + size + data[62:])

    def test_an_image_without_bounds(self):
        with mock.patch.object(cpio, '_WHOLE_LIMIT', 100_000):
            for compress in (bytes, gzip.compress, piped('/usr/bin/zstd', '-qc')):
                self.damaged(compress(archive({'bin/zero': bytes(200_000)})))

    def test_compressed_garbage(self):
        self.damaged(gzip.compress(b'not an archive at all'))
        self.damaged(gzip.compress(b''))

    def test_name_or_configuration_without_bounds(self):
        data = archive(FULL)
        self.damaged(data[:94] + b'7fffffff' + data[102:])
        self.damaged(archive({'etc/modprobe.d/a.conf': bytes(2 << 20)}))

    def test_missing_decompressor(self):
        data = piped('/usr/bin/zstd', '-qc')(archive(FULL))
        gone = dict.fromkeys(cpio._FILTERS, ('/nowhere/zstd',))
        with mock.patch.object(cpio, '_FILTERS', gone):
            found = self.read(data)
        self.assertEqual((IMAGE, 'ENOENT'), (found.source, found.error))
        self.assertIn('/nowhere/zstd', found.detail)
        self.assertTrue(self.read(data).has_module, 'asked again once it is there')


class TestWhichImage(InitramfsCase):
    def ask(self, changed_since, release=R):
        root = fakes.FakeRoot(self.base)
        return initramfs.read(root, 'kvm_amd', Kernel(release, ''), changed_since)

    def test_newer_image_is_not_read(self):
        self.image.write_bytes(b'garbage')
        os.utime(self.image, (1000, 1000))
        self.assertIsNone(self.ask(999))
        self.assertIsInstance(self.ask(1000), Unread)

    def test_no_image(self):
        self.assertIsNone(self.ask(9e9, '5.0'))

    def test_release_unknown(self):
        unknown = Unread('/proc/sys/kernel/osrelease', 'ENOENT', 'no')
        self.assertEqual(unknown, self.ask(9e9, unknown))

    def test_every_distributions_name(self):
        self.image.unlink()
        (self.base / 'etc').mkdir()
        (self.base / 'etc/machine-id').write_text(f'{MACHINE}\n')
        for name in (
            f'initramfs-{R}.img',
            f'initrd-{R}',
            f'{MACHINE}/{R}/initrd',
            f'{R}/initrd',
            f'initramfs-{R}',
        ):
            path = self.base / 'boot' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive(FULL))
            self.assertEqual(f'/boot/{name}', self.ask(9e9).image)
            path.unlink()
            shutil.rmtree(self.base / 'boot')

    def test_a_damaged_machine_id_names_no_image(self):
        (self.base / 'etc').mkdir()
        for text in (b'a\0b', b'../x', b'uninitialized', MACHINE.upper().encode(), b''):
            (self.base / 'etc/machine-id').write_bytes(text)
            self.assertIsNone(self.ask(9e9, '5.0'))

    def test_a_release_that_no_file_can_have(self):
        self.assertEqual('EINVAL', self.ask(9e9, '6\0').error)

    def test_a_pipe_is_not_waited_for(self):
        self.image.unlink()
        os.mkfifo(self.image)
        self.assertEqual((IMAGE, 'EINVAL'), (self.ask(9e9).source, self.ask(9e9).error))

    def test_an_image_is_read_once(self):
        self.read(archive(FULL))
        with mock.patch.object(cpio, 'entries', side_effect=AssertionError('read again')):
            self.assertTrue(self.ask(9e9).has_module)
        self.image.write_bytes(archive(EARLY))
        self.assertFalse(self.ask(9e9).has_module)

    def test_another_image_with_the_size_and_time_of_the_last(self):
        """Such as one put back from a backup."""
        self.read(archive({KO: b'module'}))
        os.utime(self.image, (1, 1))
        self.assertTrue(self.ask(9e9).has_module)
        before = self.image.stat()
        self.image.write_bytes(archive({KO.replace('.ko', '.xx'): b'module'}))
        os.utime(self.image, (1, 1))
        after = self.image.stat()
        self.assertEqual((before.st_ino, before.st_size), (after.st_ino, after.st_size))
        self.assertFalse(self.ask(9e9).has_module)

    def test_a_damaged_image_is_read_once(self):
        damaged = self.read(b'garbage')
        with mock.patch.object(cpio, 'entries', side_effect=AssertionError('read again')):
            self.assertEqual(damaged, self.ask(9e9))
