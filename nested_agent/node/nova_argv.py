"""What a nova-compute command line says: that it is one, and which files it names."""

import argparse
import functools
import os
import re
from collections.abc import Sequence
from typing import NoReturn

from nested_agent.facts import Unread

NAME = 'nova-compute'
PYTHON = re.compile(r'(?:python|pypy)[0-9.]*t?')
SHELLS = frozenset({'sh', 'ash', 'bash', 'dash', 'ksh'})


def arguments(argv: Sequence[str]) -> tuple[bool, tuple[str, ...] | None]:
    """Return whether a command line is nova-compute's own, and its arguments.

    ``vim nova-compute.conf``, ``sudo nova-compute`` or ``healthcheck_port nova-compute`` are not.
    """
    index = _program(argv)
    if index is not None:
        return True, tuple(argv[index + 1 :])
    if is_title(argv):
        # "nova-compute: what it does", or the old words with blanks.
        words = argv[0].split()
        index = _program(words)
        if index is not None:
            return True, tuple(words[index + 1 :])
        if words and os.path.basename(words[0]) == f'{NAME}:':  # noqa: PTH119  # text, no path
            return True, None
    return False, None


def is_title(argv: Sequence[str]) -> bool:
    """Whether a command line is one string with blanks, as setproctitle leaves it."""
    return len(argv) == 1 and ' ' in argv[0]


def _program(argv: Sequence[str]) -> int | None:
    """Return the index of the program's own name in argv, by the role of what is before it."""
    names = [os.path.basename(word) for word in argv[:3]]  # noqa: PTH119  # text, no path
    if names[:1] == [NAME]:
        return 0
    if not names or not (PYTHON.fullmatch(names[0]) or names[0] in SHELLS):
        return None
    if names[1:2] == [NAME]:
        return 1
    # One option, as in "#!/usr/bin/python3 -s"; after -c comes a program's text.
    option = argv[1] if len(argv) > 2 else ''
    if names[2:] == [NAME] and option.startswith('-') and ('c' not in option or option[1] == '-'):
        return 2
    return None


@functools.lru_cache(maxsize=8)  # argparse costs more than all else a warm read does
def named_files(arguments: tuple[str, ...]) -> tuple[tuple[str, str], ...] | Unread:
    """Return the ``--config-file`` and ``--config-dir`` arguments in order: (option, path).

    Prefixes such as ``--config-f`` are understood as nova-compute itself does.
    """
    parser = _Parser(prog=NAME, add_help=False)
    parser.add_argument('--config-file', action=_InOrder, dest='file')
    parser.add_argument('--config-dir', action=_InOrder, dest='directory')
    try:
        # What remains are nova's and oslo.log's own options: not about files.
        parsed, _ = parser.parse_known_args(list(arguments), argparse.Namespace(given=[]))
    except ValueError as error:
        return Unread('command line', 'Malformed', str(error))
    return tuple(parsed.given)


def gives(arguments: Sequence[str], option: str) -> bool:
    """Whether oslo.config leaves out the defaults that ``option`` replaces."""
    # Textual, as in oslo.config: an abbreviated --config-f does not turn the defaults off.
    return any(word == option or word.startswith(f'{option}=') for word in arguments)


class _Parser(argparse.ArgumentParser):
    """oslo.config's own parser is an ArgumentParser too: same prefixes, same ``--opt=value``."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


class _InOrder(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        namespace.given.append((self.dest, values))
