"""The page that ends `kiyome train`: how members learned, and what they say of rows they never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiyome.artifacts.storage import write_text
from kiyome.report.curves import LineChart, line_chart
from kiyome.report.page import render_page

CURVES = {
    "train_loss": "Loss on training rows",
    "train_agreement": "Share of training rows whose likeliest class is their label",
    "held_out_log_loss": "Log loss on held-out rows, from one view",
    "held_out_accuracy_on_labels": "Accuracy on the labels of held-out rows, from one view",
}
"""What is drawn of each epoch's metrics, and its title."""


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """What there is to show."""

    title: str
    num_rows: int
    num_folds: int
    scores: Mapping[str, Mapping[str, float]]
    """Accuracy on labels and log loss, out of fold, of all members and of each model; of all rows, and where
    training left flagged ones out, beside it of the others."""
    by_number_of_views: Mapping[str, Sequence[Mapping[str, float]]]
    """For each member, what the first 1, 2, ... views together reach on held-out rows."""
    curves: Mapping[str, Sequence[Mapping[str, Any]]]
    """For each member, one line of metrics an epoch."""
    notes: Sequence[str] = ()
    recipes: Mapping[str, Mapping[str, Any]]
    """The fields of each model's recipe."""

    @property
    def left_rows_out(self) -> bool:
        """Whether flagged rows were left out of training: then some scores are of the other rows only."""
        return any("rows_not_flagged" in score for score in self.scores.values())


def write_train_report(report: TrainReport, path: str | Path) -> None:
    """Put the page at `path`, whole or not at all.

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
    """The page as text: the same report gives the same text."""
    return render_page("train_report", report=report, charts=_charts(report))


def _charts(report: TrainReport) -> list[tuple[str, LineChart]]:
    """A chart for each metric that the members have."""
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
