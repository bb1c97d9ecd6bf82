"""The verdict both: the photo shows two classes at once, or people may rightly dispute which."""

from kiyome.decisions.migrations.versions import v0002_none_of_these
from kiyome.decisions.migrations.versions.v0002_none_of_these import allow_verdicts, downgrade

__all__ = ["downgrade", "upgrade"]

revision = "0003"
down_revision = "0002"

AFTER = "('keep', 'relabel', 'both', 'none_of_these', 'drop', 'unsure')"


def upgrade() -> None:
    """Allow the new verdict."""
    allow_verdicts(v0002_none_of_these.AFTER, AFTER, revision)
