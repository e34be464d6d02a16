"""``nested-collector-manage``: the collector's database."""

import argparse
import os
import sys
from collections.abc import Sequence

from oslo_config import cfg

from nested_agent.cmd import exit_codes
from nested_agent.cmd.collector import PROGRAM, missing
from nested_agent.conf import collector, load
from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc.api import first_line


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
    except _DatabaseError as error:
        print(f'{parser.prog}: the database: {error}', file=sys.stderr)  # noqa: T201
        return exit_codes.UNAVAILABLE
    return 0


class _DatabaseError(Exception):
    """It cannot be reached, or refused what was wanted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        'nested-collector-manage',
        description='Make and change the database of nested-collector.',
        epilog='Exit codes: 0 done, 64 configuration or command line cannot be used, 69 the '
        'database cannot be reached, or refuses.',
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
    groups = parser.add_subparsers(dest='group', required=True, metavar='db')
    commands = groups.add_parser('db', help='the schema of the database').add_subparsers(
        dest='command', required=True, metavar='COMMAND'
    )
    commands.add_parser('sync', help='make the tables, or bring them to this release')
    commands.add_parser('version', help='show which schema there is, and which is wanted')
    return parser


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
        if options.command == 'sync':
            database.sync(engine)
        return f'{database.current(engine) or "none"} (wanted: {database.wanted()})'
    except (db_exception.DBError, exc.SQLAlchemyError) as error:
        raise _DatabaseError(first_line(error)) from error
    finally:
        os.umask(before)
        engine.dispose()


if __name__ == '__main__':
    sys.exit(main())
