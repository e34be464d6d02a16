"""Group ``[metrics]``: what the agent tells Prometheus."""

from oslo_config import cfg

from nested_agent.conf.agent import ABSOLUTE

GROUP = cfg.OptGroup('metrics', title='What Prometheus is told')

OPTS = [
    cfg.StrOpt(
        'textfile_directory',
        regex=ABSOLUTE,
        help=(
            "Directory in which node_exporter's textfile collector looks for files. After every "
            'verification nested_agent.prom is written there. On Debian it is '
            '/var/lib/prometheus/node-exporter; for another one nested-agent.service needs a '
            'drop-in with ReadWritePaths. Needs the extra ``metrics``. Unset: there are no metrics.'
        ),
    ),
]
