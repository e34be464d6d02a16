"""``nested-agent``: the daemon of a compute node."""

from nested_agent import bootstrap  # noqa: F401, I001  # first: it chooses oslo.service's backend

import sys
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log
from oslo_reports import guru_meditation_report as gmr
from oslo_reports import opts as gmr_opts
from pbr import version

from nested_agent import service
from nested_agent.cmd import exit_codes
from nested_agent.conf import load
from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc import server

VERSION = version.VersionInfo('nested-agent')
LOG = log.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop, and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    conf = cfg.CONF
    log.register_options(conf)
    gmr_opts.set_defaults(conf)
    try:
        load.load(conf, arguments=arguments)
        log.setup(conf, 'nested_agent', VERSION.release_string())
        gmr.TextGuruMeditation.setup_autorun(VERSION, conf=conf)
        return _run(conf, arguments)
    except ConfigurationError as error:
        print(f'nested-agent: {error}', file=sys.stderr)  # noqa: T201  # before there is a log
        return exit_codes.USAGE


def _run(conf: cfg.ConfigOpts, arguments: Sequence[str]) -> int:
    state_dir = Path(conf.agent.state_dir)
    try:
        state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f'[agent] state_dir {state_dir}: {error.strerror}') from error
    _lock = service.lock(Path(conf.agent.run_dir))  # held until the process ends

    def make_server(host: str, asked: service.Asked) -> service.Server:
        return server.Server(conf, host, asked)

    def reload() -> None:
        # Tried on a copy: a bad value would make every later look at the option fail.
        copy = cfg.ConfigOpts()
        log.register_options(copy)
        load.load(copy, arguments=arguments)
        conf.mutate_config_files()

    answering = server.configured(conf)
    if not answering:
        LOG.info('no transport_url is set: standalone, nobody can ask by RPC')
    agent_service = service.AgentService(conf, make_server if answering else None)
    return service.run(agent_service, reload)


if __name__ == '__main__':
    sys.exit(main())
