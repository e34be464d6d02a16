"""Reads our own configuration, and refuses what cannot be used before any work is done."""

import re
from collections.abc import Sequence

from oslo_config import cfg

from nested_agent.conf import opts
from nested_agent.exceptions import ConfigurationError


def load(
    conf: cfg.ConfigOpts,
    config_files: Sequence[str] = (),
    config_dirs: Sequence[str] = (),
    *,
    arguments: Sequence[str] = (),
) -> None:
    """Read the named files, or ``/etc/nested-agent/nested-agent.conf`` and ``.conf.d``.

    :param arguments: a command line as oslo.config understands it, instead of the named files
    :raises ConfigurationError: naming the file, group and option that cannot be used
    """
    opts.register(conf)
    named = [f'--config-file={name}' for name in config_files]
    named += [f'--config-dir={name}' for name in config_dirs]
    try:
        conf(args=[*named, *arguments], project='nested-agent', prog='nested-agent')
        for group, options in opts.list_opts():
            for option in options:
                _check(conf, group.name if group else None, option)
    except cfg.ConfigFileParseError as error:
        # Its text ends in the line at fault, which may hold a password.
        place = re.search(r'at (.+:\d+), ([^:]+)', str(error))
        told = f'{place[1]}: {place[2]}' if place else 'a file cannot be parsed'
        raise ConfigurationError(f'configuration: {told}') from None
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        # The text of some of these errors ends in a full stop, of most it does not.
        raise ConfigurationError(f'configuration: {str(error).rstrip(".")}') from error


def _check(conf: cfg.ConfigOpts, group: str | None, option: cfg.Opt) -> None:
    # A bad value shows only when it is read (oslo.config: ConfigFileValueError).
    try:
        _ = conf[group][option.dest] if group else conf[option.dest]
    except (cfg.Error, ValueError) as error:
        # oslo.config's text has the file inside a repr(), and no group.
        place = re.search(r"detail='([^']*)'", str(error))
        where = f'{place[1]}: ' if place else ''
        reason = error.__context__ if isinstance(error.__context__, ValueError) else error
        raise ConfigurationError(
            f'{where}[{group or "DEFAULT"}] {option.name}: {reason}'
        ) from error
