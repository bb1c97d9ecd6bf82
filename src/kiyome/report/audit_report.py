"""The page of `kiyome audit`: true accuracy beside agreement with labels, strata, and the noise by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import write_text
from kiyome.report.intervals import Interval, draw_intervals
from kiyome.report.page import render_page

Numbers = NDArray[np.float64]

MOST_CLASSES = 20
"""So many classes are shown as a whole matrix; of more, the cells that stand out."""
MOST_CELLS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditReport:
    """What there is to show; shares from 0 to 1."""

    title: str
    sentences: Sequence[str]
    """The first is the answer."""
    intervals: Sequence[Interval]
    """To draw."""
    strata: Sequence[tuple[str, int, int, float]]
    """What the rows have in common, how many there are, how many were checked, and the guess before."""
    class_names: Sequence[str]
    transition: tuple[Numbers, Numbers, Numbers]
    """(K, K) each: value, lower and upper ends; NaN where nothing was seen."""
    rows_seen: Sequence[int]
    is_enough: Sequence[bool]
    noise_by_given_class: Sequence[str]
    """In words, with intervals."""


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
        report=report,
        drawn=draw_intervals(report.intervals),
        matrix=cells if whole else None,
        largest=[] if whole else [(names[t], names[g], cells[t][g]) for t, g in largest if off[t, g] > 0],
    )


def _cell(value: float, low: float, high: float) -> tuple[str, str]:
    """A share and its interval, in points of a hundred."""
    return ("", "") if isnan(value) else (f"{100 * value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}")
