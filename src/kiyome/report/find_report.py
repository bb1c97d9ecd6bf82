"""The page that ends `kiyome find`: what is probably wrong, to look at rather than read.

The page is one file that asks the network for nothing. Its policy allows one style sheet, named by its
digest, and images inside the file; no script can run, whatever a file name or a label says.
"""

import base64
import hashlib
from importlib import resources
from pathlib import Path

from kiyome.artifacts.storage import write_text
from kiyome.progress import Progress, silent
from kiyome.report import shown
from kiyome.report.find_record import FindReport, Repeats
from kiyome.report.find_view import build_page, issues_by_cell, rows_to_show
from kiyome.report.thumbnails import make_thumbnails

__all__ = [
    "MAX_REPORT_BYTES",
    "FindReport",
    "Repeats",
    "content_security_policy",
    "render_report",
    "write_report",
]

MAX_REPORT_BYTES = 8_000_000
"""No report is larger: 400 thumbnails of 16 kB in base64, and lists that all end."""


def render_report(report: FindReport, *, on_progress: Progress = silent) -> str:
    """The page as text: the same report gives the same text.

    Parameters
    ----------
    report : FindReport
        What to show.
    on_progress : callable
        Told ``("report", done, total)`` after each thumbnail.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    cells = issues_by_cell(report)
    rows = rows_to_show(report, cells)
    thumbnails = make_thumbnails(rows, report.photo, on_progress=on_progress) if report.photo else {}

    environment = Environment(
        loader=PackageLoader("kiyome.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=shown.count, percent=shown.percent, score=shown.score)
    css = resources.files("kiyome.report").joinpath("templates", "find_report.css").read_text("utf-8")
    return environment.get_template("find_report.html").render(
        page=build_page(report, cells, thumbnails),
        css=Markup(css),  # noqa: S704 - our own file, byte for byte as hashed
        policy=content_security_policy(css),
    )


def content_security_policy(css: str) -> str:
    """The policy under which a page shows images it holds and this one style sheet, and does nothing else.

    >>> content_security_policy("p { color: red }").split("; ")[:2]
    ["default-src 'none'", 'img-src data:']
    """
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def write_report(report: FindReport, path: str | Path, *, on_progress: Progress = silent) -> None:
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
    ...     label_quality=np.array([0.1, 0.9]), is_label_issue=np.array([True, False]),
    ...     ranking=np.array([0]), likely_true_joint=np.array([[0, 0], [1, 1]]),
    ...     noise_rate=0.5, noise_rate_low=0.1, noise_rate_high=0.9, noise_rate_how="Two rows.",
    ... )
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(report, path)
    >>> "1 of 2 rows is flagged" in path.read_text("utf-8")
    True
    """
    write_text(path, render_report(report, on_progress=on_progress))
