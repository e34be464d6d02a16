"""``nested-agent``: the daemon of a compute node."""

from nested_agent import bootstrap  # noqa: F401, I001  # first: it chooses oslo.service's backend

import sys
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from nested_agent import lifecycle, service
from nested_agent.agent import Effort
from nested_agent.cmd import daemon
from nested_agent.conf import load, notifications
from nested_agent.exceptions import ConfigurationError
from nested_agent.remediation.history import History
from nested_agent.reporting.cast import Cast, Sender
from nested_agent.reporting.channel import Channel
from nested_agent.reporting.notify import Notify
from nested_agent.rpc import api, server

RELEASE = daemon.VERSION.release_string()
ABOUT = {
    'version': RELEASE,
    'description': (
        'Verifies nested virtualization on this compute node, at once after a change and every '
        'minute besides, reports it, and mends it where [remediation] mode is enforce.'
    ),
    'epilog': (
        'Run by systemd (nested-agent.service); its log goes to the journal: journalctl -u '
        'nested-agent. SIGHUP, "systemctl reload nested-agent", reads the configuration again. '
        'What it found is shown by "nested-agentctl status". Exit codes: 0 told to stop, 1 the '
        'loop failed, 64 configuration or command line cannot be used, or another one runs.'
    ),
}
LOG = log.getLogger(__name__)


def _run(conf: cfg.ConfigOpts, reload: daemon.Reload) -> int:
    notify = notifier(conf)
    effort = Effort()
    metrics = textfile(conf, effort)
    state_dir = Path(conf.agent.state_dir)
    try:
        state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f'[agent] state_dir {state_dir}: {error.strerror}') from error
    _lock = service.lock(Path(conf.agent.run_dir))  # held until the process ends

    def make_server(host: str, asked: service.Asked) -> service.Server:
        return server.Server(conf, host, asked)

    channels: list[Channel] = []
    remote = server.configured(conf)
    if remote:
        channels.append(Cast(Sender(conf, RELEASE), lambda: float(conf.agent.report_interval)))
    else:
        LOG.info('no transport_url is set: standalone, nobody can ask by RPC')
    if metrics:
        channels.append(metrics)
    if notify:
        LOG.info('notifications are on')
        channels.append(notify)
    agent = service.AgentService(
        conf, make_server if remote else None, channels=channels, effort=effort, onlooker=notify
    )
    return lifecycle.run(agent, reload)


def textfile(conf: cfg.ConfigOpts, effort: Effort) -> Channel | None:
    """Return what writes metrics as the configuration says; None: nobody wants any.

    :raises ConfigurationError: the library for it is not installed
    """
    if not conf.metrics.textfile_directory:
        return None
    # Imported here: the library is installed with the extra "metrics" alone.
    try:
        from nested_agent.reporting.textfile import Textfile
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'[metrics] textfile_directory: {error.name} is not installed: it comes with '
            '"nested-agent[metrics]"; or unset the option'
        ) from error
    return Textfile(
        Path(conf.metrics.textfile_directory),
        RELEASE,
        lambda: float(conf.agent.interval),
        effort,
        History(Path(conf.agent.state_dir)).runs,
    )


def notifier(conf: cfg.ConfigOpts) -> Notify | None:
    """Return what notifies as the configuration says; None: nobody is to be notified.

    :raises ConfigurationError: naming the option that cannot be used
    """
    wanted = notifications.options(conf)
    if not wanted.wanted:
        return None
    notifications.check(wanted, broker=server.configured(conf))
    # Imported here: it costs megabytes, and most of a start.
    from nested_agent.reporting.notify_transport import Notifier

    option = f'[{notifications.GROUP}] transport_url' if wanted.own_broker else api.URL
    return Notify(Notifier(conf, option))


COMMAND = daemon.Command(load.AGENT, ABOUT, _run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop, and return its exit code."""
    return COMMAND.main(argv)


def check(arguments: Sequence[str]) -> list[str]:
    """Look at every option and return what is none, as :meth:`daemon.Command.check`."""
    return COMMAND.check(arguments)


if __name__ == '__main__':
    sys.exit(main())
