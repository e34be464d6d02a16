"""Groups ``[DEFAULT]`` and ``[agent]``: the agent itself."""

from oslo_config import cfg

DEFAULT_OPTS = [
    cfg.HostDomainOpt(
        'host',
        help=(
            "Name this node reports under. Unset: the ``host`` of nova-compute's configuration, "
            'else the host name, so that it is the name Nova knows the node by. While that '
            'configuration cannot be read it stays as it was last.'
        ),
    ),
]

#: Relative to what would be another place for the daemon and for every command.
ABSOLUTE = '^/'

GROUP = cfg.OptGroup('agent', title='The agent itself')

OPTS = [
    cfg.IntOpt(
        'interval',
        default=60,
        min=1,
        mutable=True,
        help=(
            'Seconds between two verifications while nothing changes; a change of a watched file '
            'or of the module is verified at once. Varied by a tenth, so that the nodes of a cloud '
            'do not act in step.'
        ),
    ),
    cfg.IntOpt(
        'report_interval',
        default=60,
        min=0,
        mutable=True,
        help=(
            'Seconds between two reports to the collector while nothing changes, varied by a '
            'tenth; a change is reported at once. Only with a transport_url, and only while a '
            'collector is there to take them. 0: none is sent.'
        ),
    ),
    cfg.StrOpt(
        'state_dir',
        default='/var/lib/nested-agent',
        regex=ABSOLUTE,
        help=(
            'Directory of what must survive a restart: the last report, and with it since when '
            'each condition has been as it is.'
        ),
    ),
    cfg.StrOpt(
        'run_dir',
        default='/run/nested-agent',
        regex=ABSOLUTE,
        help='Directory of what ends with the boot: the lock that lets one daemon run per node.',
    ),
]
