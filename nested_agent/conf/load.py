"""Reads our own configuration, and refuses what cannot be used before any work is done."""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from oslo_config import cfg

from nested_agent.conf import files, opts
from nested_agent.conf.files import DEFAULT, File
from nested_agent.exceptions import ConfigurationError

Options = Sequence[tuple[str, Sequence[cfg.Opt]]]

#: Where our programs' files are looked for.
PROJECT = 'nested-agent'

#: What oslo.config makes of that, besides directories that nobody closes.
DIRECTORIES = (f'~/.{PROJECT}', f'/etc/{PROJECT}')

_DENIED = (
    'permission denied, and without knowing what stands there nothing is said; be root, or name '
    'files of your own with --config-file and --config-dir'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One of our programs, by the options it has.

    :ivar name: its files are ``NAME.conf`` and ``NAME.conf.d``
    :ivar register: registers its options; doing so again changes nothing
    :ivar list_opts: returns them by group
    """

    name: str
    register: Callable[[cfg.ConfigOpts], None]
    list_opts: Callable[[], Sequence[tuple[cfg.OptGroup | None, Sequence[cfg.Opt]]]]

    def places(self) -> dict[str, Any]:
        """Return where its files are, as oslo.config is told; not those of the project.

        Each once: oslo.config has them twice where program and project have one name, and then
        reads them twice, so that what is given several times is doubled.
        """
        files = cfg.find_config_files(PROJECT, self.name)
        directories = cfg.find_config_dirs(PROJECT, self.name)
        own = (f'{self.name}.conf', f'{self.name}.conf.d')
        return {
            'default_config_files': [
                each for each in dict.fromkeys(files) if PurePath(each).name in own
            ],
            'default_config_dirs': [
                each for each in dict.fromkeys(directories) if PurePath(each).name in own
            ],
        }


AGENT = Program('nested-agent', opts.register, opts.list_opts)

#: Exit code of ``ConfigOpts._validate_cli_options``; argparse has 2 for the command line itself.
BAD_IN_FILE = 1


def load(
    conf: cfg.ConfigOpts,
    config_files: Sequence[str] = (),
    config_dirs: Sequence[str] = (),
    *,
    arguments: Sequence[str] = (),
    libraries: Options = (),
    about: Mapping[str, Any] = MappingProxyType({}),
    program: Program = AGENT,
) -> tuple[File, ...]:
    """Read the named files, or the program's own in ``/etc/nested-agent``.

    :param arguments: a command line as oslo.config understands it, besides the named files
    :param libraries: options of others by group, to be refused like ours if they are bad
    :param about: what ``--help`` and ``--version`` show: ``description``, ``epilog``, ``version``
    :returns: what was read, for :func:`unknown`
    :raises ConfigurationError: naming the file, group and option that cannot be used
    :raises SystemExit: after ``--help``, ``--version``, or what is wrong with the command line
    """
    program.register(conf)
    for group, options in libraries:
        conf.register_opts(options, group=None if group == DEFAULT else group)
    words = [f'--config-file={name}' for name in config_files]
    words += [f'--config-dir={name}' for name in config_dirs]
    words += arguments
    try:
        conf(args=words, project=PROJECT, prog=program.name, **program.places(), **about)
        for directory in _closed(conf, words):
            raise ConfigurationError(f'configuration: {directory}: {_DENIED}')
        read = files.read(conf, words)
        for group, options in (*ours(program), *libraries):
            for option in options:
                _check(conf, read, group, option)
    except SystemExit as end:
        if end.code == BAD_IN_FILE:
            # In a file, of an option that the command line has too: looked at like any other.
            named = [f'{option}={path}' for option, path in files.given(words)]
            load(cfg.ConfigOpts(), arguments=named, libraries=libraries, program=program)
        raise
    except cfg.ConfigFileParseError as error:
        # Its text ends in the line at fault, which may hold a password.
        place = re.search(r'at (.+:\d+), (.+?): [\'"]', str(error))
        told = f'{place[1]}: {place[2]}' if place else 'a file cannot be parsed'
        raise ConfigurationError(f'configuration: {told}') from None
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise ConfigurationError(
            f'configuration: {", ".join(error.config_files)}: {_DENIED}'
        ) from error
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        # The text of some of these errors ends in a full stop, of most it does not.
        raise ConfigurationError(f'configuration: {str(error).rstrip(".")}') from error
    return read


def _closed(conf: cfg.ConfigOpts, words: Sequence[str]) -> Iterator[str]:
    """Yield the directories that cannot be looked into: oslo.config takes them to be empty."""
    named = list(files.given(words))
    listed = [path for option, path in named if option == '--config-dir'] or (
        conf.default_config_dirs
    )
    searched = DIRECTORIES if len({option for option, _ in named}) < len(files.NAMING) else ()
    for directory, mode in (
        *((os.path.expanduser(each), os.X_OK) for each in searched),  # noqa: PTH111  # as oslo
        *((each, os.R_OK | os.X_OK) for each in listed),
    ):
        if os.path.isdir(directory) and not os.access(directory, mode, effective_ids=True):  # noqa: PTH112
            yield directory


def ours(program: Program = AGENT) -> Options:
    """Return the program's own options by group."""
    return [(group.name if group else DEFAULT, options) for group, options in program.list_opts()]


def unknown(
    read: Sequence[File], others: Options | None = None, program: Program = AGENT
) -> Iterator[str]:
    """Yield what is no option of anybody's, and so without effect, as sentences.

    :param read: what :func:`load` returned
    :param others: all options besides ours; None: they are not known, and only what stands in our
        own groups, or in a group of nobody, is told
    """
    known = files.known((*ours(program), *(others or ())))
    return files.unknown(read, known, complete=others is not None)


def refusal(
    read: Sequence[File], group: str, option: cfg.Opt | str, reason: object
) -> ConfigurationError:
    """Return the error that an option's value cannot be used.

    :param option: itself, or the name of one that has had no other
    """
    found = cfg.Opt(option) if isinstance(option, str) else option
    source = files.origin(read, group, found)
    where = f'{source}: ' if source else ''
    return ConfigurationError(f'{where}[{group}] {found.name}: {reason}')


def located(read: Sequence[File], error: ConfigurationError) -> ConfigurationError:
    """Return an error that begins with ``[GROUP] OPTION:`` together with what sets the option."""
    named = re.match(r'\[(\w+)\] (\w+): (.+)', str(error), re.DOTALL)
    return refusal(read, *named.groups()) if named else error


def _check(conf: cfg.ConfigOpts, read: Sequence[File], group: str, option: cfg.Opt) -> None:
    # A bad value shows only when it is read (oslo.config: ConfigFileValueError).
    try:
        value = conf[option.dest] if group == DEFAULT else conf[group][option.dest]
    except (cfg.Error, ValueError) as error:
        reason = error.__context__ if isinstance(error.__context__, ValueError) else error
        told = 'it cannot be used (it is not shown here)' if option.secret else reason
        raise refusal(read, group, option, told) from error
    # Neither below nor above any limit, says a comparison with it.
    if isinstance(value, float) and not math.isfinite(value):
        raise refusal(read, group, option, f'{value} is no number that can be counted to')
