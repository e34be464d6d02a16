"""The archives a boot image is made of, read as the kernel unpacks them (init/initramfs.c)."""

import bz2
import errno
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from nested_agent.node.root import Root

# Less than the watchdog's patience: nothing else happens meanwhile.
FILTER_TIMEOUT = 20.0

_PIECE = 1 << 14
_DATA_LIMIT = 1 << 20
_WHOLE_LIMIT = 1 << 30  # of an image, as it is and unpacked: five times a large one
_NAME_LIMIT = 4096  # PATH_MAX, the kernel's own
_XZ_MEMORY = 1 << 28
_NEWC = (b'070701', b'070702')
_HEADER = re.compile(rb'07070[12](?:[0-9a-fA-F]{8}){13}')
_TRAILER = 'TRAILER!!!'


class DamagedError(Exception):
    """The image is not what the kernel would take; the text says why."""


class Entry(NamedTuple):
    """A member: absolute path, mode, and the data (of a link: its target) of wanted ones."""

    path: str
    mode: int
    data: bytes | None


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


# By their first bytes, as lib/decompress.c. Small pieces in keep the pieces out small.
_INFLATERS: dict[bytes, Callable[[], _Inflater]] = {
    b'\x1f\x8b': lambda: zlib.decompressobj(wbits=31),
    b'BZh': bz2.BZ2Decompressor,
    b'\xfd7zXZ\0': lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    b'\x5d\0\0': lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY),
}
_FILTERS = {
    b'\x28\xb5\x2f\xfd': ('/usr/bin/zstd', '-dcq'),
    b'\x02\x21\x4c\x18': ('/usr/bin/lz4', '-dcq'),
}


class _Stream:
    """Bytes that come in pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b''
        self._at = 0
        self._size = 0

    def some(self) -> bytes:
        """Return what there is next, at most a piece; nothing at the end."""
        some = self._piece[self._at :]
        if not some:
            some = next(self._pieces, b'')
            self._size += len(some)
            if self._size > _WHOLE_LIMIT:
                raise DamagedError(f'more than {_WHOLE_LIMIT} bytes, which no boot image has')
        self._piece, self._at = b'', 0
        return some

    def give_back(self, data: bytes) -> None:
        """Put back what was read too far."""
        self._piece = data + self._piece[self._at :]
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        data = self._piece[self._at : self._at + size]
        self._at += len(data)
        while len(data) < size:
            self.give_back(self.some())
            if not self._piece:
                raise DamagedError('the image ends in the middle of a file')
            more = self._piece[: size - len(data)]
            self._at = len(more)
            data += more
        return data

    def skip(self, size: int) -> None:
        """Pass over exactly so many bytes, never holding them all."""
        while size:
            size -= len(self.take(min(size, _PIECE)))

    def magic(self) -> bytes:
        """Return the next six bytes that follow padding, which stay there; nothing at the end."""
        data = b''
        while len(data) < 6:
            if not (some := self.some()):
                break
            data = (data + some).lstrip(b'\0')
        self.give_back(data)
        return data[:6]

    def left(self) -> int:
        """Return how many bytes were read ahead."""
        return len(self._piece) - self._at


def entries(root: Root, fd: int, wanted: Callable[[str], bool]) -> Iterator[Entry]:
    """Yield the members of all archives of an image, in order, never holding more than a piece.

    Early microcode comes as an archive of its own before the compressed one. The data of hard
    links comes with the last of them, which repeats the others.

    :raises DamagedError: the image is cut short, or no image
    :raises OSError: it cannot be read, or zstd or lz4 is not installed or fails
    """
    raw = _Stream(iter(lambda: os.read(fd, _PIECE), b''))
    empty = True
    try:
        while magic := raw.magic():
            if magic in _NEWC:
                yield from _archive(raw, wanted)
                empty = False
                continue
            inner = _Stream(_decompressed(root, fd, raw, magic))
            while magic := inner.magic():
                if magic not in _NEWC:
                    raise DamagedError(f'{magic!r} where an archive should begin')
                yield from _archive(inner, wanted)
                empty = False
    except (zlib.error, lzma.LZMAError) as error:
        raise DamagedError(str(error)) from error
    if empty:
        raise DamagedError('there is no archive in the image')


def _decompressed(root: Root, fd: int, raw: _Stream, magic: bytes) -> Iterator[bytes]:
    """Yield what one compressed part holds; the stream is left behind it."""
    for begin, command in _FILTERS.items():
        if magic.startswith(begin):
            os.lseek(fd, -raw.left(), os.SEEK_CUR)
            try:
                yield from root.filtered(command, fd, timeout=FILTER_TIMEOUT)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                raise DamagedError(f'{command[0]} {error.strerror}') from error
            raw.skip(raw.left())
            return
    for begin, make in _INFLATERS.items():
        if magic.startswith(begin):
            inflater = make()
            while not inflater.eof:
                if not (some := raw.some()):
                    raise DamagedError('the image ends in the middle of a compressed part')
                try:
                    piece = inflater.decompress(some)
                except OSError as error:  # bz2's way to say it
                    raise DamagedError(str(error)) from error
                if piece:
                    yield piece
            raw.give_back(inflater.unused_data)
            return
    raise DamagedError(f'a part begins with {magic!r}, which is no compression known here')


def _archive(stream: _Stream, wanted: Callable[[str], bool]) -> Iterator[Entry]:
    """Yield the members of one cpio archive, formats newc and crc (init/initramfs.c)."""
    linked: dict[tuple[bytes, ...], list[str]] = {}
    while True:
        header = stream.take(110)
        fields = [header[at : at + 8] for at in range(6, 110, 8)]
        # int() alone would take a sign or blanks, and a negative size would lead backwards.
        numbers = [int(field, 16) for field in fields] if _HEADER.fullmatch(header) else [0] * 13
        if not 0 < numbers[11] <= _NAME_LIMIT:
            raise DamagedError('a header in the image is not one of a cpio archive')
        mode, links, size, length = numbers[1], numbers[4], numbers[6], numbers[11]
        name = stream.take(length + -(110 + length) % 4)[: length - 1].decode(errors='replace')
        if name == _TRAILER:
            return
        path = '/' + name.removeprefix('./').lstrip('/')
        if not wanted(path):
            stream.skip(size + -size % 4)
            yield Entry(path, mode, None)
            continue
        if size > _DATA_LIMIT:
            raise DamagedError(f'{path} has {size} bytes')
        data = stream.take(size + -size % 4)[:size]
        yield Entry(path, mode, data)
        if links > 1 and stat.S_ISREG(mode):
            others = linked.setdefault((fields[0], fields[7], fields[8]), [])
            for other in others if data else ():
                yield Entry(other, mode, data)
            others.append(path)
