"""Which row of the table a photo's name in a stranger's file means. N rows.

Other tools rename what they take: a folder is put before it, only the last part is left, the ending goes.
Names are compared as text and never opened.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import splitext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.events import Verdict
from kiyome.errors import InputError

MAX_BYTES = 256 << 20
"""Of a file that is read whole."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What one reviewer decided about one row, and still stands."""

    row: int
    verdict: Verdict
    label: str | None = None
    """The class; with relabel only."""
    reviewer: str
    decided_at: str = ""
    seconds: float | None = None
    """Spent on it, where that was measured."""
    run: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reviewed:
    """N rows of a run, and what people decided about them."""

    run: str
    class_names: tuple[str, ...]
    image_ids: Sequence[str]
    photo_names: Sequence[str]
    """(N,) paths below the data folder as text; the id where there is no photo."""
    given_labels: NDArray[np.integer] | None = None
    """(N,); None, as the next two, in a blind review."""
    suggested_labels: NDArray[np.integer] | None = None
    probability: NDArray[np.floating] | None = None
    """(N,) chance that the given label is wrong."""
    decided: Sequence[Held] = ()
    """In order of rows."""
    agreed: Mapping[int, Held] = field(default_factory=dict)
    """By row, what all who decided agree on; disputed rows are absent."""

    def label_of(self, decision: Held) -> str | None:
        """The class that a decision stands for; None for drop and unsure."""
        return self.given_label(decision.row) if decision.verdict == "keep" else decision.label

    def given_label(self, row: int) -> str | None:
        """The class that the row was given; None in a blind review."""
        return None if self.given_labels is None else self.class_names[self.given_labels[row]]

    def agreed_labels(self) -> dict[int, str]:
        """By row, the class that people agree on."""
        labels = {row: self.label_of(decision) for row, decision in self.agreed.items()}
        return {row: label for row, label in labels.items() if label is not None}

    def left_out_of_one_label(self) -> dict[str, int]:
        """What a format with one label a photo cannot say, by reason."""
        disputed = {d.row for d in self.decided} - self.agreed.keys()
        verdicts = Counter(d.verdict for d in self.agreed.values())
        counts = {
            "disputed rows": len(disputed),
            "rows that people drop": verdicts["drop"],
            "rows that people are unsure of": verdicts["unsure"],
        }
        return {reason: number for reason, number in counts.items() if number}


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file's content, and what it could not hold."""

    content: bytes
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many decisions stay out, by reason."""
    to_know: str = ""
    """What whoever opens the file in the other tool needs besides."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one person says of one photo in a file that came in."""

    photo: str
    """The name as the file has it."""
    label: str | None = None
    """The class; None where they name none."""
    verdict: Verdict | None = None
    """Where they name no class."""
    reviewer: str = ""
    """Empty where the file names nobody."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that a file says, and what was counted instead of taken."""

    said: Sequence[Said]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How many entries say nothing that can be taken, by reason."""
    names_have_endings: bool = True
    """Whether photos are named with the ending of their file."""


def some(texts: Iterable[str], shown: int = 3) -> str:
    """The first few different texts for a message, and how many more there are.

    >>> some(["b", "a", "a", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    different = sorted(set(texts))
    more = f" and {len(different) - shown} more" if len(different) > shown else ""
    return ", ".join(map(repr, different[:shown])) + more


def check_size(content: bytes, what: str) -> None:
    """Refuse a file too large to be read whole.

    Raises
    ------
    InputError
        Where it is larger.
    """
    if len(content) > MAX_BYTES:
        raise InputError(
            f"A {what} file has at most {MAX_BYTES >> 20} MiB.",
            came=f"{len(content) >> 20} MiB or more",
            remedy="Export it in parts.",
        )


def parse_json(content: bytes, what: str) -> Any:
    """The value of a JSON document.

    Raises
    ------
    InputError
        Where it is too large, nested too deeply or no JSON.
    """
    check_size(content, what)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"A {what} file is JSON in UTF-8.", came=str(error) or "deep nesting", remedy="Export it again."
        ) from error


AMBIGUOUS = -1
"""Stands for a name that several rows have."""

FindRow = Callable[[str], int | None]


def row_finder(image_ids: Sequence[str], photo_names: Sequence[str], *, endings: bool = True) -> FindRow:
    """A function from a name to its row; None where no row, or more than one, can be meant.

    A name means a row if it is its id or path; else if one of them ends in the other, in whole parts between
    slashes. So ``default/cat/1.jpg`` and ``1.jpg`` mean ``cat/1.jpg``, but ``dog/1.jpg`` does not.

    Parameters
    ----------
    image_ids, photo_names : sequence of str
        (N,) ids, and paths as text.
    endings : bool
        Whether names have the ending of their file; without, ``cat/1`` means ``cat/1.jpg``.

    Examples
    --------
    >>> find_row = row_finder(["a", "b"], ["cat/1.jpg", "cat/2.jpg"])
    >>> [find_row(name) for name in ("b", "data/cat/1.jpg", "2.jpg", "dog/1.jpg", "../../etc/passwd")]
    [1, 0, 1, None, None]
    >>> row_finder(["a", "b"], ["cat/1.jpg", "cat/2.jpg"], endings=False)("cat/2")
    1
    """
    exact = _index(zip(image_ids, range(len(image_ids)), strict=True))
    whole = _index(
        (name, row)
        for names in (image_ids, photo_names)
        for row, name in enumerate(names)
        for name in _forms(name, endings=endings)
    )
    parts = _index((tail, row) for name, row in whole.items() if row != AMBIGUOUS for tail in _tails(name))

    def find_row(name: str) -> int | None:
        if name in exact:
            return exact[name]
        name = name if name in whole else name.replace("\\", "/")
        row = next((whole[tail] for tail in (name, *_tails(name)) if tail in whole), None)
        row = parts.get(name) if row is None else row
        return None if row == AMBIGUOUS else row

    return find_row


def without_ending(name: str) -> str:
    """The name without its last ending.

    >>> without_ending("cat.dir/1.jpg"), without_ending("cat.dir/1"), without_ending("..")
    ('cat.dir/1', 'cat.dir/1', '..')
    """
    return splitext(name)[0]


def _forms(name: str, *, endings: bool) -> tuple[str, ...]:
    return (name,) if endings else tuple({name, without_ending(name)})


def _tails(name: str) -> list[str]:
    """What is left when folders are taken away from the left, longest first."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts)) if parts[start]]


def _index(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for name, row in pairs:
        rows[name] = row if rows.get(name, row) == row else AMBIGUOUS
    return rows
