"""The page of `kiyome find`: the labels that are probably wrong, with their photos."""

from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.progress import Progress, no_progress
from kiyome.report.find_view import LabelFindings, Repeats, build_page, issues_by_cell, rows_to_show
from kiyome.report.render import make_thumbnails, render_page

__all__ = ["MAX_REPORT_BYTES", "LabelFindings", "Repeats", "render_report", "write_report"]

MAX_REPORT_BYTES = 8_000_000
"""No report is larger: 400 thumbnails of 16 kB in base64, and lists that all end."""


def render_report(found: LabelFindings, *, on_progress: Progress = no_progress) -> str:
    """Return the page as text; the same findings give the same text."""
    cells = issues_by_cell(found)
    rows = rows_to_show(found, cells)
    thumbnails = make_thumbnails(rows, found.photo, on_progress=on_progress) if found.photo else {}
    return render_page("find_report", style="find_report", page=build_page(found, cells, thumbnails))


def write_report(found: LabelFindings, path: str | Path, *, on_progress: Progress = no_progress) -> None:
    """Write the page: one HTML file of at most 8 MB and 400 photos, without network or script.

    >>> import numpy as np, tempfile
    >>> from kiyome.noise import noise_rate
    >>> found = LabelFindings(
    ...     title="two photos", class_names=["cat", "dog"], image_ids=["a.jpg", "b.jpg"],
    ...     given_labels=np.array([0, 1]), predicted_labels=np.array([1, 1]),
    ...     label_quality=np.array([0.1, 0.9]), probability=np.array([0.9, 0.1]),
    ...     is_label_issue=np.array([True, False]), ranking=np.array([0, 1]),
    ...     expected_joint=np.array([[0, 0], [1, 1]]), noise_rate=noise_rate([0, 1], np.eye(2)),
    ... )
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(found, path)
    >>> "1 of 2 rows is flagged" in path.read_text("utf-8")
    True
    """
    write_text(path, render_report(found, on_progress=on_progress))
