"""Group ``[policy]``: what the operator wants of this node."""

from oslo_config import cfg

from nested_agent.policy import ANY_EXPOSING, FixCPUMode, Nested, Policy

GROUP = cfg.OptGroup('policy', title='What is wanted of this node')

OPTS = [
    cfg.StrOpt(
        'nested',
        default=Nested.ENABLED.value,
        mutable=True,
        choices=[
            (Nested.ENABLED.value, 'Guests can run their own KVM guests'),
            (Nested.DISABLED.value, 'KVM does not offer virtualization to any guest'),
        ],
        help='Whether guests of this node shall be able to run their own KVM guests.',
    ),
    cfg.StrOpt(
        'cpu_mode',
        default=ANY_EXPOSING,
        mutable=True,
        choices=[
            (ANY_EXPOSING, 'Every setting that shows the flag to guests on this vendor'),
            ('host-passthrough', 'Only this mode'),
            ('host-model', 'Only this mode; on AMD together with cpu_model_extra_flags=svm'),
            ('custom', 'Only this mode, with the flag in cpu_model_extra_flags'),
        ],
        help=(
            'Which ``[libvirt] cpu_mode`` of nova-compute is accepted. A setting that works is '
            'not rewritten.'
        ),
    ),
    cfg.StrOpt(
        'fix_cpu_mode',
        default=FixCPUMode.HOST_PASSTHROUGH.value,
        mutable=True,
        choices=[
            (
                FixCPUMode.HOST_PASSTHROUGH.value,
                'Set cpu_mode to host-passthrough; live migration then needs like processors',
            ),
            (FixCPUMode.KEEP.value, 'Keep the mode, add the flag to cpu_model_extra_flags'),
        ],
        help='How a guest CPU that does not show the flag is mended.',
    ),
    cfg.StrOpt(
        'minimum_kernel',
        default='3.0',
        mutable=True,
        regex=r'^\d+\.\d+$',
        help=(
            'Lowest accepted kernel release, MAJOR.MINOR. What works poorly on a kernel that is '
            'accepted is said by the condition KernelSupported: below 4.20 on Intel and 5.8 on '
            'AMD a guest that runs guests cannot be migrated.'
        ),
    ),
]


def policy(conf: cfg.ConfigOpts) -> Policy:
    """Return the group's values, typed."""
    group = conf.policy
    major, _, minor = group.minimum_kernel.partition('.')
    return Policy(
        Nested(group.nested),
        group.cpu_mode,
        FixCPUMode(group.fix_cpu_mode),
        (int(major), int(minor)),
        conf.nova.manage_config,
    )
