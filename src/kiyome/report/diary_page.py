"""The page of `kiyome diary`: every experiment in order, its interval drawn, its verdict beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.report.page import render_page

ROW_HEIGHT = 20
NUM_TICKS = 4


@dataclass(frozen=True, kw_only=True)
class DiaryLine:
    """One experiment, in words and shares."""

    run: str
    command: str
    finished: str
    changed: str
    score: str
    """Share of all rows whose likeliest class is the given label, in words."""
    interval: tuple[float, float, float] | None
    """The same, to draw: lower end, value, upper end; None for a step without score."""
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
    intervals: list[tuple[str, float, float, float, float]]
    """Name, y, then x of the lower end, the value and the upper end."""
    x_ticks: list[tuple[float, str]]
    baseline: float
    """x of the first line's value."""


def interval_chart(lines: Sequence[DiaryLine], *, width: int = 400) -> IntervalChart | None:
    """Where each interval lies between the lowest and the highest end of all; None where there is none.

    >>> line = DiaryLine(run="a", command="train", finished="", changed="", score="", beside=(), verdict="",
    ...                  marks=(), took="", report="", interval=(0.8, 0.9, 1.0))
    >>> chart = interval_chart([line])
    >>> chart.intervals, chart.baseline
    ([('a', 10.0, 0.0, 200.0, 400.0)], 200.0)
    """
    drawn = [(line.run, line.interval) for line in lines if line.interval is not None]
    if not drawn:
        return None
    low, high = min(ends[0] for _, ends in drawn), max(ends[2] for _, ends in drawn)
    span = max(high - low, 1e-6)

    def x(share: float) -> float:
        return round((share - low) / span * width, 1)

    return IntervalChart(
        width=width,
        height=ROW_HEIGHT * len(drawn),
        intervals=[
            (name, ROW_HEIGHT * (place + 0.5), x(ends[0]), x(ends[1]), x(ends[2]))
            for place, (name, ends) in enumerate(drawn)
        ],
        x_ticks=[
            (x(share), f"{100 * share:.1f} %")
            for share in (low + span * part / NUM_TICKS for part in range(NUM_TICKS + 1))
        ],
        baseline=x(drawn[0][1][1]),
    )


def write_diary_page(lines: Sequence[DiaryLine], path: str | Path, *, title: str) -> None:
    """Put the page at `path`, whole or not at all."""
    write_text(path, render_diary_page(lines, title=title))


def render_diary_page(lines: Sequence[DiaryLine], *, title: str) -> str:
    """The page as text: the same lines give the same text."""
    chart = interval_chart(lines)
    return render_page("diary_page", style="train_report", title=title, lines=lines, chart=chart)
