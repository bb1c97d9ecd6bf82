"""Several runs as one: `kiyome blend`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.finished_run import FinishedRun
from kiyome.ensemble import blend_pred_probs, cross_fitted_blend, diversity
from kiyome.errors import choose
from kiyome.recipes.combined import CombinedResult, Made, Probs, combine_runs, names_of, open_members
from kiyome.report.combined_report import Cells

HOW = ("mean", "log", "rank", "weights")


def blend(
    runs: Sequence[Path | str], *, how: str = "mean", output: Path | str | None = None
) -> CombinedResult:
    """The mean of several runs' predictions, with its out-of-fold score and what each run is worth to it.

    Parameters
    ----------
    runs
        Folders of finished `find` or `train` runs, or of what was made of these, on the same rows and folds.
    how
        "mean", "log" and "rank" as in `kiyome.ensemble.blend_pred_probs`; "weights" fits them to the given
        labels: each fold's rows by the weights of the other folds.
    output
        The run folder; ``RUN-blend`` beside the first run if not given.

    Returns
    -------
    CombinedResult
        Its folder holds ``predictions/``, ``oof`` and ``table`` as CSV and Parquet, ``blend.json`` and
        ``report.html``. `kiyome predict` takes it where all inputs can predict photos.

    Raises
    ------
    InputError
        Runs that differ in rows, labels or folds, named with what differs; an unknown `how`.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.recipes.find import find
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_digits(folder / "digits", num_photos=200)
    >>> first = find(folder / "digits", backbone="tiny", output=folder / "a", cache_folder=folder)
    >>> table = folder / "a" / "table.parquet"
    >>> second = find(table, pred_probs=folder / "a" / "oof.parquet", output=folder / "b")
    >>> blend([folder / "a", folder / "b"]).against_best.verdict
    'cannot tell'
    """
    choose("how", how, HOW)
    opened = open_members(runs, needs_folds=how == "weights")
    return combine_runs(opened, "blend", {"how": how}, partial(_blended, opened, how), output=output)


def _blended(
    runs: Sequence[FinishedRun], how: str, labels: NDArray[np.int32], members: list[Probs], folds: Any
) -> Made:
    names = names_of(runs)
    if how == "weights":
        fitted = cross_fitted_blend(labels, members, folds)
        rows = [
            (name, *_digits(fitted.weights[m], *_of(fitted.weights_by_fold, m)))
            for m, name in enumerate(names)
        ]
        head = ("run", "for new photos", *(f"fold {fold}" for fold in fitted.weights_by_fold))
        return Made(
            pred_probs=fitted.pred_probs,
            for_new={"how": how, "weights": fitted.weights.tolist()},
            tables={"Weights": [head, *rows], **_diversity(labels, members, names, "mean")},
            notes=("each fold is weighted by what the other folds say",),
        )
    return Made(
        pred_probs=blend_pred_probs(members, how=how),
        for_new={"how": how},
        tables=_diversity(labels, members, names, how),
    )


def _of(by_fold: dict[int, NDArray[np.float64]], member: int) -> list[float]:
    return [float(weights[member]) for weights in by_fold.values()]


def _diversity(
    labels: NDArray[np.int32], members: list[Probs], names: list[str], how: str
) -> dict[str, Cells]:
    """Tables of what members differ in, and of what equal means would be without each."""
    if len(members) < 2:
        return {}
    found = diversity(labels, members, blend=partial(blend_pred_probs, how=how))
    worth = zip(
        names,
        _digits(*found.agreement_with_blend),
        (f"{100 * gain:+.2f}" for gain in found.accuracy_gain_when_left_out),
        (f"{gain:+.4f}" for gain in found.log_loss_gain_when_left_out),
        strict=True,
    )
    head = (
        "run",
        "same choice as the blend",
        "points of accuracy gained without it",
        "log loss gained without it",
    )
    return {
        f"What each run is worth to equal weights ({how})": [head, *worth],
        "Share of rows where two runs choose differently": _pairs(names, found.disagreement),
        "Correlation of being wrong about the given label": _pairs(names, found.error_correlation),
    }


def _pairs(names: list[str], matrix: NDArray[np.float64]) -> Cells:
    return [("", *names), *((name, *_digits(*row)) for name, row in zip(names, matrix, strict=True))]


def _digits(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]
