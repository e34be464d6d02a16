"""The tables, as ``nested-collector-manage db sync`` makes them. Times: seconds since the epoch."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from nested_agent.collector import node
from nested_agent.collector.digest import MESSAGE_LENGTH
from nested_agent.rpc import fleet

METADATA = sa.MetaData()

#: Names of hosts that differ in case only, or by an accent, are different names.
EXACT: dict[str, Any] = {
    'mysql_engine': 'InnoDB',
    'mysql_charset': 'utf8mb4',
    'mysql_collate': 'utf8mb4_bin',
}

HOST = sa.String(fleet.HOST_LENGTH)
WORD = sa.String(fleet.WORD_LENGTH)
TIME: sa.Double[float] = sa.Double()

NODES = sa.Table(
    'nodes',
    METADATA,
    sa.Column('host', HOST, primary_key=True),
    sa.Column('state', WORD, nullable=False),
    sa.Column('reasons', sa.String(node.REASONS_LENGTH), nullable=False),
    sa.Column('vendor', WORD),
    sa.Column('kernel', HOST),
    sa.Column('release', HOST),
    sa.Column('schema_version', WORD, nullable=False),
    sa.Column('boot_id', WORD, nullable=False),
    sa.Column('boot_before', WORD),
    sa.Column('booted', TIME, nullable=False),
    sa.Column('sequence', sa.BigInteger, nullable=False),
    sa.Column('since', TIME, nullable=False),
    sa.Column('seen', TIME, nullable=False),
    sa.Column('confirmed', TIME, nullable=False),
    sa.Column('contested', TIME),
    sa.Column('run', HOST),
    sa.Index('nodes_state', 'state', 'seen'),
    sa.Index('nodes_seen', 'seen'),
    **EXACT,
)

#: Apart, so that a list of nodes need not read them.
REPORTS = sa.Table(
    'reports',
    METADATA,
    sa.Column('host', HOST, primary_key=True),
    sa.Column(
        'text', sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb'), nullable=False
    ),
    **EXACT,
)

EVENTS = sa.Table(
    'events',
    METADATA,
    sa.Column(
        'id',
        # SQLite counts up by itself in this type alone.
        sa.BigInteger().with_variant(sa.Integer(), 'sqlite'),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column('time', TIME, nullable=False),
    sa.Column('host', HOST, nullable=False),
    sa.Column('kind', WORD, nullable=False),
    sa.Column('before', WORD),
    sa.Column('after', WORD),
    sa.Column('reason', WORD),
    sa.Column('message', sa.String(MESSAGE_LENGTH), nullable=False),
    sa.Index('events_host', 'host', 'id'),
    sa.Index('events_time', 'time'),
    **EXACT,
)
