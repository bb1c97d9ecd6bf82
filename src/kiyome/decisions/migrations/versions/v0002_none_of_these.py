"""The verdict none_of_these: the photo shows none of the classes."""

from alembic import op

from kiyome.decisions.migrations.versions.v0001_events import SQLITE_TRIGGERS

revision = "0002"
down_revision = "0001"

BEFORE = "('keep', 'relabel', 'drop', 'unsure')"
AFTER = "('keep', 'relabel', 'none_of_these', 'drop', 'unsure')"


def upgrade() -> None:
    """Allow the new verdict."""
    allow_verdicts(BEFORE, AFTER, revision)


def allow_verdicts(before: str, after: str, revision: str) -> None:
    """Change the check of verdicts; SQLite changes none, so its table is made anew with the same rows."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.drop_constraint("known_verdict", "decision_events")
        op.create_check_constraint("known_verdict", "decision_events", f"verdict IN {after}")
        return
    created = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'decision_events'"
    ).scalar_one()
    other = f"decision_events_{revision}"
    op.execute(created.replace("decision_events", other, 1).replace(before, after))
    op.execute(f"INSERT INTO {other} SELECT * FROM decision_events")  # noqa: S608 - names are ours
    op.execute("DROP TABLE decision_events")  # and its triggers
    op.execute(f"ALTER TABLE {other} RENAME TO decision_events")
    for statement in SQLITE_TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: what people decided is not thrown away."""
    raise NotImplementedError("A store of decisions only goes forward; go back to a backup instead.")
