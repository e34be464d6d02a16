"""The schema of the collector's database, looked at without making or changing a file.

:mod:`nested_agent.collector.database` connects to be used: SQLite then makes files.
"""

from pathlib import Path
from urllib import parse

import sqlalchemy as sa
from oslo_config import cfg

from nested_agent.collector import database
from nested_agent.exceptions import NestedAgentError
from nested_agent.rpc.api import first_line


class UnreachableError(NestedAgentError):
    """Nobody can tell: the database does not answer, or lets nobody in."""


def look(conf: cfg.ConfigOpts) -> str:
    """Return the revision of the schema, which is the one of this release.

    :param conf: with group ``[database]``
    :raises ConfigurationError: ``[database] connection`` cannot be used
    :raises SchemaError: it is another one
    :raises UnreachableError: it could not be found out
    """
    engine = _engine(conf)
    try:
        database.check(engine)
    except database.ERRORS as error:
        raise UnreachableError(f'[database] connection: {first_line(error)}') from error
    finally:
        engine.dispose()
    return database.wanted()


def _engine(conf: cfg.ConfigOpts) -> sa.Engine:
    engine = database.connect(conf)
    if engine.dialect.name != 'sqlite':
        return engine
    path = Path(engine.url.database or '')
    engine.dispose()
    if not path.is_file():
        raise database.SchemaError(
            f'[database] connection: there is no file {path} yet: {database.SYNC}'
        )
    # The log of what is not in the file yet has to be read; where there is none it would be made.
    log = path.with_name(f'{path.name}-wal').exists()
    query = {'uri': 'true', 'mode': 'ro', **({} if log else {'immutable': '1'})}
    name = f'file:{parse.quote(str(path.absolute()))}'
    return sa.create_engine(sa.URL.create('sqlite', database=name, query=query))
