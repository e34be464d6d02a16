"""What changes the schema, for alembic; run by ``nested-collector-manage db sync``."""
