"""The page of `kiyome find`: its contents as values, and how it is written. N rows, K classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import write_text
from kiyome.artifacts.table import TRAIN
from kiyome.progress import Progress, no_progress
from kiyome.report.find_charts import CompactMap, class_bars, compact_map, flagged_curve
from kiyome.report.label_findings import LabelFindings, Repeats
from kiyome.report.render import Thumbnail, count, make_thumbnails, render_page, shown

MAX_THUMBNAILS = 400
MAX_TOP = 120
MAX_NONE = 36
MAX_PAIRS = 12
MAX_CELLS = 240
MAX_IN_CELL = 12
MAX_LISTED = 200
MAX_TABLE_CLASSES = 30
NUM_LEVELS = 7


@dataclass(frozen=True, kw_only=True)
class CellRows:
    """The flagged rows of one cell of the matrix, most suspicious first."""

    true: int
    given: int
    rows: list[int]

    @property
    def anchor(self) -> str:
        """The name under which the page links to this cell."""
        return f"cell-{self.true}-{self.given}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One row as the page shows it."""

    rank: int | None
    image_id: str
    given: str
    suggested: str
    same: bool
    chance: float
    """Probability that the given label is wrong."""
    place: float | None
    """Share of rows up to this one, the most suspicious first; None where probabilities are shown."""
    none: float
    """Probability that the photo shows none of the classes."""
    split: str
    """Empty for a row of train."""
    thumbnail: str | None


@dataclass(frozen=True, kw_only=True)
class CellView:
    """One cell of the matrix with its photos: expected number of labels, and flagged rows."""

    anchor: str
    true: str
    given: str
    estimated: float
    flagged: int
    cards: list[Card]

    @property
    def more(self) -> int:
        """Number of flagged rows that are not on the page."""
        return self.flagged - len(self.cards)


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """One number of the heat map, its tint from 0 to 7, and its link."""

    text: str
    level: int
    diagonal: bool
    anchor: str | None
    label: str


@dataclass(frozen=True, kw_only=True)
class MatrixView:
    """Given against likely true labels of one split: numbers, or a picture where there are many classes."""

    split: str
    """Empty where all rows are train."""
    rows: list[list[MatrixCell]]
    compact: CompactMap | None


@dataclass(frozen=True, kw_only=True)
class TopRows:
    """The most suspicious rows of one split."""

    split: str
    """Empty where all rows are train."""
    cards: list[Card]


@dataclass(frozen=True, kw_only=True)
class RepeatsView:
    """Counts of rows that should agree, and a few pairs."""

    name: str
    num_groups: int
    num_differing: int
    pairs: list[tuple[Card, Card]]


def issues_by_cell(found: LabelFindings) -> list[CellRows]:
    """Return the flagged rows of each (predicted, given) cell off the diagonal, fullest cell first.

    Ties keep the order of the classes, so the page does not depend on chance.
    """
    K = len(found.class_names)
    ranking = found.flagged_ranking[~found.shows_none[found.flagged_ranking]]
    given, true = found.given_labels[ranking], found.predicted_labels[ranking]
    rows, cell = ranking[given != true], (true.astype(np.int64) * K + given)[given != true]
    order = np.argsort(cell, kind="stable")
    codes, starts = np.unique(cell[order], return_index=True)
    parts = np.split(rows[order], starts[1:])
    # Without any row, np.split still gives one empty part.
    cells = [
        CellRows(true=int(code) // K, given=int(code) % K, rows=part.tolist())
        for code, part in zip(codes, parts, strict=False)
    ]
    return sorted(cells, key=lambda one: -len(one.rows))


def rows_of_none(found: LabelFindings) -> list[int]:
    """Return the rows that probably show none of the classes, the most probable first."""
    order = np.argsort(-found.probability_none, kind="stable")
    rows: list[int] = order[found.shows_none[order]].tolist()
    return rows


def top_rows(found: LabelFindings) -> list[tuple[str, list[int]]]:
    """Return the most suspicious flagged rows of each split that has any, an even part of 120 each."""
    ranking = found.flagged_ranking
    if not found.split_names:
        return [("", ranking[:MAX_TOP].tolist())] if len(ranking) else []
    of_row = np.asarray(found.split_names)[ranking]
    names = [each.name for each in found.splits if (of_row == each.name).any()]
    return [(name, ranking[of_row == name][: MAX_TOP // len(names)].tolist()) for name in names]


def rows_to_show(found: LabelFindings, cells: Sequence[CellRows]) -> list[int]:
    """Return the rows whose photo is on the page: top of the ranking, none, pairs, then every cell in turns.

    Turns give the emptiest cell a photo before the fullest gets its second.
    """
    rows = [row for _, top in top_rows(found) for row in top] + rows_of_none(found)[:MAX_NONE]
    for repeats in (found.duplicates, found.groups):
        rows += [row for pair in (repeats.pairs if repeats else ())[:MAX_PAIRS] for row in pair]
    for turn in range(MAX_IN_CELL):
        rows += [one.rows[turn] for one in cells[:MAX_CELLS] if turn < len(one.rows)]
    return list(dict.fromkeys(map(int, rows)))[:MAX_THUMBNAILS]


def build_page(
    found: LabelFindings, cells: Sequence[CellRows], thumbnails: Mapping[int, Thumbnail]
) -> dict[str, Any]:
    """Return the contents of the page, with the photos that could be read."""
    cards = _Cards(found, thumbnails)
    names = [shown(name, 60) for name in found.class_names]
    listed = cells[:MAX_CELLS]
    top = [TopRows(split=split, cards=[cards.of(row) for row in rows]) for split, rows in top_rows(found)]
    known = found.is_labeled
    bars, bar_scale = class_bars(
        found.expected_joint, found.given_labels[known], found.is_label_issue[known], names
    )
    repeats = (("Photos that show the same", found.duplicates), ("Rows of one group", found.groups))
    return {
        "title": shown(found.title, 120),
        "noise_rate": found.noise_rate.value,
        "low": found.noise_rate.low,
        "high": found.noise_rate.high,
        "doubt_hides_errors": found.doubt_hides_errors,
        "how": shown(found.noise_rate.method, 600),
        "num_rows": int(known.sum()),
        "num_flagged": len(found.flagged_ranking),
        "has_photos": found.photo is not None,
        "top": top,
        "num_more": len(found.flagged_ranking) - sum(len(each.cards) for each in top),
        "none": [cards.of(row) for row in rows_of_none(found)[:MAX_NONE]],
        "num_none": int(found.shows_none.sum()),
        "class_names": names,
        "matrices": matrices_of(found, names, listed),
        "cells": [cell_view(found, one, names, cards) for one in listed],
        "num_cells": len(cells),
        "bars": bars[:MAX_LISTED],
        "bar_scale": bar_scale,
        "num_classes": len(names),
        "curve": flagged_curve(found.probability[known], found.is_label_issue[known]),
        "set_aside": [(shown(name, 120), shown(why, 200)) for name, why in found.set_aside[:MAX_LISTED]],
        "num_set_aside": len(found.set_aside),
        "findings": [(shown(kind), number) for kind, number in found.photo_findings.items()],
        "repeats": [repeats_view(name, one, cards) for name, one in repeats if one is not None],
        "splits": [
            replace(each, sentences=[shown(text, 600) for text in each.sentences]) for each in found.splits
        ],
        "facts": [(shown(name), shown(value, 200)) for name, value in found.facts],
        "sprites": [(_key(row), thumbnail) for row, thumbnail in thumbnails.items()],
    }


class _Cards:
    """Cards of rows, with their ranks."""

    def __init__(self, found: LabelFindings, thumbnails: Mapping[int, Thumbnail]) -> None:
        self.found, self.thumbnails = found, thumbnails
        self.places = np.argsort(np.argsort(found.label_quality, kind="stable"), kind="stable") + 1
        self.rank = {row: rank for rank, row in enumerate(found.flagged_ranking.tolist(), start=1)}

    def of(self, row: int) -> Card:
        found = self.found
        return Card(
            rank=self.rank.get(row),
            image_id=shown(found.image_ids[row]),
            given=shown(found.class_names[found.given_labels[row]], 60),
            suggested=shown(found.class_names[found.predicted_labels[row]], 60),
            same=bool(found.given_labels[row] == found.predicted_labels[row]),
            chance=float(found.probability[row]),
            place=float(self.places[row] / len(self.places)) if found.doubt_hides_errors else None,
            none=float(found.probability_none[row]),
            split="" if not found.split_names or found.split_names[row] == TRAIN else found.split_names[row],
            thumbnail=_key(row) if row in self.thumbnails else None,
        )


def _key(row: int) -> str:
    return f"p{row}"


def matrices_of(found: LabelFindings, names: Sequence[str], cells: Sequence[CellRows]) -> list[MatrixView]:
    """Return one matrix for each split that has labels; its cells lead to the flagged rows of all splits."""
    joints = {each.name: each.expected_joint for each in found.splits if each.expected_joint is not None}
    small = len(names) <= MAX_TABLE_CLASSES
    return [
        MatrixView(
            split=split,
            rows=matrix_cells(joint, names, _of_split(found, split, cells)) if small else [],
            compact=None if small else compact_map(joint),
        )
        for split, joint in (joints or {"": found.expected_joint}).items()
    ]


def _of_split(found: LabelFindings, split: str, cells: Sequence[CellRows]) -> list[CellRows]:
    """Return the cells that have flagged rows in a split, with these rows alone."""
    if not split:
        return list(cells)
    own = [replace(one, rows=[row for row in one.rows if found.split_names[row] == split]) for one in cells]
    return [one for one in own if one.rows]


def matrix_cells(
    joint: NDArray[np.number], names: Sequence[str], cells: Sequence[CellRows]
) -> list[list[MatrixCell]]:
    """Return the heat map row by row [true][given]; tints grow with the square root of the count.

    The diagonal has no tint: it is far fuller than the rest, and correct.
    """
    K = len(names)
    flagged = {(one.true, one.given): one for one in cells}
    fullest = max(float((joint - np.diag(np.diag(joint))).max()), 1.0)

    def one(true: int, given: int) -> MatrixCell:
        number, leads = float(joint[true, given]), flagged.get((true, given))
        label = f"given {names[given]}, likely {names[true]}: about {count(number)} labels"
        return MatrixCell(
            text=_cell_text(number, K) if round(number) or leads else "",
            level=int(np.ceil(NUM_LEVELS * np.sqrt(number / fullest)))
            if round(number) and true != given
            else 0,
            diagonal=true == given,
            anchor=leads.anchor if leads else None,
            label=f"{label}, {count(len(leads.rows))} flagged" if leads else label,
        )

    return [[one(true, given) for given in range(K)] for true in range(K)]


def _cell_text(number: float, num_classes: int) -> str:
    narrow = num_classes > 12
    return f"{number / 1000:.0f}k" if narrow and number >= 9999.5 else count(number)


def cell_view(found: LabelFindings, cell: CellRows, names: Sequence[str], cards: _Cards) -> CellView:
    """Return one cell with its photos; without photos on the page, it lists its rows instead."""
    first = [cards.of(row) for row in cell.rows[:MAX_IN_CELL]]
    return CellView(
        anchor=cell.anchor,
        true=names[cell.true],
        given=names[cell.given],
        estimated=float(found.expected_joint[cell.true, cell.given]),
        flagged=len(cell.rows),
        cards=[card for card in first if card.thumbnail] or first,
    )


def repeats_view(name: str, repeats: Repeats, cards: _Cards) -> RepeatsView:
    """Return counts of rows that should agree, with the first pairs that do not."""
    return RepeatsView(
        name=name,
        num_groups=repeats.num_groups,
        num_differing=repeats.num_differing,
        pairs=[(cards.of(a), cards.of(b)) for a, b in repeats.pairs[:MAX_PAIRS]],
    )


__all__ = ["MAX_REPORT_BYTES", "LabelFindings", "Repeats", "render_report", "write_report"]

MAX_REPORT_BYTES = 8_000_000
"""No report is larger: 400 thumbnails of 16 kB in base64, and lists that all end."""


def render_report(found: LabelFindings, *, on_progress: Progress = no_progress) -> str:
    """Return the page as text; the same findings give the same text."""
    cells = issues_by_cell(found)
    rows = rows_to_show(found, cells)
    thumbnails = make_thumbnails(rows, found.photo, on_progress=on_progress) if found.photo else {}
    return render_page("find_report", style="find_report", page=build_page(found, cells, thumbnails))


def write_report(found: LabelFindings, path: str | Path, *, on_progress: Progress = no_progress) -> None:
    """Write the page: one HTML file of at most 8 MB and 400 photos, without network or script.

    >>> import numpy as np, tempfile
    >>> from kiyome.noise import noise_rate
    >>> found = LabelFindings(
    ...     title="two photos", class_names=["cat", "dog"], image_ids=["a.jpg", "b.jpg"],
    ...     given_labels=np.array([0, 1]), predicted_labels=np.array([1, 1]),
    ...     label_quality=np.array([0.1, 0.9]), probability=np.array([0.9, 0.1]),
    ...     probability_none=np.zeros(2), is_label_issue=np.array([True, False]), ranking=np.array([0, 1]),
    ...     expected_joint=np.array([[0, 0], [1, 1]]), noise_rate=noise_rate([0, 1], np.eye(2)),
    ... )
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(found, path)
    >>> "1 of 2 rows is flagged" in path.read_text("utf-8")
    True
    """
    write_text(path, render_report(found, on_progress=on_progress))
