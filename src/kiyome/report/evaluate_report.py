"""The page of `kiyome evaluate`: what a score is worth, drawn and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.report.combined_report import Cells
from kiyome.report.intervals import Interval, draw_band, draw_intervals
from kiyome.report.page import render_page
from kiyome.report.reliability import Reliability, reliability_chart


@dataclass(frozen=True, kw_only=True)
class EvaluateReport:
    """What there is to show."""

    title: str
    answer: str
    marks: Sequence[str]
    """What makes the number mean less than it seems."""
    told: Sequence[str]
    """The answer in sentences."""
    readings: Sequence[Interval]
    """Of the accuracy: on given labels, under each assumption, the ceiling."""
    sensitivity: Sequence[tuple[float, float, float, float]]
    """Share of wrong labels that the model repeats; lower end, value, upper end of the true accuracy."""
    seen_repeats: float
    """Up to where networks were seen to repeat labels by people."""
    scores: Cells
    compared: Sequence[str]
    """Verdicts against other runs, in sentences."""
    chosen: Sequence[str]
    """What choosing among experiments on these rows is worth, in sentences."""
    reliability: Mapping[str, Sequence[Reliability]]
    by_class: Cells


def write_evaluate_report(report: EvaluateReport, path: str | Path) -> None:
    """Put the page at `path`, whole or not at all."""
    write_text(path, render_evaluate_report(report))


def render_evaluate_report(report: EvaluateReport) -> str:
    """The page as text: the same report gives the same text."""
    return render_page(
        "evaluate_report",
        report=report,
        drawn=draw_intervals(report.readings),
        band=draw_band(report.sensitivity, marks=[(report.seen_repeats, "seen of people's labels")]),
        chart=reliability_chart(report.reliability),
    )
