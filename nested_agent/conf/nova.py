"""Group ``[nova]``: where nova-compute's configuration is."""

from oslo_config import cfg

GROUP = cfg.OptGroup('nova', title='nova-compute on this node')

OPTS = [
    cfg.MultiStrOpt(
        'config_file',
        default=[],
        mutable=True,
        help=(
            'Configuration file of nova-compute, in the order it reads them; may be given several '
            'times. Only used while nova-compute does not run: otherwise its own command line '
            'tells. Unset: the places of the packages (Debian, RDO, DevStack, Kolla).'
        ),
    ),
    cfg.MultiStrOpt(
        'config_dir',
        default=[],
        mutable=True,
        help='Configuration directory of nova-compute, as for ``config_file``.',
    ),
    cfg.BoolOpt(
        'manage_config',
        default=True,
        mutable=True,
        help=(
            "Whether the agent may edit nova-compute's configuration files. False where another "
            'tool writes them: what is wrong there is then said, not changed. What Kolla, EDPM, '
            'TripleO, OpenStack-Ansible or a snap writes is never edited.'
        ),
    ),
]
