"""Migrations of a store of decisions: one file a step, applied by Alembic when it opens."""
