"""The log of events, and the triggers that let nobody change or remove one."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER decision_events_are_not_changed BEFORE UPDATE ON decision_events
    BEGIN SELECT RAISE(ABORT, 'decision events are only ever added'); END
    """,
    """
    CREATE TRIGGER decision_events_are_not_removed BEFORE DELETE ON decision_events
    BEGIN SELECT RAISE(ABORT, 'decision events are only ever added'); END
    """,
    # INSERT OR REPLACE removes rows without a word to the trigger above
    """
    CREATE TRIGGER decision_events_are_not_replaced BEFORE INSERT ON decision_events
    WHEN EXISTS (SELECT 1 FROM decision_events WHERE number >= NEW.number)
      OR EXISTS (SELECT 1 FROM decision_events
                 WHERE review = NEW.review AND batch = NEW.batch AND place = NEW.place)
      OR EXISTS (SELECT 1 FROM decision_events
                 WHERE review = NEW.review AND reviewer = NEW.reviewer
                   AND image_id = NEW.image_id AND sequence = NEW.sequence)
    BEGIN SELECT RAISE(ABORT, 'decision events are only ever added'); END
    """,
)
POSTGRESQL_TRIGGERS = (
    """
    CREATE FUNCTION decision_events_are_only_added() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'decision events are only ever added'; END $$
    """,
    """
    CREATE TRIGGER decision_events_are_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON decision_events
    FOR EACH STATEMENT EXECUTE FUNCTION decision_events_are_only_added()
    """,
)


def upgrade() -> None:
    """Make the table and its triggers."""
    whole = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "decision_events",
        sa.Column("number", whole, primary_key=True, autoincrement=False),
        sa.Column("review", sa.Text, nullable=False),
        sa.Column("batch", sa.Text, nullable=False),
        sa.Column("place", whole, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("undoes", sa.Text),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("image_id", sa.Text, nullable=False),
        sa.Column("sequence", whole, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("table_content", sa.Text, nullable=False),
        sa.Column("seen", sa.Text, nullable=False),
        sa.Column("milliseconds", whole),
        sa.Column("decided_at", sa.Text, nullable=False),
        sa.UniqueConstraint("batch", "review", "place", name="one_act_for_a_key"),
        sa.UniqueConstraint("image_id", "reviewer", "review", "sequence", name="one_event_for_a_version"),
        sa.CheckConstraint("number >= 1 AND place >= 0 AND sequence >= 1", name="counted"),
        sa.CheckConstraint("kind IN ('decide', 'undo', 'redo', 'import')", name="known_kind"),
        sa.CheckConstraint("verdict IN ('keep', 'relabel', 'drop', 'unsure')", name="known_verdict"),
        sa.CheckConstraint(
            "(label IS NOT NULL) = (verdict IS NOT NULL AND verdict = 'relabel')", name="label_with_relabel"
        ),
        sqlite_strict=True,
    )
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_TRIGGERS if on_sqlite else POSTGRESQL_TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: what people decided is not thrown away."""
    raise NotImplementedError("A store of decisions only goes forward; go back to a backup instead.")
