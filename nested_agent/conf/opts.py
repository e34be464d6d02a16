"""All options: registered for the commands, listed for oslo-config-generator."""

from collections.abc import Sequence

from oslo_config import cfg

from nested_agent.conf import agent, metrics, nova, policy, prove, remediation

GROUPS = (
    (agent.GROUP, agent.OPTS),
    (policy.GROUP, policy.OPTS),
    (nova.GROUP, nova.OPTS),
    (remediation.GROUP, remediation.OPTS),
    (prove.GROUP, prove.OPTS),
    (metrics.GROUP, metrics.OPTS),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option; doing so again changes nothing."""
    conf.register_opts(agent.DEFAULT_OPTS)
    for group, opts in GROUPS:
        conf.register_group(group)
        conf.register_opts(opts, group=group)


def list_opts() -> list[tuple[cfg.OptGroup | None, Sequence[cfg.Opt]]]:
    """Return every option by group (entry point ``oslo.config.opts``)."""
    return [(None, agent.DEFAULT_OPTS), *GROUPS]
