"""Group ``[remediation]``: what may be changed on this node, by whom, and how often."""

from oslo_config import cfg

from nested_agent.remediation.options import Mode, Options

GROUP = cfg.OptGroup('remediation', title='What the agent may change')

OPTS = [
    cfg.StrOpt(
        'mode',
        default='noop',
        mutable=True,
        choices=[
            ('off', 'Only verify and report'),
            ('noop', 'Find out and record what would be done, but change nothing'),
            ('enforce', 'Fix what differs and can be fixed, without being asked'),
        ],
        help=(
            'What the daemon does by itself about what differs from the policy. Root can always '
            'fix this node with ``nested-agentctl remediate``.'
        ),
    ),
    cfg.BoolOpt(
        'allow_remote',
        default=False,
        mutable=True,
        help=(
            'Whether ``nested-agentctl remediate HOST`` from another node is obeyed: whoever can '
            'write to the message bus can then have nova-compute of this node restarted and KVM '
            'reloaded. Asking what would be done, pausing and resuming are always allowed.'
        ),
    ),
    cfg.FloatOpt(
        'splay',
        default=120.0,
        min=0.0,
        mutable=True,
        help=(
            'A fix made without being asked waits a random time of up to so many seconds, so that '
            'a fleet does not restart its nova-computes at once.'
        ),
    ),
    cfg.IntOpt(
        'attempts',
        default=3,
        min=1,
        mutable=True,
        help=(
            'After so many failed attempts in a row the node is blocked: nothing more is tried '
            'until ``nested-agentctl resume``.'
        ),
    ),
    cfg.FloatOpt(
        'backoff',
        default=60.0,
        min=0.0,
        mutable=True,
        help='Seconds to wait after the first failed attempt; twice as long after each further.',
    ),
    cfg.FloatOpt(
        'backoff_limit',
        default=3600.0,
        min=0.0,
        mutable=True,
        help='Longest time in seconds to wait after a failed attempt.',
    ),
    cfg.IntOpt(
        'contest_limit',
        default=3,
        min=1,
        mutable=True,
        help=(
            'When the same fix had to be made so many times within ``contest_period``, something '
            'else changes it back: the agent stops fixing and says what, until '
            '``nested-agentctl resume``.'
        ),
    ),
    cfg.FloatOpt(
        'contest_period',
        default=86400.0,
        min=0.0,
        mutable=True,
        help='Seconds, see ``contest_limit``.',
    ),
    cfg.FloatOpt(
        'nova_timeout',
        default=300.0,
        min=1.0,
        mutable=True,
        help='Seconds that starting or stopping nova-compute may take.',
    ),
    cfg.FloatOpt(
        'nova_settle',
        default=30.0,
        min=0.0,
        mutable=True,
        help=(
            'Seconds that nova-compute has to run, as the same process, before it counts as '
            'started. Longer than it takes to find out that its configuration is wrong.'
        ),
    ),
]


def options(conf: cfg.ConfigOpts) -> Options:
    """Return the group's values, typed."""
    group = conf.remediation
    return Options(
        Mode(group.mode),
        group.splay,
        group.attempts,
        group.backoff,
        group.backoff_limit,
        group.contest_limit,
        group.contest_period,
        group.nova_timeout,
        group.nova_settle,
    )
