"""Nodes, their reports, and events."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '2026_nodes'
down_revision = None

EXACT: dict[str, Any] = {
    'mysql_engine': 'InnoDB',
    'mysql_charset': 'utf8mb4',
    'mysql_collate': 'utf8mb4_bin',
}


def upgrade() -> None:
    """Make the tables of the first release."""
    op.create_table(
        'nodes',
        sa.Column('host', sa.String(200), primary_key=True),
        sa.Column('state', sa.String(64), nullable=False),
        sa.Column('reasons', sa.String(500), nullable=False),
        sa.Column('vendor', sa.String(64)),
        sa.Column('kernel', sa.String(200)),
        sa.Column('release', sa.String(200)),
        sa.Column('schema_version', sa.String(64), nullable=False),
        sa.Column('boot_id', sa.String(64), nullable=False),
        sa.Column('boot_before', sa.String(64)),
        sa.Column('booted', sa.Double(), nullable=False),
        sa.Column('sequence', sa.BigInteger(), nullable=False),
        sa.Column('since', sa.Double(), nullable=False),
        sa.Column('seen', sa.Double(), nullable=False),
        sa.Column('confirmed', sa.Double(), nullable=False),
        sa.Column('contested', sa.Double()),
        sa.Column('run', sa.String(200)),
        **EXACT,
    )
    op.create_index('nodes_state', 'nodes', ['state', 'seen'])
    op.create_index('nodes_seen', 'nodes', ['seen'])
    op.create_table(
        'reports',
        sa.Column('host', sa.String(200), primary_key=True),
        sa.Column(
            'text', sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb'), nullable=False
        ),
        **EXACT,
    )
    op.create_table(
        'events',
        sa.Column(
            'id',
            sa.BigInteger().with_variant(sa.Integer(), 'sqlite'),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column('time', sa.Double(), nullable=False),
        sa.Column('host', sa.String(200), nullable=False),
        sa.Column('kind', sa.String(64), nullable=False),
        sa.Column('before', sa.String(64)),
        sa.Column('after', sa.String(64)),
        sa.Column('reason', sa.String(64)),
        sa.Column('message', sa.String(500), nullable=False),
        **EXACT,
    )
    op.create_index('events_host', 'events', ['host', 'id'])
    op.create_index('events_time', 'events', ['time'])
