"""The page of `kiyome audit`: true accuracy beside agreement with labels, strata, and the noise by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import write_text
from kiyome.report.page import render_page

Numbers = NDArray[np.float64]

ROW_HEIGHT, WIDTH, NUM_TICKS = 26, 600, 4
MOST_CLASSES = 20
"""So many classes are shown as a whole matrix; of more, the cells that stand out."""
MOST_CELLS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditReport:
    """What there is to show; shares from 0 to 1."""

    title: str
    sentences: Sequence[str]
    """The first is the answer."""
    intervals: Mapping[str, tuple[float, float, float]]
    """To draw, by name: lower end, value, upper end."""
    strata: Sequence[tuple[str, int, int, float]]
    """What the rows have in common, how many there are, how many were checked, and the guess before."""
    class_names: Sequence[str]
    transition: tuple[Numbers, Numbers, Numbers]
    """(K, K) each: value, lower and upper ends; NaN where nothing was seen."""
    rows_seen: Sequence[int]
    is_enough: Sequence[bool]
    noise_by_given_class: Sequence[str]
    """In words, with intervals."""


@dataclass(frozen=True, kw_only=True)
class IntervalDrawing:
    """Intervals one under the other in a frame of `width` x `height` units."""

    width: int
    height: int
    intervals: list[tuple[str, float, float, float, float]]
    """Name, y, then x of the lower end, the value and the upper end."""
    ticks: list[tuple[float, str]]


def draw_intervals(intervals: Mapping[str, tuple[float, float, float]]) -> IntervalDrawing:
    """Where the intervals lie between the lowest end and the highest.

    >>> draw_intervals({"a": (0.8, 0.9, 1.0)}).intervals
    [('a', 13.0, 0.0, 300.0, 600.0)]
    """
    low, high = min(ends[0] for ends in intervals.values()), max(ends[2] for ends in intervals.values())
    span = max(high - low, 1e-6)

    def x(share: float) -> float:
        return round((share - low) / span * WIDTH, 1)

    return IntervalDrawing(
        width=WIDTH,
        height=ROW_HEIGHT * len(intervals),
        intervals=[
            (name, ROW_HEIGHT * (place + 0.5), x(ends[0]), x(ends[1]), x(ends[2]))
            for place, (name, ends) in enumerate(intervals.items())
        ],
        ticks=[
            (x(share), f"{100 * share:.1f} %")
            for share in (low + span * part / NUM_TICKS for part in range(NUM_TICKS + 1))
        ],
    )


def write_audit_report(report: AuditReport, path: str | Path) -> None:
    """Put the page at `path`, whole or not at all."""
    write_text(path, render_audit_report(report))


def render_audit_report(report: AuditReport) -> str:
    """The page as text: the same report gives the same text."""
    names, whole = report.class_names, len(report.class_names) <= MOST_CLASSES
    value, low, high = report.transition
    cells = [
        [_cell(*ends) for ends in zip(*rows, strict=True)] for rows in zip(value, low, high, strict=True)
    ]
    off = np.where(np.eye(len(names), dtype=bool), 0, np.nan_to_num(value))
    largest = [divmod(int(place), len(names)) for place in np.argsort(-off, axis=None)[:MOST_CELLS]]
    return render_page(
        "audit_report",
        style="train_report",
        report=report,
        drawing=draw_intervals(report.intervals),
        matrix=cells if whole else None,
        largest=[] if whole else [(names[t], names[g], cells[t][g]) for t, g in largest if off[t, g] > 0],
    )


def _cell(value: float, low: float, high: float) -> tuple[str, str]:
    """A share and its interval, in points of a hundred."""
    return ("", "") if isnan(value) else (f"{100 * value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}")
