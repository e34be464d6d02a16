"""Why a fact could not be read, and where one stands."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Unread:
    """Why a fact could not be read.

    :ivar source: the file, device or command that was asked
    :ivar error: one word: an errno name (``EACCES``), ``Timeout``, ``Malformed``,
        ``NotAvailable`` (cannot be known from here, such as an ioctl of a captured tree)
    :ivar detail: one sentence for people
    """

    source: str
    error: str
    detail: str

    def __str__(self) -> str:
        return f'{self.source}: {self.error} ({self.detail})'


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """A line of a file, as an operator sees its path (host path; inside a container: its own)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f'{self.file}:{self.line}'
