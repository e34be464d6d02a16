"""Cache keys: digests over everything that goes into a thing."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(*parts: str | bytes | Path) -> str:
    """Return a short key for ``parts``; a path stands for the content of its file or tree."""
    total = hashlib.sha256()
    for part in parts:
        for item in _walk(part) if isinstance(part, Path) else (part,):
            data = item.encode() if isinstance(item, str) else item
            # The length keeps ('ab', 'c') apart from ('a', 'bc').
            total.update(b'%d:' % len(data) + data)
    return total.hexdigest()[:16]


def _walk(path: Path) -> Iterable[str | bytes]:
    if path.is_symlink():
        yield from ('link', str(path.readlink()))
    elif path.is_dir():
        for child in sorted(path.iterdir()):
            if child.name != '__pycache__':
                yield child.name
                yield from _walk(child)
    else:
        yield 'program' if path.stat().st_mode & 0o100 else 'file'
        yield path.read_bytes()
