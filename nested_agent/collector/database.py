"""The connection to the database, and its schema."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.script
import sqlalchemy as sa
from alembic.runtime import migration
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_db import options as db_options
from oslo_db.sqlalchemy import engines

from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc.api import first_line

#: Where alembic finds what changes the schema.
MIGRATIONS = 'nested_agent.collector:migrations'

#: Seconds that SQLite waits for another process that writes.
SQLITE_WAIT = 30.0

#: What oslo.db makes an engine of; its tries at the start are not wanted, ours never end.
ENGINE_OPTIONS = (
    'mysql_sql_mode',
    'mysql_wsrep_sync_wait',
    'connection_recycle_time',
    'connection_debug',
    'connection_trace',
    'connection_parameters',
    'max_pool_size',
    'max_overflow',
    'pool_timeout',
    'sqlite_synchronous',
)

MYSQL = ('mysql', 'mariadb')

#: Seconds after which a server is given up that is there and says nothing.
TIMEOUTS = {'read_timeout': '60', 'write_timeout': '60'}

#: What means that the database cannot be reached, or takes nothing now.
AWAY = (
    db_exception.DBConnectionError,
    db_exception.DBDeadlock,
    sa.exc.OperationalError,
    sa.exc.TimeoutError,
)

#: What a question ends with that the database does not answer.
ERRORS = (db_exception.DBError, sa.exc.SQLAlchemyError)

#: What else a connection fails by: there is no such database, it is none, or an option of the URL
#: (no such option, no such file, a package is missing that the server's way to log in takes).
NEVER = (db_exception.DBError, OSError, RuntimeError, TypeError)

SYNC = 'run "nested-collector-manage db sync"'


class SchemaError(ConfigurationError):
    """The database is none that this release works with; the message says what to do."""


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register group ``[database]``; doing so again changes nothing."""
    conf.register_opts(db_options.database_opts, group='database')


def connect(conf: cfg.ConfigOpts) -> sa.Engine:
    """Return what connects to ``[database] connection``; connects to nothing yet.

    :raises ConfigurationError: the option cannot be used; its text, with the password, is not shown
    """
    group = conf.database
    options = {name: getattr(group, name) for name in ENGINE_OPTIONS if hasattr(group, name)}
    try:
        url = sa.make_url(group.connection)
        if '@' in (url.host or ''):
            # It is half of the password, which every error would show.
            raise ConfigurationError('[database] connection: write an @ in the password as %40')
        mysql = url.get_backend_name() in MYSQL
        if not mysql and url.get_backend_name() != 'sqlite':
            raise ConfigurationError('[database] connection: neither MariaDB, MySQL nor SQLite')
        if mysql:
            # oslo.db knows no other name.
            url = url.set(drivername=f'mysql+{url.get_driver_name()}')
        if mysql and url.get_driver_name() == 'pymysql':
            # OpenStack's URLs end in charset=utf8, which lacks what reports may hold.
            url = url.update_query_dict({**TIMEOUTS, **url.query, 'charset': 'utf8mb4'})
        engine: sa.Engine = engines.create_engine(url, max_retries=0, **options)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigurationError(
            f'[database] connection: {type(error).__name__}: it is not of the form '
            'mysql+pymysql://USER:PASSWORD@HOST/DATABASE or sqlite:////PATH (it is not shown here)'
        ) from None
    if mysql:
        # Two collectors that write about other nodes must not wait for one another.
        return engine.execution_options(isolation_level='READ COMMITTED')
    if engine.dialect.name == 'sqlite':
        sa.event.listen(engine, 'connect', _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, record: object) -> None:
    connection.execute(f'PRAGMA busy_timeout = {int(SQLITE_WAIT * 1000)}')
    # Readers do not wait for a writer; and nothing is lost but the last moments of a power cut.
    connection.execute('PRAGMA journal_mode = WAL')
    connection.execute('PRAGMA synchronous = NORMAL')


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Begin a transaction that reads what it then writes; nobody else writes it meanwhile."""
    with engine.begin() as connection:
        if engine.dialect.name == 'sqlite':
            # A transaction that begins with reading may be refused to write.
            connection.exec_driver_sql('DELETE FROM nodes WHERE 0')
        yield connection


def sync(engine: sa.Engine) -> None:
    """Bring the schema to the one of this release, in as many steps as it takes.

    :raises SchemaError: it is of a later release, or there is no database
    """
    _known(engine)
    config = _config()
    with engine.begin() as connection:
        config.attributes['connection'] = connection
        alembic.command.upgrade(config, 'head')


def check(engine: sa.Engine) -> None:
    """Make sure that the schema is the one of this release.

    :raises SchemaError: it is not
    :raises Exception: one of :data:`AWAY`: nobody can tell now
    """
    revision, head = _known(engine), wanted()
    if revision is None:
        raise SchemaError(f'[database] connection: the database has no tables yet: {SYNC}')
    if revision != head:
        raise SchemaError(
            f'[database] connection: the schema is {revision}, this release needs {head}: {SYNC}'
        )


def current(engine: sa.Engine) -> str | None:
    """Return the revision of the schema; None where there is none yet.

    :raises SchemaError: there is no database that could have one
    """
    if _to_be_made(engine):
        return None
    try:
        with engine.connect() as connection:
            context = migration.MigrationContext.configure(connection)
            revision: str | None = context.get_current_revision()
    except AWAY:
        raise
    except NEVER as error:
        raise SchemaError(
            f'[database] connection: it cannot be used: {first_line(error)}'
        ) from error
    return revision


def _to_be_made(engine: sa.Engine) -> bool:
    """Return whether this is a file that is not there: to look at it would be to make it."""
    name = engine.url.database
    if engine.dialect.name != 'sqlite' or not name or name == ':memory:':
        return False
    return Path(name).parent.is_dir() and not Path(name).exists()


def wanted() -> str:
    """Return the revision of the schema that this release works with."""
    head = alembic.script.ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # noqa: S101  # there is one
    return head


def _known(engine: sa.Engine) -> str | None:
    revision = current(engine)
    scripts = alembic.script.ScriptDirectory.from_config(_config())
    known = {each.revision for each in scripts.walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaError(
            f'[database] connection: the schema is {revision}, of a later release than this one'
        )
    return revision


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option('script_location', MIGRATIONS)
    return config
