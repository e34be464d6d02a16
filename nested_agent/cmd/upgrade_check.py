"""``nested-agent-status upgrade check``: whether this release can go on where the last one was.

As every OpenStack service has it, by oslo.upgradecheck. Nothing is made or changed.
"""

from nested_agent import bootstrap  # noqa: F401, I001  # first: it chooses oslo.service's backend

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck
from oslo_upgradecheck.upgradecheck import Code, Result

from nested_agent.agent import Effort
from nested_agent.cmd import agent, daemon, upgrade_broker, upgrade_collector, upgrade_state
from nested_agent.cmd.upgrade_state import Finding
from nested_agent.conf import files, libraries, load
from nested_agent.drivers import loader
from nested_agent.exceptions import ConfigurationError
from nested_agent.facts import Unread
from nested_agent.node import cpu
from nested_agent.node.root import Root
from nested_agent.rpc import api

NAME = 'nested-agent-status'
ABOUT = {
    'prog': NAME,
    'version': daemon.VERSION.release_string(),
    'description': (
        'Find out, before the daemons are restarted with this release, whether it can work with '
        'what is configured and stored on this host. Nothing is made or changed. As root, who '
        'alone may read all of it.'
    ),
    'epilog': (
        'The files of nested-agent are read, and those of nested-collector where there are any. '
        'Exit codes: 0 all checks passed, 1 something should be looked at, 2 something has to be '
        'mended first, 255 the checks could not be made.'
    ),
}

#: Not among those of the checks, as argparse's 2 would be.
NOT_CHECKED = 255

COLLECTOR_FILE = cfg.MultiStrOpt(
    'collector-config-file',
    default=[],
    metavar='PATH',
    help=(
        'Configuration of nested-collector, may be given several times. Without, its files in '
        '/etc/nested-agent, where there are any.'
    ),
)


class Checks(upgradecheck.UpgradeCommands):
    """What is checked, in this order.

    :param arguments: which files are ours, as oslo.config's command line has it
    :param collector_files: those of the collector; none: where they are by default
    :param conf: what the configuration is read into; oslo.messaging works with the global one only
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        collector_files: Callable[[], Sequence[str]] = tuple,
        conf: cfg.ConfigOpts = cfg.CONF,
        root: Root | None = None,
    ) -> None:
        super().__init__()
        self._arguments = arguments
        self._collector_files = collector_files
        self._conf = conf
        self._root = root or Root()
        self._read: Sequence[files.File] = ()
        self._refused = True

    def configuration(self) -> Result:
        """Read it, look at every option, and at every plug-in that one names."""
        try:
            unknown = agent.check(self._arguments)
            self._read = load.load(self._conf, arguments=self._arguments)
            agent.notifier(self._conf)
            agent.textfile(self._conf, Effort())
            if api.configured(self._conf):
                api.open_transport(self._conf, api.transport_url(self._conf)).cleanup()
        except ConfigurationError as error:
            return Result(Code.FAILURE, str(load.located(self._read, error)))
        self._refused = False
        names = ', '.join(each.path for each in self._read) or 'no file: every default'
        return _result((Finding(Code.WARNING, each) for each in unknown), names)

    def deprecated_options(self) -> Result:
        """Look for what a later release may not know any more."""
        if self._refused:
            return _not_checked()
        options = (*load.ours(), *libraries.options(messaging=True))
        found = files.deprecated(self._read, options)
        return _result((Finding(Code.WARNING, each) for each in found), 'none is set')

    def state_directory(self) -> Result:
        """Look whether all that survives a restart can be read, and nobody else can write it."""
        if self._refused:
            return _not_checked()
        path = Path(self._conf.agent.state_dir)
        try:
            return _result(upgrade_state.findings(path), f'{path}: all records can be read')
        except FileNotFoundError:
            return Result(Code.SUCCESS, f'there is no {path}: no agent has run here yet')

    def drivers(self) -> Result:
        """Load the drivers, those of others too, and choose the one for this processor."""
        loaded = loader.load()
        if not loaded.drivers:
            return Result(Code.FAILURE, '; '.join(('no driver is installed', *loaded.problems)))
        processor = cpu.read(self._root)
        if isinstance(processor, Unread):
            problems: tuple[str, ...] = (*loaded.problems, f'{cpu.CPUINFO}: {processor.detail}')
            driver = None
        else:
            driver, problems = loader.choose(loaded, processor)
            if driver is None:
                problems = (*problems, f'none is for a processor of {processor.vendor}')
        names = ', '.join(each.name for each in loaded.drivers)
        good = f'{names}; {driver.name} is used' if driver else names
        return _result((Finding(Code.WARNING, each) for each in problems), good)

    def message_broker(self) -> Result:
        """Ask the agent of this host over the broker, if there is to be one."""
        if self._refused:
            return _not_checked()
        if not api.configured(self._conf):
            return Result(Code.SUCCESS, f'standalone: {api.URL} is not set')
        return _result((upgrade_broker.reach(self._conf),))

    def collector_database(self) -> Result:
        """Look at the schema of the collector's database, on its host."""
        return _result((upgrade_collector.look(self._collector_files()),))

    _upgrade_checks = (
        ('Configuration', configuration),
        ('Deprecated options', deprecated_options),
        ('State directory', state_directory),
        ('Drivers', drivers),
        ('Message broker', message_broker),
        ('Collector database', collector_database),
    )


def _result(findings: Iterable[Finding], good: str | None = None) -> Result:
    """Return the worst of the findings, with the sentences of all that are as bad.

    :param good: what to say where there are none
    """
    found = list(findings)
    code = max((each.code for each in found), default=Code.SUCCESS)
    told = [each.text for each in sorted(found, key=lambda each: -each.code)]
    return Result(code, '; '.join(told) or good)


def _not_checked() -> Result:
    return Result(Code.WARNING, 'not checked: the configuration cannot be used')


def main(argv: Sequence[str] | None = None) -> int:
    """Make the checks, show what they found, and return the exit code."""
    # Read by the checks, which tell what is wrong; oslo.config itself would end with a traceback.
    named, words = files.split(sys.argv[1:] if argv is None else argv)
    # The table tells it all.
    logging.getLogger().addHandler(logging.NullHandler())
    line = cfg.ConfigOpts()
    line.register_cli_opt(COLLECTOR_FILE)
    ours = [f'{option}={path}' for option, path in named]
    checks = Checks(ours, lambda: line.collector_config_file)
    upgradecheck.register_cli_options(line, checks)
    try:
        line(args=words, default_config_files=[], default_config_dirs=[], **ABOUT)
    except SystemExit as end:
        return NOT_CHECKED if end.code else 0
    upgradecheck.CONF = line  # where it looks for --json
    return int(upgradecheck.run(line))


if __name__ == '__main__':
    sys.exit(main())
