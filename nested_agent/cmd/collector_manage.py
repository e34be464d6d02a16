"""``nested-collector-manage``: the collector's database."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from nested_agent.cmd import exit_codes
from nested_agent.cmd.collector import PROGRAM, missing
from nested_agent.cmd.remote import host
from nested_agent.conf import collector, load
from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc.api import first_line

if TYPE_CHECKING:
    import sqlalchemy


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as end:
        # argparse ends with 2.
        return exit_codes.USAGE if end.code else 0
    try:
        print(_run(options))  # noqa: T201  # what was asked for
    except ConfigurationError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)  # noqa: T201
        return exit_codes.USAGE
    except _RefusedError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)  # noqa: T201
        return exit_codes.USAGE
    except _DatabaseError as error:
        print(f'{parser.prog}: the database: {error}', file=sys.stderr)  # noqa: T201
        return exit_codes.UNAVAILABLE
    return 0


class _DatabaseError(Exception):
    """It cannot be reached, or refused what was wanted."""


class _RefusedError(Exception):
    """It cannot be done; nothing was changed."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        'nested-collector-manage',
        description='Make and change the database of nested-collector.',
        epilog='Exit codes: 0 done, 64 configuration or command line cannot be used, or a node '
        'cannot be forgotten; nothing was changed; 69 the database cannot be reached, or refuses.',
    )
    for name in ('file', 'dir'):
        parser.add_argument(
            f'--config-{name}',
            action='append',
            default=[],
            metavar=name.upper(),
            help='configuration of nested-collector, may be given several times (default: '
            '/etc/nested-agent/nested-collector.conf and .conf.d, where they exist)',
        )
    groups = parser.add_subparsers(dest='group', required=True, metavar='GROUP')
    tables = _commands(groups.add_parser('db', help='the schema of the database'))
    tables.add_parser('sync', help='make the tables, or bring them to this release')
    tables.add_parser('version', help='show which schema there is, and which is wanted')
    nodes = _commands(groups.add_parser('node', help='the nodes it knows of'))
    forget = nodes.add_parser('forget', help='forget nodes that are down and do not come back')
    forget.add_argument('hosts', nargs='+', type=host, metavar='HOST', help='name of a node')
    return parser


def _commands(group: argparse.ArgumentParser) -> Any:
    return group.add_subparsers(dest='command', required=True, metavar='COMMAND')


def _run(options: argparse.Namespace) -> str:
    try:
        from oslo_db import exception as db_exception
        from sqlalchemy import exc

        from nested_agent.collector import database
    except ModuleNotFoundError as error:
        raise ConfigurationError(missing(error)) from error
    conf = cfg.ConfigOpts()
    collector.set_defaults()
    database.register_opts(conf)
    load.load(conf, options.config_file, options.config_dir, program=PROGRAM)
    engine = database.connect(conf)
    # A file of SQLite is for nobody but its owner, as one that the unit makes.
    before = os.umask(0o077)
    try:
        if options.command == 'forget':
            database.check(engine)
            return _forget(engine, options.hosts, collector.options(conf).agent_down_time)
        if options.command == 'sync':
            database.sync(engine)
        return f'{database.current(engine) or "none"} (wanted: {database.wanted()})'
    except (db_exception.DBError, exc.SQLAlchemyError) as error:
        raise _DatabaseError(first_line(error)) from error
    finally:
        os.umask(before)
        engine.dispose()


def _forget(engine: 'sqlalchemy.Engine', hosts: Sequence[str], down_time: float) -> str:
    from nested_agent.collector.store import Store

    hosts, now = list(dict.fromkeys(hosts)), time.time()
    staying = Store(engine).forget_hosts(hosts, now, down_time)
    if staying:
        reasons = '; '.join(_reason(name, seen, now) for name, seen in staying.items())
        raise _RefusedError(f'no node was forgotten: {reasons}')
    return f'forgotten: {", ".join(hosts)}'


def _reason(name: str, seen: float | None, now: float) -> str:
    if seen is None:
        return f'no report of {name} is kept'
    return f'{name} is not down: it reported {max(now - seen, 0):.0f} s ago; stop its agent first'


if __name__ == '__main__':
    sys.exit(main())
