"""What the page sends, checked field by field; nothing is guessed or cut."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kiyome.decisions.events import composed

MOST_ENTRIES = 5_000
LONGEST_DAY = 86_400_000
"""Milliseconds: nobody looks at one photo for longer."""


class Body(BaseModel):
    """Strict: `1.0` is no row, `true` is no version, and an unknown field is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Loose(BaseModel):
    """Of addresses, where everything is text; an unknown field is a mistake here, too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Name = Annotated[str, Field(max_length=64), AfterValidator(composed)]
"""Of a reviewer, however a keyboard wrote its accents."""


class Entry(Body):
    """A decision about one row."""

    row: int = Field(ge=0, lt=2**31)
    version: int = Field(ge=0, lt=2**31)
    """What the page was told when the row was shown; 0 where this reviewer had decided nothing."""
    verdict: Literal["keep", "relabel", "drop", "unsure"]
    label: str | None = Field(default=None, max_length=2048)


class Seen(Body):
    """What the reviewer had in sight."""

    order: str = Field(default="", max_length=32)
    view: str = Field(default="", max_length=32)
    blind: bool = False
    """What the page believes; the server writes down what is so."""
    position: int | None = Field(default=None, ge=0, lt=2**31)


class Decisions(Body):
    """One act: all of it is written, or none."""

    key: str = Field(min_length=1, max_length=200)
    """New for each act, and the same whenever it is sent again."""
    reviewer: Name = Field(min_length=1)
    entries: list[Entry] = Field(min_length=1, max_length=MOST_ENTRIES)
    milliseconds: int | None = Field(default=None, ge=0, le=LONGEST_DAY)
    seen: Seen = Seen()


class Step(Body):
    """An undo or a redo of this reviewer's last act."""

    key: str = Field(min_length=1, max_length=200)
    reviewer: Name = Field(min_length=1)
