"""``nested-collector``: the daemon of the control plane."""

from nested_agent import bootstrap  # noqa: F401, I001  # first: it chooses oslo.service's backend

import logging
import sys
from collections.abc import Sequence

from oslo_config import cfg

from nested_agent import lifecycle
from nested_agent.cmd import daemon
from nested_agent.conf import collector, load
from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc import api

PROGRAM = load.Program('nested-collector', collector.register, collector.list_opts)
LIBRARIES = ('oslo.db',)
ABOUT = {
    'version': daemon.VERSION.release_string(),
    'description': (
        'Keeps the last report of the agent of every compute node, and what changed, in a '
        'database; "nested-agentctl node list" asks it. Several may run.'
    ),
    'epilog': (
        'Run by systemd (nested-collector.service); its log goes to the journal: journalctl -u '
        'nested-collector. SIGHUP, "systemctl reload nested-collector", reads the configuration '
        'again. The database is made by "nested-collector-manage db sync". Exit codes: 0 told to '
        'stop, 1 it failed, 64 configuration, command line or database cannot be used.'
    ),
}


def _run(conf: cfg.ConfigOpts, reload: daemon.Reload) -> int:
    # Every plug-in and every look at the schema is news to it.
    logging.getLogger('alembic').setLevel(logging.WARNING)
    # Imported here: it is installed with the extra "collector" alone, and --help does without.
    try:
        from nested_agent.collector import database, service
    except ModuleNotFoundError as error:
        raise ConfigurationError(missing(error)) from error
    if not api.configured(conf):
        raise ConfigurationError('[DEFAULT] transport_url is not set: no report can come')
    collector.set_defaults()
    database.register_opts(conf)
    return lifecycle.run(service.CollectorService(conf), reload)


def missing(error: ModuleNotFoundError) -> str:
    """Return what to do about a package that is not there."""
    return f'{error.name} is not installed: it comes with "nested-agent[collector]"'


COMMAND = daemon.Command(PROGRAM, ABOUT, _run, LIBRARIES)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop, and return its exit code."""
    return COMMAND.main(argv)


if __name__ == '__main__':
    sys.exit(main())
