"""The pages of audit, evaluate, train, diary, and of blend, stack, calibrate and correct."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import write_text
from kiyome.report.charts import (
    DrawnInterval,
    Interval,
    LineChart,
    Reliability,
    draw_band,
    draw_intervals,
    line_chart,
    reliability_chart,
    spread_labels,
)
from kiyome.report.render import percent, render_page, shown

Numbers = NDArray[np.float64]

MOST_CLASSES = 20
"""So many classes are shown as a whole matrix; of more, the cells that stand out."""
MOST_CELLS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseByClass:
    """Noise of the given labels by true and by given class."""

    transition: tuple[Numbers, Numbers, Numbers]
    """(K, K) each: value, lower and upper ends; NaN for a class without a checked row."""
    rows_seen: Sequence[int]
    is_enough: Sequence[bool]
    by_given_class: Sequence[str]
    """One sentence a class."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditReport:
    """Contents of the page of `kiyome audit`; proportions from 0 to 1."""

    title: str
    sentences: Sequence[str]
    """The first one is the headline."""
    intervals: Sequence[Interval]
    strata: Sequence[tuple[str, int, int, float]]
    """Name, rows, rows checked, and the accuracy expected before."""
    class_names: Sequence[str]
    class_shares: Sequence[str]
    """One sentence a class."""
    noise: NoiseByClass | None
    """None where the rows have no label."""


def write_audit_report(report: AuditReport, path: str | Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, render_audit_report(report))


def render_audit_report(report: AuditReport) -> str:
    """Return the page as text; the same report gives the same text."""
    matrix, largest = None, list[tuple[str, str, tuple[str, str]]]()
    if report.noise is not None:
        names, (value, low, high) = report.class_names, report.noise.transition
        cells = [
            [_cell(*ends) for ends in zip(*rows, strict=True)] for rows in zip(value, low, high, strict=True)
        ]
        if len(names) <= MOST_CLASSES:
            matrix = cells
        else:
            off = np.where(np.eye(len(names), dtype=bool), 0, np.nan_to_num(value))
            pairs = [divmod(int(place), len(names)) for place in np.argsort(-off, axis=None)[:MOST_CELLS]]
            largest = [(names[t], names[g], cells[t][g]) for t, g in pairs if off[t, g] > 0]
    return render_page(
        "audit_report",
        report=report,
        drawn=draw_intervals(report.intervals),
        matrix=matrix,
        largest=largest,
    )


def _cell(value: float, low: float, high: float) -> tuple[str, str]:
    """Return a proportion and its interval in percent."""
    return ("", "") if isnan(value) else (f"{100 * value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}")


Cells = Sequence[Sequence[str]]
"""Rows of a table: the first one is its head, the first cell of each its name."""


@dataclass(frozen=True, kw_only=True)
class CombinedReport:
    """Contents of the page of blend, stack, calibrate and correct."""

    title: str
    verb: str
    num_rows: int
    scores: Mapping[str, Sequence[str]]
    """Of the result, then of each input: agreement with given labels, log loss, calibration error."""
    answer: str
    """The headline."""
    reliability: Mapping[str, Sequence[Reliability]]
    """Bins of the result and of the best input."""
    tables: Mapping[str, Cells]
    notes: Sequence[str] = ()


def write_combined_report(report: CombinedReport, path: str | Path) -> None:
    """Write the page, whole or not at all.

    Examples
    --------
    >>> import tempfile
    >>> report = CombinedReport(title="a-blend", verb="blend", num_rows=9, scores={},
    ...                         answer="Against a: cannot tell", reliability={}, tables={})
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_combined_report(report, path)
    >>> "cannot tell" in path.read_text("utf-8")
    True
    """
    write_text(path, render_combined_report(report))


def render_combined_report(report: CombinedReport) -> str:
    """Return the page as text; the same report gives the same text."""
    return render_page(
        "combined_report",
        report=report,
        chart=reliability_chart(report.reliability),
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateReport:
    """Contents of the page of `kiyome evaluate`."""

    title: str
    answer: str
    caveats: Sequence[str]
    """Reasons why the number means less than it seems."""
    sentences: Sequence[str]
    """The answer in full."""
    readings: Sequence[Interval]
    """Of the accuracy: on given labels, under each assumption, the ceiling."""
    sensitivity: Sequence[tuple[float, float, float, float]]
    """Proportion of wrong labels that the model repeats; lower end, value, upper end of the true accuracy."""
    seen_repeats: float
    """Largest proportion of human label errors that networks were seen to repeat."""
    scores: Cells
    compared: Sequence[str]
    """Verdicts against other runs."""
    chosen: Sequence[str]
    """Selection bias among the experiments on these rows."""
    reliability: Mapping[str, Sequence[Reliability]]
    by_class: Cells


def write_evaluate_report(report: EvaluateReport, path: str | Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, render_evaluate_report(report))


def render_evaluate_report(report: EvaluateReport) -> str:
    """Return the page as text; the same report gives the same text."""
    return render_page(
        "evaluate_report",
        report=report,
        drawn=draw_intervals(report.readings),
        band=draw_band(report.sensitivity, marks=[(report.seen_repeats, "human labels")]),
        chart=reliability_chart(report.reliability),
    )


CURVES = {
    "train_loss": "Loss on training rows",
    "train_agreement": "Accuracy on the labels of training rows",
    "held_out_log_loss": "Log loss on held-out rows, from one view",
    "held_out_accuracy_on_labels": "Accuracy on the labels of held-out rows, from one view",
}
"""Metrics of an epoch that are drawn, and their titles."""


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """Contents of the page of `kiyome train`."""

    title: str
    num_rows: int
    num_folds: int
    scores: Mapping[str, Mapping[str, float]]
    """Out-of-fold accuracy on labels and log loss of all members and of each model."""
    by_number_of_views: Mapping[str, Sequence[Mapping[str, float]]]
    """For each member, scores of the mean over the first 1, 2, ... views on held-out rows."""
    curves: Mapping[str, Sequence[Mapping[str, Any]]]
    """For each member, the metrics of each epoch."""
    notes: Sequence[str] = ()
    recipes: Mapping[str, Mapping[str, Any]]
    """Fields of each model's recipe."""

    @property
    def left_rows_out(self) -> bool:
        """Whether flagged rows were left out of training: then some scores are of the other rows only."""
        return any("rows_not_flagged" in score for score in self.scores.values())


def write_train_report(report: TrainReport, path: str | Path) -> None:
    """Write the page, whole or not at all.

    Examples
    --------
    >>> import tempfile
    >>> epochs = [{"epoch": 1, "train_loss": 1.5}, {"epoch": 2, "train_loss": 0.75}]
    >>> report = TrainReport(title="leaves", num_rows=9, num_folds=3, scores={}, by_number_of_views={},
    ...                      curves={"fold 0": epochs}, recipes={})
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_train_report(report, path)
    >>> "Loss on training rows" in path.read_text("utf-8")
    True
    """
    write_text(path, render_train_report(report))


def render_train_report(report: TrainReport) -> str:
    """Return the page as text; the same report gives the same text."""
    return render_page("train_report", report=report, charts=_charts(report))


def _charts(report: TrainReport) -> list[tuple[str, LineChart]]:
    """Return a chart for each metric that the members have."""
    charts = []
    for key, title in CURVES.items():
        series = {
            member: [(line["epoch"], line[key]) for line in lines if key in line]
            for member, lines in report.curves.items()
        }
        series = {member: points for member, points in series.items() if points}
        if series:
            charts.append((title, line_chart(series)))
    return charts


@dataclass(frozen=True, kw_only=True)
class DiaryLine:
    """One experiment as the diary shows it."""

    run: str
    command: str
    finished: str
    changed: str
    score: str
    """Percentage of all rows of train whose predicted class is the given label, with its interval."""
    num_rows: int
    interval: Interval | None
    """The same as proportions; None for a step without score."""
    in_truth: Interval | None
    """True accuracy by rows that people checked; None without an audit."""
    beside: Sequence[str]
    """Other scores, which may not stand alone."""
    verdict: str
    """better, worse, cannot tell, the baseline, or why there is none."""
    difference: str
    """Points against the baseline, with their interval."""
    difference_interval: Interval | None
    leaks: Sequence[int]
    """Numbers of the leaks that are listed below the table."""
    by_split: Mapping[str, Sequence[str]]
    """By val and test: the score, its rows, its difference to the score out of fold."""
    leaderboard: Mapping[str, Sequence[str]]
    """By name: the leaderboard's score, and its interval where its rows are known."""
    took: str
    report: str
    """Relative address of the run's page; empty where it is gone."""

    def columns(self, splits: Sequence[str], names: Sequence[str]) -> list[Sequence[str]]:
        """Return the lines of each split's cell, then of each leaderboard's; none where there is no score."""
        return [self.by_split.get(name, ()) for name in splits] + [
            self.leaderboard.get(name, ()) for name in names
        ]


@dataclass(frozen=True, kw_only=True)
class LeaderboardChart:
    """Scores of a leaderboard over those out of fold, in a frame of `width` x `height` units."""

    name: str
    caption: str
    """The rank correlation, or why there is none."""
    points: list[tuple[str, float, float, float, float, bool]]
    """Run; left end, middle and right end of its interval; height; whether it leaks."""
    labels: Mapping[str, float]
    """Heights of the names of runs, as far as there is room."""
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = 400
    height: int = 220


def draw_leaderboard(
    name: str, points: Sequence[tuple[Interval, float, bool]], *, caption: str
) -> LeaderboardChart:
    """Chart of leaderboard scores over out-of-fold scores, from (interval, leaderboard score, leaks).

    >>> one = Interval(name="a", low=0.8, value=0.9, high=1.0)
    >>> draw_leaderboard("public", [(one, 0.7, False), (one, 0.8, True)], caption="").points[0]
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
    return LeaderboardChart(
        name=name,
        caption=caption,
        points=drawn,
        labels=spread_labels({run: y for run, *_, y, _ in drawn}, height),
        x_ticks=tuple((x(share), f"{100 * share:.1f} %") for share in (low, high)),
        y_ticks=tuple((y(score), f"{score:.4g}") for score in dict.fromkeys((bottom, top))),
    )


def write_diary_page(
    lines: Sequence[DiaryLine],
    path: str | Path,
    *,
    title: str,
    leaks: Sequence[str] = (),
    charts: Sequence[LeaderboardChart] = (),
) -> None:
    """Write the page, whole or not at all."""
    write_text(path, render_diary_page(lines, title=title, leaks=leaks, charts=charts))


def render_diary_page(
    lines: Sequence[DiaryLine],
    *,
    title: str,
    leaks: Sequence[str] = (),
    charts: Sequence[LeaderboardChart] = (),
) -> str:
    """Return the page as text; the same lines give the same text."""
    drawn = [each for line in lines for each in (line.interval, line.in_truth) if each is not None]
    baselines = [line.interval.value for line in lines if line.verdict == BASELINE and line.interval]
    return render_page(
        "diary_page",
        title=title,
        headline=_headline(lines),
        rows=list(zip(lines, _difference_bars(lines), strict=True)),
        chart=draw_intervals(drawn, mark=next(iter(baselines), None)) if drawn else None,
        leaks=leaks,
        charts=charts,
        splits=list(dict.fromkeys(name for line in lines for name in line.by_split)),
        names=list(dict.fromkeys(name for line in lines for name in line.leaderboard)),
    )


BASELINE = "the baseline"
VERDICTS = {
    "better": ", significantly better than the baseline",
    "worse": ", significantly worse than the baseline",
    "cannot tell": ", not significantly different from the baseline",
}


def _headline(lines: Sequence[DiaryLine]) -> str:
    """Return one sentence: the best experiment, its score, and whether it beats the baseline."""
    scores = [-1.0 if line.interval is None else line.interval.value or 0.0 for line in lines]
    if max(scores, default=-1.0) < 0:
        return f"{len(lines):,} experiments, none with a score."
    best = lines[scores.index(max(scores))]
    name = shown(best.run, 40) + (", the baseline" if best.verdict == BASELINE else "")
    who = f"The best of {len(lines):,} experiments is {name}: it" if len(lines) > 1 else shown(best.run, 40)
    return f"{who} agrees with {percent(max(scores))} of the labels{VERDICTS.get(best.verdict, '')}."


def _difference_bars(lines: Sequence[DiaryLine]) -> list[tuple[DrawnInterval, float] | None]:
    """Return the difference of each line on one axis, and the position of zero on it."""
    zero = Interval(name="", low=0.0, high=0.0)
    drawn = draw_intervals([zero, *(line.difference_interval or zero for line in lines)], mark=0.0)
    return [
        None if line.difference_interval is None or drawn.mark is None else (bar, drawn.mark)
        for line, bar in zip(lines, drawn.rows[1:], strict=True)
    ]
