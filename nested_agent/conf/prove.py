"""Group ``[prove]``: ``nested-agentctl prove``."""

from oslo_config import cfg

GROUP = cfg.OptGroup('prove', title='nested-agentctl prove')

OPTS = [
    cfg.BoolOpt(
        'enabled',
        default=True,
        help=(
            'Whether ``nested-agentctl prove`` may start a virtual machine on this node: a few '
            'pages of memory, one processor, no device, for milliseconds.'
        ),
    ),
    cfg.IntOpt(
        'timeout',
        default=30,
        min=1,
        help=(
            'Seconds after which the process with the virtual machine is killed. The guest itself '
            'is given up after 2 s of processor time.'
        ),
    ),
    cfg.IntOpt(
        'lock_timeout',
        default=30,
        min=0,
        help=(
            'Seconds to wait while a remediation is at work, which may reload the module; then '
            'nothing is tried.'
        ),
    ),
]
