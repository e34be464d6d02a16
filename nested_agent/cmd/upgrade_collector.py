"""The collector on this host, if it is one's: its configuration, and the schema of its database."""

import queue
import threading
from collections.abc import Sequence

from oslo_config import cfg
from oslo_upgradecheck.upgradecheck import Code

from nested_agent.cmd import collector as command
from nested_agent.cmd.upgrade_state import Finding
from nested_agent.conf import collector, load
from nested_agent.exceptions import ConfigurationError

#: Seconds to wait for the database.
DEADLINE = 20.0


def look(config_files: Sequence[str] = (), deadline: float = DEADLINE) -> Finding:
    """Return whether this release's collector could use its database.

    One that does not answer is a warning: the collector waits for it.

    :param config_files: of the collector; none: where they are by default
    """
    if not config_files and not any(command.PROGRAM.places().values()):
        return Finding(Code.SUCCESS, 'this is no host of nested-collector: it has no files here')
    found: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def work() -> None:
        try:
            found.put(_look(config_files))
        except Exception as error:  # noqa: BLE001  # handed to the caller's thread
            found.put(Finding(Code.FAILURE, f'a defect: {type(error).__name__}: {error}'))

    threading.Thread(target=work, name='schema', daemon=True).start()
    try:
        return found.get(timeout=deadline)
    except queue.Empty:
        return Finding(Code.WARNING, f'the database did not answer within {deadline:g} s')


def _look(config_files: Sequence[str]) -> Finding:
    arguments = [f'--config-file={each}' for each in config_files]
    try:
        command.COMMAND.check(arguments)
        from nested_agent.collector import database, schema
    except ConfigurationError as error:
        return Finding(Code.FAILURE, str(error))
    except ModuleNotFoundError as error:
        return Finding(Code.WARNING, command.missing(error))
    conf = cfg.ConfigOpts()
    collector.set_defaults()
    database.register_opts(conf)
    read = load.load(conf, arguments=arguments, program=command.PROGRAM)
    try:
        return Finding(Code.SUCCESS, f'the schema is current: {schema.look(conf)}')
    except schema.UnreachableError as error:
        return Finding(Code.WARNING, str(error))
    except ConfigurationError as error:
        return Finding(Code.FAILURE, str(load.located(read, error)))
