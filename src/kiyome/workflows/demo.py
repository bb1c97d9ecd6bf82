"""Comparison of the solar cells that `find` flags with those that experts doubted.

Data: the ELPV set (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 2021), 2,624 cells, CC BY-NC-SA 4.0, in the
PyPI package elpv-dataset.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import write_csv
from kiyome.errors import MissingExtra
from kiyome.estimates import Estimate, proportion, ratio_of_proportions
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.workflows.find import find
from kiyome.workflows.find_result import FindResult
from kiyome.workflows.inputs import RUNS

LICENCE = "photographs: ELPV data set, CC BY-NC-SA 4.0, from the PyPI package elpv-dataset"
CLASSES = ("functional", "functional", "defective", "defective")
"""Classes of the grades 0, 1/3, 2/3 and 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoResult:
    """Proportions of doubtful grades among the rows that `find` flagged, and among the others."""

    found: FindResult
    doubt_in_flagged: Estimate
    """Proportion of flagged rows with the grade 1/3 or 2/3."""
    doubt_in_rest: Estimate
    lift: Estimate
    """Ratio of the two."""

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        shares = ("doubt_in_flagged", "doubt_in_rest", "lift")
        return {
            **self.found.summary(),
            **{name: vars(getattr(self, name)) for name in shares},
            "data": LICENCE,
        }


@shows_progress
def demo(
    *,
    output: Path | str | None = None,
    cache_folder: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> DemoResult:
    """Compare the doubt of experts among flagged solar cells with the others.

    Parameters
    ----------
    output
        The run folder; by default ``runs/solar_cells``.
    cache_folder, on_progress
        As for `find`.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` is given.

    Raises
    ------
    MissingExtra
        If the photographs or the backbone are not installed.
    """
    cells = elpv_folder()
    names, thirds = read_grades(cells)
    path = Path(output) if output else RUNS / "solar_cells"
    labels_csv = path.with_name(f"{path.name}-labels.csv")
    labels_csv.parent.mkdir(parents=True, exist_ok=True)
    classes = [CLASSES[grade] for grade in thirds]
    write_csv(labels_csv, [("image_id", "label"), *zip(names, classes, strict=True)])
    found = find(
        labels_csv,
        images=cells,
        output=path,
        backbone="lite0",
        cache_folder=cache_folder,
        on_progress=on_progress,
    )
    doubtful = dict(zip(names, np.isin(thirds, (1, 2)), strict=True))
    return compare_doubt(found, np.array([doubtful[name] for name in found.table.image_ids]))


def compare_doubt(found: FindResult, doubtful: NDArray[np.bool_]) -> DemoResult:
    """Compare the doubt (N,) among flagged rows with the others."""
    flagged = found.is_label_issue
    counts = [int(part) for mask in (flagged, ~flagged) for part in (doubtful[mask].sum(), mask.sum())]
    return DemoResult(
        found=found,
        doubt_in_flagged=proportion(counts[0], counts[1]),
        doubt_in_rest=proportion(counts[2], counts[3]),
        lift=ratio_of_proportions(*counts),
    )


def elpv_folder() -> Path:
    """The folder of the installed package that holds ``images/`` and ``labels.csv``."""
    package = find_spec("elpv_dataset")
    if package is None or not package.submodule_search_locations:
        raise MissingExtra("The demo with photographs of solar cells", extra="demo")
    return Path(package.submodule_search_locations[0]) / "data"


def read_grades(cells: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Return names of photos, and grades in thirds: 0 (functional) to 3 (defective)."""
    lines = (cells / "labels.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    return [name for name, _, _ in rows], np.array([round(3 * float(grade)) for _, grade, _ in rows])
