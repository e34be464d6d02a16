"""``nested-agent``: the daemon of a compute node."""

from nested_agent import bootstrap  # noqa: F401, I001  # first: it chooses oslo.service's backend

import sys
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from nested_agent import lifecycle, service
from nested_agent.cmd import daemon
from nested_agent.conf import load
from nested_agent.exceptions import ConfigurationError
from nested_agent.reporting.cast import Cast, Sender
from nested_agent.reporting.channel import Channel
from nested_agent.rpc import server

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
    agent = service.AgentService(conf, make_server if remote else None, channels=channels)
    return lifecycle.run(agent, reload)


COMMAND = daemon.Command(load.AGENT, ABOUT, _run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop, and return its exit code."""
    return COMMAND.main(argv)


def check(arguments: Sequence[str]) -> list[str]:
    """Look at every option and return what is none, as :meth:`daemon.Command.check`."""
    return COMMAND.check(arguments)


if __name__ == '__main__':
    sys.exit(main())
