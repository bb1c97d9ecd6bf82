"""Runs combined into one, or calibrated: `kiyome blend`, `kiyome stack`, `kiyome calibrate`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.ensemble import (
    blend_pred_probs,
    calibrate_pred_probs,
    cross_fitted_blend,
    cross_fitted_stack,
    diversity,
)
from kiyome.ensemble.classifiers import FINAL
from kiyome.errors import InputError, choose
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.reading.finished_run import FinishedRun
from kiyome.report.pages import Cells
from kiyome.workflows.combine import (
    FINAL_TEXT,
    FLAGS_TEXT,
    CombinedResult,
    FittedCombination,
    Probs,
    combine_runs,
    names_of,
    open_members,
)

HOW = ("mean", "log", "rank", "weights")


def blend(
    runs: Sequence[Path | str], *, how: str = "mean", output: Path | str | None = None
) -> CombinedResult:
    """Blend several runs' predictions by a mean, with its out-of-fold score and each run's contribution.

    Parameters
    ----------
    runs
        Folders of finished runs (find, train, or combinations of these) on the same rows and folds.
    how
        "mean", "log" and "rank" as in `kiyome.ensemble.blend_pred_probs`; "weights" fits them to the given
        labels: each fold's rows get the weights of the other folds.
    output
        The run folder; ``RUN-blend`` beside the first run if not given.

    Returns
    -------
    CombinedResult
        Its folder holds ``predictions/``, ``oof`` and ``table`` as CSV and Parquet, ``blend.json`` and
        ``report.html``. `kiyome predict` accepts it where all inputs can predict photos.

    Raises
    ------
    InputError
        Runs that differ in rows, labels or folds; an unknown `how`.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
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
) -> FittedCombination:
    names = names_of(runs)
    if how == "weights":
        fitted = cross_fitted_blend(labels, members, folds)
        rows = [
            (name, *_digits(fitted.weights[m], *_of(fitted.weights_by_fold, m)))
            for m, name in enumerate(names)
        ]
        head = ("run", "for new photos", *(f"fold {fold}" for fold in fitted.weights_by_fold))
        return FittedCombination(
            pred_probs=fitted.pred_probs,
            predictor={"how": how, "weights": fitted.weights.tolist()},
            tables={"Weights": [head, *rows], **_diversity(labels, members, names, "mean")},
            notes=("each fold has the weights that were fitted on the other folds",),
        )
    return FittedCombination(
        pred_probs=blend_pred_probs(members, how=how),
        predictor={"how": how},
        tables=_diversity(labels, members, names, how),
    )


def _of(by_fold: dict[int, NDArray[np.float64]], member: int) -> list[float]:
    return [float(weights[member]) for weights in by_fold.values()]


def _diversity(
    labels: NDArray[np.int32], members: list[Probs], names: list[str], how: str
) -> dict[str, Cells]:
    """Return tables of the members' differences, and of equal means without each."""
    if len(members) < 2:
        return {}
    found = diversity(labels, members, blend=partial(blend_pred_probs, how=how))
    contributions = zip(
        names,
        _digits(*found.agreement_with_blend),
        (f"{100 * gain:+.2f}" for gain in found.accuracy_gain_when_left_out),
        (f"{gain:+.4f}" for gain in found.log_loss_gain_when_left_out),
        strict=True,
    )
    head = (
        "run",
        "agreement with the blend",
        "points of accuracy gained without it",
        "log loss gained without it",
    )
    return {
        f"Contribution of each run to equal weights ({how})": [head, *contributions],
        "Share of rows where two runs disagree": _pairs(names, found.disagreement),
        "Correlation of errors on given labels": _pairs(names, found.error_correlation),
    }


def _pairs(names: list[str], matrix: NDArray[np.float64]) -> Cells:
    return [("", *names), *((name, *_digits(*row)) for name, row in zip(names, matrix, strict=True))]


def _digits(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]


def calibrate(run: Path | str, *, output: Path | str | None = None) -> CombinedResult:
    r"""Calibrate a run's predictions to the given labels, each fold by the temperature of the others.

    Parameters
    ----------
    run
        The folder of a finished run, as for `blend`.
    output
        The run folder; ``RUN-calibrate`` beside it if not given.

    Returns
    -------
    CombinedResult
        Its report draws reliability before and after. The likeliest class of a row does not change.

    Raises
    ------
    InputError
        A run without folds.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = "".join(f"{n},{n % 2},{n % 3}\n" for n in range(60))
    >>> _ = (folder / "train.csv").write_text("id,label,fold\n" + rows)
    >>> np.save(folder / "oof.npy", np.tile(np.float32([[0.8, 0.2], [0.4, 0.6]]), (30, 1)))
    >>> run = find(folder / "train.csv", pred_probs=folder / "oof.npy", output=folder / "run").folder
    >>> calibrate(run).predictor["temperature"] < 1  # all rows are right: too unsure
    True
    """

    def make(labels: NDArray[np.int32], members: list[Probs], folds: Any) -> FittedCombination:
        fitted = calibrate_pred_probs(labels, members[0], folds)
        rows = [
            (f"rows of fold {fold}", f"{value:.4f}") for fold, value in fitted.temperature_by_fold.items()
        ]
        return FittedCombination(
            pred_probs=fitted.pred_probs,
            predictor={"temperature": fitted.temperature},
            tables={
                "Temperatures": [("", "temperature"), ("new photos", f"{fitted.temperature:.4f}"), *rows]
            },
            notes=("confidence is calibrated to given labels, which may be wrong",),
        )

    return combine_runs(open_members([run]), "calibrate", {}, make, output=output)


TRACE = (
    "inputs that predicted the other folds were trained on this fold's labels, so a trace of these is in the"
    " stack's training data; none is in the row's own features"
)


@shows_progress
def stack(
    runs: Sequence[Path | str],
    *,
    model: str = "linear",
    is_noisy: bool = False,
    output: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> CombinedResult:
    r"""Fit an estimator on runs' out-of-fold predictions; each fold is predicted by one fitted on the others.

    Parameters
    ----------
    runs
        One or more folders, as for `blend`; at least three folds.
    model
        "linear" or, with the extra `stack`, "lightgbm".
    is_noisy
        Add the probability that a row would be flagged, predicted out of fold from probabilities alone.
    output
        The run folder; ``RUN-stack`` beside the first run if not given.
    on_progress
        Called as ``on_progress(stage, done, total)``.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` is given; False is silent.

    Returns
    -------
    CombinedResult
        Its folder also has ``final.txt``, and ``flags.txt`` with `is_noisy`: the estimators as text.

    Raises
    ------
    InputError
        As `blend`; an unknown model; fewer than three folds.
    MissingExtra
        For "lightgbm" without the package.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = "".join(f"{n},{n % 2},{n % 3}\n" for n in range(60))
    >>> _ = (folder / "train.csv").write_text("id,label,fold\n" + rows)
    >>> np.save(folder / "oof.npy", np.tile(np.float32([[0.8, 0.2], [0.4, 0.6]]), (30, 1)))
    >>> run = find(folder / "train.csv", pred_probs=folder / "oof.npy", output=folder / "run").folder
    >>> stack([run]).score.log_loss < 0.1
    True
    """
    choose("model", model, FINAL)
    if not isinstance(is_noisy, bool):
        raise InputError(f"is_noisy={is_noisy!r}: expected True or False.", remedy="Flags would leak labels.")

    def make(labels: NDArray[np.int32], members: list[Probs], folds: Any) -> FittedCombination:
        stacked = cross_fitted_stack(
            labels, members, folds, model=model, is_noisy=is_noisy, on_progress=on_progress
        )
        assert stacked.stack is not None  # noqa: S101 - only own flags leave none
        flags = stacked.stack.flags
        texts = {FINAL_TEXT: stacked.stack.final.as_text()}
        return FittedCombination(
            pred_probs=stacked.pred_probs,
            predictor={"model": model, "is_noisy": is_noisy},
            files=texts if flags is None else {**texts, FLAGS_TEXT: flags.as_text()},
            notes=(TRACE,),
        )

    options = {"model": model, "is_noisy": is_noisy}
    return combine_runs(open_members(runs), "stack", options, make, output=output)
