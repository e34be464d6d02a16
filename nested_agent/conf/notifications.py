"""Group ``[oslo_messaging_notifications]``: whether anybody is to be notified, and by what.

The options are those of oslo.messaging, which registers and describes them. They are read here
without importing it: most agents notify nobody.
"""

from importlib import metadata
from typing import NamedTuple

from oslo_config import cfg

from nested_agent.exceptions import ConfigurationError

GROUP = 'oslo_messaging_notifications'

#: Drivers that need a broker; ``log`` and ``noop`` do without.
OVER_A_BROKER = ('messaging', 'messagingv2')

#: What sends nothing to anybody.
SILENT = 'noop'

OPTS = [cfg.MultiStrOpt('driver', default=[]), cfg.StrOpt('transport_url', secret=True)]


class Options(NamedTuple):
    """What the operator set.

    :ivar drivers: names of ``oslo.messaging.notify.drivers``
    :ivar own_broker: whether notifications have a ``transport_url`` of their own
    """

    drivers: tuple[str, ...]
    own_broker: bool

    @property
    def wanted(self) -> bool:
        """Whether anything is to be sent."""
        return any(each != SILENT for each in self.drivers)


def options(conf: cfg.ConfigOpts) -> Options:
    """Return what stands in the files or the environment.

    :param conf: read already; its files are read once more
    """
    own = cfg.ConfigOpts()
    own.register_opts(OPTS, group=GROUP)
    own(
        args=[],
        project='nested-agent',
        default_config_files=conf.config_file,
        default_config_dirs=conf.config_dir,
    )
    group = own[GROUP]
    drivers = tuple(each.strip() for each in group.driver if each.strip())
    return Options(drivers, bool((group.transport_url or '').strip()))


def check(wanted: Options, *, broker: bool) -> None:
    """Make sure that the drivers can work; oslo.messaging passes over those it does not know.

    :param broker: whether there is a ``transport_url`` in ``[DEFAULT]``
    :raises ConfigurationError: one does not exist, or has no broker
    """
    known = metadata.entry_points(group='oslo.messaging.notify.drivers').names
    for name in wanted.drivers:
        if name not in known:
            raise ConfigurationError(
                f'[{GROUP}] driver: {name!r} is none of {", ".join(sorted(known))}'
            )
        if name in OVER_A_BROKER and not (broker or wanted.own_broker):
            raise ConfigurationError(
                f'[{GROUP}] driver: {name} needs a broker: set transport_url here or in [DEFAULT]'
            )
