"""Group ``[collector]``: what nested-collector keeps of the reports of a cloud's nodes."""

from typing import NamedTuple

from oslo_config import cfg

GROUP = cfg.OptGroup('collector', title='The collector')

#: Where packages put it; the unit file makes the directory.
DATABASE = 'sqlite:////var/lib/nested-collector/nested-collector.sqlite'

DAY = 86400.0

OPTS = [
    cfg.IntOpt(
        'agent_down_time',
        default=180,
        min=1,
        mutable=True,
        help=(
            'Seconds without a report after which a node is shown as down. At least three times '
            'the ``[agent] report_interval`` of the nodes.'
        ),
    ),
    cfg.FloatOpt(
        'event_retention',
        default=90.0,
        min=0.0,
        mutable=True,
        help='Days for which events (changes of state, what came of fixes) are kept.',
    ),
    cfg.FloatOpt(
        'node_retention',
        default=30.0,
        min=0.0,
        mutable=True,
        help=(
            'Days after which a node is forgotten that sends no reports any more. Until then it '
            'is shown as down; ``nested-collector-manage node forget`` does not wait.'
        ),
    ),
    cfg.IntOpt(
        'max_nodes',
        default=50000,
        min=1,
        mutable=True,
        help=(
            'Reports of new nodes are refused when there are so many: whoever can write to the '
            'message bus can make names up.'
        ),
    ),
    cfg.PortOpt(
        'metrics_port',
        min=1,
        help='Port on which metrics are served to Prometheus, by HTTP. Unset: none are.',
    ),
    cfg.HostAddressOpt(
        'metrics_host',
        default='127.0.0.1',
        help=(
            'Address to serve them on. Whoever can reach it can read how many nodes are in which '
            'state: there is no password and no TLS.'
        ),
    ),
]


CONNECTION = cfg.StrOpt(
    'connection',
    default=DATABASE,
    secret=True,
    help=(
        'Where the reports are kept. In production a MariaDB or MySQL, which several collectors '
        'can share: mysql+pymysql://USER:PASSWORD@HOST/DATABASE. The other options of this group '
        'are those of oslo.db.'
    ),
)


class Options(NamedTuple):
    """The group's values, typed; times in seconds."""

    agent_down_time: float
    event_retention: float
    node_retention: float
    max_nodes: int


def options(conf: cfg.ConfigOpts) -> Options:
    """Return the group's values, typed."""
    group = conf.collector
    return Options(
        float(group.agent_down_time),
        group.event_retention * DAY,
        # One that is not even down would come and go.
        max(group.node_retention * DAY, float(group.agent_down_time)),
        group.max_nodes,
    )


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option of the collector; doing so again changes nothing."""
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return every option by group."""
    return [(GROUP, OPTS)]


def sample_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for the sample (entry point ``oslo.config.opts``).

    Of those of oslo.db the one that has to be set: the others change with its releases.
    """
    return [*list_opts(), (cfg.OptGroup('database', title='Where it is kept'), [CONNECTION])]


def set_defaults() -> None:
    """Set what oslo.db cannot know."""
    # Only the collector has it installed.
    from oslo_db import options as db_options

    cfg.set_defaults(db_options.database_opts, connection=DATABASE)
