"""The page of `kiyome diary`: every experiment, its interval and its difference to the baseline drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.report.intervals import DrawnInterval, Interval, draw_intervals
from kiyome.report.page import render_page

LABEL_HEIGHT = 11
"""Names of runs in a chart are at least so far apart."""


@dataclass(frozen=True, kw_only=True)
class DiaryLine:
    """One experiment, in words and shares."""

    run: str
    command: str
    finished: str
    changed: str
    score: str
    """Percentage of all rows whose likeliest class is the given label, with its interval."""
    num_rows: int
    interval: Interval | None
    """The same, to draw; None for a step without score."""
    in_truth: Interval | None
    """By rows that people checked; None where they did not."""
    beside: Sequence[str]
    """Other scores, none of which may stand alone."""
    verdict: str
    """better, worse, cannot tell, the baseline, or why there is none."""
    difference: str
    """Points against the baseline, with their interval."""
    difference_interval: Interval | None
    marks: Sequence[int]
    """Numbers of the leak marks below the table."""
    leaderboard: Mapping[str, float]
    """Scores that others measured."""
    took: str
    report: str
    """Address of the run's own page, seen from the diary's; empty where it is gone."""


@dataclass(frozen=True, kw_only=True)
class LeaderboardChart:
    """Scores of a leaderboard over those out of fold, in a frame of `width` x `height` units."""

    name: str
    said: str
    """What the two tell of each other, in words."""
    points: list[tuple[str, float, float, float, float, bool]]
    """Run, left end, middle and right end of its interval, height, and whether it has a leak mark."""
    labeled: frozenset[str]
    """Runs whose names have room."""
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = 400
    height: int = 220


def draw_leaderboard(
    name: str, points: Sequence[tuple[Interval, float, bool]], *, said: str
) -> LeaderboardChart:
    """Where each experiment lies, by its interval out of fold, its score elsewhere, and its leak mark.

    >>> one = Interval(name="a", low=0.8, value=0.9, high=1.0)
    >>> draw_leaderboard("public", [(one, 0.7, False), (one, 0.8, True)], said="").points[0]
    ('a', 0.0, 200.0, 400.0, 220.0, False)
    """
    low, high = min(each.low for each, *_ in points), max(each.high for each, *_ in points)
    bottom, top = min(score for _, score, _ in points), max(score for _, score, _ in points)
    width, height = LeaderboardChart.width, LeaderboardChart.height

    def x(share: float) -> float:
        return round((share - low) / max(high - low, 1e-9) * width, 1)

    def y(score: float) -> float:
        return round(height * (1 - (score - bottom) / max(top - bottom, 1e-9)), 1)

    drawn = [
        (each.name, x(each.low), x(each.value or 0), x(each.high), y(score), leaks)
        for each, score, leaks in points
    ]
    labeled: dict[str, float] = {}
    for run, *_, at, _ in sorted(drawn, key=lambda point: point[4]):
        if all(abs(at - other) >= LABEL_HEIGHT for other in labeled.values()):
            labeled[run] = at
    return LeaderboardChart(
        name=name,
        said=said,
        points=drawn,
        labeled=frozenset(labeled),
        x_ticks=tuple((x(share), f"{100 * share:.1f} %") for share in (low, high)),
        y_ticks=tuple((y(score), f"{score:.4g}") for score in dict.fromkeys((bottom, top))),
    )


def write_diary_page(
    lines: Sequence[DiaryLine],
    path: str | Path,
    *,
    title: str,
    marks: Sequence[str] = (),
    charts: Sequence[LeaderboardChart] = (),
) -> None:
    """Put the page at `path`, whole or not at all."""
    write_text(path, render_diary_page(lines, title=title, marks=marks, charts=charts))


def render_diary_page(
    lines: Sequence[DiaryLine],
    *,
    title: str,
    marks: Sequence[str] = (),
    charts: Sequence[LeaderboardChart] = (),
) -> str:
    """The page as text: the same lines give the same text."""
    drawn = [each for line in lines for each in (line.interval, line.in_truth) if each is not None]
    baselines = [line.interval.value for line in lines if line.verdict == "the baseline" and line.interval]
    chart = draw_intervals(drawn, mark=next(iter(baselines), None)) if drawn else None
    names = list(dict.fromkeys(name for line in lines for name in line.leaderboard))
    return render_page(
        "diary_page",
        title=title,
        rows=[(line, bar) for line, bar in zip(lines, _bars(lines), strict=True)],
        chart=chart,
        marks=marks,
        charts=charts,
        names=names,
    )


def _bars(lines: Sequence[DiaryLine]) -> list[tuple[DrawnInterval, float] | None]:
    """The difference of each line on one axis, and where on it nothing differs."""
    zero = Interval(name="", low=0.0, high=0.0)
    drawn = draw_intervals([zero, *(line.difference_interval or zero for line in lines)], mark=0.0)
    return [
        None if line.difference_interval is None or drawn.mark is None else (bar, drawn.mark)
        for line, bar in zip(lines, drawn.rows[1:], strict=True)
    ]
