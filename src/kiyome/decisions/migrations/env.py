"""The script of Alembic that migrates a store, inside the transaction of `engine.bring_up_to_date`."""

from alembic import context

from kiyome.decisions.log import METADATA


def migrate() -> None:
    """Apply the steps that the store lacks, on the connection that it was opened with."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=METADATA,
        version_table=context.config.attributes["version_table"],
        transactional_ddl=True,  # on SQLite, too: the transaction was begun by hand
    )
    context.run_migrations()


if hasattr(context, "config"):  # Alembic lends it while it runs this file; others only import it
    migrate()
