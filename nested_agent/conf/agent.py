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
    cfg.StrOpt(
        'state_dir',
        default='/var/lib/nested-agent',
        help=(
            'Directory of what must survive a restart: the last report, and with it since when '
            'each condition has been as it is.'
        ),
    ),
]
