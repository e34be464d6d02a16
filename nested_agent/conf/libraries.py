"""Options of the libraries that the daemon uses; they stand in the same files as ours."""

import logging
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from stevedore import named

from nested_agent.conf.files import DEFAULT

#: Names of entry points ``oslo.config.opts``.
LOG_AND_REPORTS = ('oslo.log', 'oslo.reports')
MESSAGING = 'oslo.messaging'


def options(*, messaging: bool, more: Sequence[str] = ()) -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return the options by group.

    :param messaging: whether also those of oslo.messaging, which costs its import
    :param more: names of further entry points ``oslo.config.opts``
    """
    names = (*LOG_AND_REPORTS, *more, *((MESSAGING,) if messaging else ()))
    found: Any = named.NamedExtensionManager(
        'oslo.config.opts', names, warn_on_missing_entrypoint=False
    )
    return [
        (str(getattr(group, 'name', group) or DEFAULT), opts)
        for extension in found
        for group, opts in extension.plugin()
    ]


def bad_level(conf: cfg.ConfigOpts) -> str | None:
    """Return what is wrong with ``default_log_levels``; logging itself says it too late."""
    levels = logging.getLevelNamesMapping()
    for pair in conf.default_log_levels:
        name, equals, level = pair.partition('=')
        if not (name and equals and (level in levels or level.isdecimal())):
            return f'{pair!r} is not NAME=LEVEL, with a level such as INFO or WARNING'
    return None
