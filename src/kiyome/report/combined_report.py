"""The page that ends `kiyome blend`, `stack`, `calibrate` and `correct`: scores, reliability, fits.

One HTML file that asks the network for nothing and runs no script, as the page of `find`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.report.page import render_page
from kiyome.report.reliability import Reliability, reliability_chart

Cells = Sequence[Sequence[str]]
"""Rows of a table, the first one its head, the first cell of each its name."""


@dataclass(frozen=True, kw_only=True)
class CombinedReport:
    """What there is to show."""

    title: str
    verb: str
    num_rows: int
    scores: Mapping[str, Sequence[str]]
    """Of the result, then of each input: agreement with given labels, log loss, calibration error."""
    answer: str
    """What it was good for, in a sentence."""
    reliability: Mapping[str, Sequence[Reliability]]
    """Bins of the result and of the best input."""
    tables: Mapping[str, Cells]
    notes: Sequence[str] = ()


def write_combined_report(report: CombinedReport, path: str | Path) -> None:
    """Put the page at `path`, whole or not at all.

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
    """The page as text: the same report gives the same text."""
    return render_page(
        "combined_report",
        report=report,
        chart=reliability_chart(report.reliability),
    )
