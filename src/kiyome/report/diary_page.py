"""The page of `kiyome diary`: every experiment in order, its interval drawn, its verdict beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.report.intervals import Interval, draw_intervals
from kiyome.report.page import render_page


@dataclass(frozen=True, kw_only=True)
class DiaryLine:
    """One experiment, in words and shares."""

    run: str
    command: str
    finished: str
    changed: str
    score: str
    """Share of all rows whose likeliest class is the given label, in words."""
    interval: Interval | None
    """The same, to draw; None for a step without score."""
    in_truth: Interval | None
    """By rows that people checked; None where they did not."""
    beside: Sequence[str]
    """Other scores, none of which may stand alone."""
    verdict: str
    marks: Sequence[str]
    took: str
    report: str
    """Address of the run's own page, seen from the diary's; empty where it is gone."""


def write_diary_page(lines: Sequence[DiaryLine], path: str | Path, *, title: str) -> None:
    """Put the page at `path`, whole or not at all."""
    write_text(path, render_diary_page(lines, title=title))


def render_diary_page(lines: Sequence[DiaryLine], *, title: str) -> str:
    """The page as text: the same lines give the same text."""
    drawn = [each for line in lines for each in (line.interval, line.in_truth) if each is not None]
    chart = draw_intervals(drawn, mark=drawn[0].value) if drawn else None
    return render_page("diary_page", title=title, lines=lines, chart=chart)
