"""Groups ``[DEFAULT]`` and ``[agent]``: the agent itself."""

from oslo_config import cfg

DEFAULT_OPTS = [
    cfg.HostDomainOpt(
        'host',
        help=(
            "Name this node reports under. Unset: the ``host`` of nova-compute's configuration, "
            'else the host name, so that it is the name Nova knows the node by.'
        ),
    ),
]

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
    cfg.StrOpt(
        'state_dir',
        default='/var/lib/nested-agent',
        help=(
            'Directory of what must survive a restart: the last report, and with it since when '
            'each condition has been as it is.'
        ),
    ),
    cfg.StrOpt(
        'run_dir',
        default='/run/nested-agent',
        help='Directory of what ends with the boot: the lock that lets one daemon run per node.',
    ),
]
