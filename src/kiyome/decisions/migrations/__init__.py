"""How a store of decisions came to its present tables: one file a step, applied by Alembic when it opens."""
