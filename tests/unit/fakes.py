"""A node made of files: the Root of a temporary tree, with answers for commands and ioctls."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nested_agent.facts import Unread
from nested_agent.node.root import Completed, Root


class FakeRoot(Root):
    """A tree that answers as a running node does.

    :param commands: maps a command line (joined by blanks) to its result; a command not listed
        is not installed
    :param ioctls: answers (request, buffer) for any device; default: ENOTTY by the kernel, since
        the tree's devices are regular files
    """

    def __init__(
        self,
        path: Path,
        *,
        live: bool = True,
        commands: Mapping[str, Completed | Unread] | None = None,
        ioctls: Callable[[int, int | bytearray], int] | None = None,
    ) -> None:
        super().__init__(path)
        self.live = live
        self.commands = dict(commands or {})
        self.ioctls = ioctls
        self.ran: list[str] = []

    def ioctl(self, fd: int, request: int, argument: int | bytearray = 0) -> int:
        if self.ioctls is None:
            return super().ioctl(fd, request, argument)
        return self.ioctls(request, argument)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        alive: Callable[[], object] = lambda: None,
    ) -> Completed | Unread:
        shown = ' '.join(command)
        self.ran.append(shown)
        if not self.live:
            return super().run(command, timeout=timeout)
        return self.commands.get(shown, Unread(shown, 'ENOENT', 'No such file or directory'))


def write_tree(path: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by absolute node path; a value ``-> TARGET`` makes a symbolic link."""
    for name, content in files.items():
        file = path / name.lstrip('/')
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith('-> '):
            file.symlink_to(content[3:])
        else:
            file.write_bytes(content.encode() if isinstance(content, str) else content)


def make_tree(files: Mapping[str, str | bytes]) -> tempfile.TemporaryDirectory[str]:
    """Return a new temporary directory that holds ``files`` (see :func:`write_tree`)."""
    directory = tempfile.TemporaryDirectory(prefix='nested-agent-tree-')
    write_tree(Path(directory.name), files)
    return directory
