"""Alembic runs this for every command: on the connection that it was given."""

from alembic import context

from nested_agent.collector.tables import METADATA

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=METADATA,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
