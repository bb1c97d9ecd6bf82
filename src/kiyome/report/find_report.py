"""The page that ends `kiyome find`: what is probably wrong, to look at rather than read."""

from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.progress import Progress, no_progress
from kiyome.report.find_record import FindReport, Repeats
from kiyome.report.find_view import build_page, issues_by_cell, rows_to_show
from kiyome.report.render import render_page
from kiyome.report.thumbnails import make_thumbnails

__all__ = [
    "MAX_REPORT_BYTES",
    "FindReport",
    "Repeats",
    "render_report",
    "write_report",
]

MAX_REPORT_BYTES = 8_000_000
"""No report is larger: 400 thumbnails of 16 kB in base64, and lists that all end."""


def render_report(report: FindReport, *, on_progress: Progress = no_progress) -> str:
    """The page as text: the same report gives the same text.

    Parameters
    ----------
    report : FindReport
        What to show.
    on_progress : callable
        Told ``("report", done, total)`` after each thumbnail.
    """
    cells = issues_by_cell(report)
    rows = rows_to_show(report, cells)
    thumbnails = make_thumbnails(rows, report.photo, on_progress=on_progress) if report.photo else {}
    return render_page("find_report", style="find_report", page=build_page(report, cells, thumbnails))


def write_report(report: FindReport, path: str | Path, *, on_progress: Progress = no_progress) -> None:
    """Put the page at `path`: one HTML file of at most 8 MB that needs no network and no script.

    Parameters
    ----------
    report : FindReport
        What to show. At most 400 photos are shown, each one carried once.
    path : str or Path
        Where the file appears, whole or not at all.
    on_progress : callable
        Told ``("report", done, total)`` after each thumbnail.

    Examples
    --------
    >>> import numpy as np
    >>> import tempfile
    >>> report = FindReport(
    ...     title="two photos", class_names=["cat", "dog"], image_ids=["a.jpg", "b.jpg"],
    ...     given_labels=np.array([0, 1]), suggested_labels=np.array([1, 1]),
    ...     label_quality=np.array([0.1, 0.9]), probability=np.array([0.9, 0.1]),
    ...     is_label_issue=np.array([True, False]),
    ...     ranking=np.array([0]), likely_true_joint=np.array([[0, 0], [1, 1]]),
    ...     noise_rate=0.5, noise_rate_low=0.1, noise_rate_high=0.9, noise_rate_how="Two rows.",
    ... )
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(report, path)
    >>> "1 of 2 rows is flagged" in path.read_text("utf-8")
    True
    """
    write_text(path, render_report(report, on_progress=on_progress))
