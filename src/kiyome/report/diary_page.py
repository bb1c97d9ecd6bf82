"""The page of `kiyome diary`: every experiment in order, its interval drawn, its verdict beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.report.page import render_page

ROW_HEIGHT = 26
NUM_TICKS = 4


@dataclass(frozen=True, kw_only=True)
class DiaryLine:
    """One experiment, in words and shares."""

    run: str
    command: str
    finished: str
    changed: str
    value: float
    """Share of all rows whose likeliest class is the given label."""
    low: float
    high: float
    num_rows: int
    beside: Sequence[str]
    """Other scores, none of which may stand alone."""
    verdict: str
    marks: Sequence[str]
    took: str
    report: str
    """Address of the run's own page, seen from the diary's; empty where it is gone."""


@dataclass(frozen=True, kw_only=True)
class IntervalChart:
    """Intervals one under the other, in the lines' order, in a frame of `width` x `height` units."""

    width: int
    height: int
    intervals: list[tuple[float, float, float, float]]
    """y, then x of the lower end, the value and the upper end."""
    x_ticks: list[tuple[float, str]]
    baseline: float
    """x of the first line's value."""


def interval_chart(lines: Sequence[DiaryLine], *, width: int = 600) -> IntervalChart:
    """Where each interval lies between the lowest and the highest end of all.

    >>> line = DiaryLine(run="a", command="train", finished="", changed="", value=0.9, low=0.8, high=1.0,
    ...                  num_rows=9, beside=(), verdict="", marks=(), took="", report="")
    >>> chart = interval_chart([line])
    >>> chart.intervals, chart.baseline
    ([(13.0, 0.0, 300.0, 600.0)], 300.0)
    """
    low, high = min(line.low for line in lines), max(line.high for line in lines)
    span = max(high - low, 1e-6)

    def x(share: float) -> float:
        return round((share - low) / span * width, 1)

    return IntervalChart(
        width=width,
        height=ROW_HEIGHT * len(lines),
        intervals=[
            (ROW_HEIGHT * (place + 0.5), x(line.low), x(line.value), x(line.high))
            for place, line in enumerate(lines)
        ],
        x_ticks=[
            (x(share), f"{100 * share:.1f} %")
            for share in (low + span * part / NUM_TICKS for part in range(NUM_TICKS + 1))
        ],
        baseline=x(lines[0].value),
    )


def write_diary_page(lines: Sequence[DiaryLine], path: str | Path, *, title: str) -> None:
    """Put the page at `path`, whole or not at all."""
    write_text(path, render_diary_page(lines, title=title))


def render_diary_page(lines: Sequence[DiaryLine], *, title: str) -> str:
    """The page as text: the same lines give the same text."""
    chart = interval_chart(lines) if lines else None
    return render_page("diary_page", style="train_report", title=title, lines=lines, chart=chart)
