"""What the page of `kiyome find` shows, as values: arrays in, views out, no markup.

N rows, K classes. Every name that leaves this file has passed `shown`.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kiyome.report.charts import ClassBar, CompactMap, Curve, class_bars, compact_map, flagged_curve
from kiyome.report.find_record import FindReport, Repeats
from kiyome.report.thumbnails import Thumbnail

# Controls, invisible formats, lone surrogates, private use, line and paragraph separators.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Persian, Hindi and others cannot be written without these two joiners.
JOINERS = frozenset("\u200c\u200d")


def shown(text: object, limit: int = 80) -> str:
    r"""Text on one line with every invisible character spelled out, shortened in the middle.

    Parameters
    ----------
    text : object
        Usually a file name, an image id or a class name; anything else is turned into text first.
    limit : int
        Longest text that is shown whole, in characters.

    Examples
    --------
    >>> shown("cat\nexe.\u202egpj")
    'cat\\nexe.\\u202egpj'
    >>> shown("a" * 50 + ".jpg", limit=20)
    'aaaaaaaaaaaaa…aa.jpg'
    """
    whole = str(text)
    if len(whole) > limit:
        tail = limit * 3 // 10
        whole = f"{whole[: limit - tail - 1]}…{whole[-tail:]}"
    return "".join(map(_spelled_out, whole)) or "(empty)"


def _spelled_out(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN_CATEGORIES or character in JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def count(number: float) -> str:
    """A whole number with its thousands set apart.

    >>> count(21397), count(12.6)
    ('21,397', '13')
    """
    return f"{round(number):,}"


def percent(share: float) -> str:
    r"""A share as a percentage that a line break cannot part from its sign.

    >>> percent(0.0716), percent(0.0002), percent(0.0)
    ('7.2\xa0%', '<0.1\xa0%', '0.0\xa0%')
    """
    return "<0.1\u00a0%" if 0 < share < 0.0005 else f"{100 * share:.1f}\u00a0%"


def chance(probability: float) -> str:
    r"""A chance as on the command line and on the review page: in whole percent, and never certain.

    >>> chance(0.347), chance(0.9996), chance(0.001)
    ('35\xa0%', '>99\xa0%', '<1\xa0%')
    """
    percent = "<1" if probability < 0.005 else ">99" if probability > 0.995 else f"{100 * probability:.0f}"
    return f"{percent}\u00a0%"


def score(quality: float) -> str:
    """A score between 0 and 1 with three digits; what is below them is said to be below.

    >>> score(0.41249), score(0.00001), score(0.0)
    ('0.412', '<0.001', '0.000')
    """
    return "<0.001" if 0 < quality < 0.0005 else f"{quality:.3f}"


MAX_THUMBNAILS = 400
MAX_TOP = 120
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
    """That the given label is wrong."""
    thumbnail: str | None


@dataclass(frozen=True, kw_only=True)
class CellView:
    """One cell's photos: about how many labels the estimate sees there, and the rows flagged."""

    anchor: str
    true: str
    given: str
    estimated: float
    flagged: int
    cards: list[Card]

    @property
    def more(self) -> int:
        """How many flagged rows the page leaves out."""
        return self.flagged - len(self.cards)


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """One number of the heat map, its tint from 0 to 7, and the cell it leads to."""

    text: str
    level: int
    diagonal: bool
    anchor: str | None
    label: str


@dataclass(frozen=True, kw_only=True)
class RepeatsView:
    """Rows that should agree, in numbers and a few pairs."""

    name: str
    num_groups: int
    num_differing: int
    pairs: list[tuple[Card, Card]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything the template reads."""

    title: str
    noise_rate: float
    low: float
    high: float
    how: str
    num_rows: int
    num_flagged: int
    has_photos: bool
    top: list[Card]
    class_names: list[str]
    matrix: list[list[MatrixCell]]
    compact: CompactMap | None
    cells: list[CellView]
    num_cells: int
    bars: list[ClassBar]
    bar_scale: float
    num_classes: int
    curve: Curve
    set_aside: list[tuple[str, str]]
    num_set_aside: int
    findings: list[tuple[str, int]]
    repeats: list[RepeatsView]
    facts: list[tuple[str, str]]
    sprites: list[tuple[str, Thumbnail]]


def issues_by_cell(report: FindReport) -> list[CellRows]:
    """The flagged rows by (suggested, given) cell off the diagonal, fullest cell first.

    Ties keep the order of the classes, so the page does not depend on chance.
    """
    K = len(report.class_names)
    given, true = report.given_labels[report.ranking], report.suggested_labels[report.ranking]
    rows, cell = report.ranking[given != true], (true.astype(np.int64) * K + given)[given != true]
    order = np.argsort(cell, kind="stable")
    codes, starts = np.unique(cell[order], return_index=True)
    parts = np.split(rows[order], starts[1:])
    # Without any row, np.split still gives one empty part.
    cells = [
        CellRows(true=int(code) // K, given=int(code) % K, rows=part.tolist())
        for code, part in zip(codes, parts, strict=False)
    ]
    return sorted(cells, key=lambda one: -len(one.rows))


def rows_to_show(report: FindReport, cells: Sequence[CellRows]) -> list[int]:
    """The rows whose photo the page carries: the top of the ranking, pairs, then every cell in turns.

    Turns give the emptiest cell a photo before the fullest gets its second.
    """
    rows = report.ranking[:MAX_TOP].tolist()
    for repeats in (report.duplicates, report.groups):
        rows += [row for pair in (repeats.pairs if repeats else ())[:MAX_PAIRS] for row in pair]
    for turn in range(MAX_IN_CELL):
        rows += [one.rows[turn] for one in cells[:MAX_CELLS] if turn < len(one.rows)]
    return list(dict.fromkeys(map(int, rows)))[:MAX_THUMBNAILS]


def build_page(report: FindReport, cells: Sequence[CellRows], thumbnails: Mapping[int, Thumbnail]) -> Page:
    """The whole page as values, given the photos that could be read."""
    cards = _Cards(report, thumbnails)
    names = [shown(name, 60) for name in report.class_names]
    listed = cells[:MAX_CELLS]
    small = len(names) <= MAX_TABLE_CLASSES
    bars, bar_scale = class_bars(report.likely_true_joint, report.given_labels, report.is_label_issue, names)
    repeats = (("Photos that show the same", report.duplicates), ("Rows of one group", report.groups))
    return Page(
        title=shown(report.title, 120),
        noise_rate=report.noise_rate,
        low=report.noise_rate_low,
        high=report.noise_rate_high,
        how=shown(report.noise_rate_how, 600),
        num_rows=len(report.image_ids),
        num_flagged=len(report.ranking),
        has_photos=report.photo is not None,
        top=[cards.of(row) for row in report.ranking[:MAX_TOP].tolist()],
        class_names=names,
        matrix=matrix_cells(report, names, listed) if small else [],
        compact=None if small else compact_map(report.likely_true_joint),
        cells=[cell_view(report, one, names, cards) for one in listed],
        num_cells=len(cells),
        bars=bars[:MAX_LISTED],
        bar_scale=bar_scale,
        num_classes=len(names),
        curve=flagged_curve(report.label_quality, report.is_label_issue),
        set_aside=[(shown(name, 120), shown(why, 200)) for name, why in report.set_aside[:MAX_LISTED]],
        num_set_aside=len(report.set_aside),
        findings=[(shown(kind), number) for kind, number in report.findings.items()],
        repeats=[repeats_view(name, one, cards) for name, one in repeats if one is not None],
        facts=[(shown(name), shown(value, 200)) for name, value in report.facts],
        sprites=[(_key(row), thumbnail) for row, thumbnail in thumbnails.items()],
    )


class _Cards:
    """Makes the card of a row; remembers ranks and names."""

    def __init__(self, report: FindReport, thumbnails: Mapping[int, Thumbnail]) -> None:
        self.report, self.thumbnails = report, thumbnails
        self.rank = {row: rank for rank, row in enumerate(report.ranking.tolist(), start=1)}

    def of(self, row: int) -> Card:
        report = self.report
        return Card(
            rank=self.rank.get(row),
            image_id=shown(report.image_ids[row]),
            given=shown(report.class_names[report.given_labels[row]], 60),
            suggested=shown(report.class_names[report.suggested_labels[row]], 60),
            same=bool(report.given_labels[row] == report.suggested_labels[row]),
            chance=float(report.probability[row]),
            thumbnail=_key(row) if row in self.thumbnails else None,
        )


def _key(row: int) -> str:
    return f"p{row}"


def matrix_cells(
    report: FindReport, names: Sequence[str], cells: Sequence[CellRows]
) -> list[list[MatrixCell]]:
    """The heat map row by row [true][given]; tints grow with the square root of the count.

    The diagonal has no tint: it is far fuller than the rest, and it is not the news.
    """
    joint, K = report.likely_true_joint, len(names)
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


def cell_view(report: FindReport, cell: CellRows, names: Sequence[str], cards: _Cards) -> CellView:
    """One cell's photos; a cell whose photos the page does not carry lists its rows instead."""
    first = [cards.of(row) for row in cell.rows[:MAX_IN_CELL]]
    return CellView(
        anchor=cell.anchor,
        true=names[cell.true],
        given=names[cell.given],
        estimated=float(report.likely_true_joint[cell.true, cell.given]),
        flagged=len(cell.rows),
        cards=[card for card in first if card.thumbnail] or first,
    )


def repeats_view(name: str, repeats: Repeats, cards: _Cards) -> RepeatsView:
    """Rows that should agree, with the first pairs that do not."""
    return RepeatsView(
        name=name,
        num_groups=repeats.num_groups,
        num_differing=repeats.num_differing,
        pairs=[(cards.of(a), cards.of(b)) for a, b in repeats.pairs[:MAX_PAIRS]],
    )
