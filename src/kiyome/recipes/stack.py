"""A final estimator on runs' out-of-fold predictions: `kiyome stack`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.bars import shows_progress
from kiyome.ensemble import cross_fitted_stack
from kiyome.ensemble.classifiers import FINAL
from kiyome.errors import InputError, choose
from kiyome.progress import Progress, silent
from kiyome.recipes.combined import (
    FINAL_TEXT,
    FLAGS_TEXT,
    CombinedResult,
    Made,
    Probs,
    combine_runs,
    open_members,
)

TRACE = (
    "inputs that predicted the other folds were trained on this fold's labels: a trace of them is in what the"
    " stack learned from, none in the row's own features"
)


@shows_progress
def stack(
    runs: Sequence[Path | str],
    *,
    model: str = "linear",
    is_noisy: bool = False,
    output: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = silent,
) -> CombinedResult:
    r"""What an estimator on runs' out-of-fold predictions says, each fold by one that never saw its labels.

    Parameters
    ----------
    runs
        One or more folders, as for `blend`; at least three folds.
    model
        "linear" or, with the extra `stack`, "lightgbm".
    is_noisy
        Give it the chance that a row would be flagged, predicted out of fold from probabilities alone.
    output
        The run folder; ``RUN-stack`` beside the first run if not given.
    on_progress
        Called as ``on_progress(stage, done, total)``.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Returns
    -------
    CombinedResult
        Its folder also holds ``final.txt``, and ``flags.txt`` with `is_noisy`: the estimators as text.

    Raises
    ------
    InputError
        As `blend`; an unknown model; fewer than three folds.
    MissingExtra
        For "lightgbm" without the package.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.recipes.find import find
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
        raise InputError("is_noisy is True or False.", came=repr(is_noisy), remedy="Flags leak labels.")

    def make(labels: NDArray[np.int32], members: list[Probs], folds: Any) -> Made:
        stacked = cross_fitted_stack(
            labels, members, folds, model=model, is_noisy=is_noisy, on_progress=on_progress
        )
        assert stacked.stack is not None  # noqa: S101 - only own flags leave none
        flags = stacked.stack.flags
        texts = {FINAL_TEXT: stacked.stack.final.as_text()}
        return Made(
            pred_probs=stacked.pred_probs,
            for_new={"model": model, "is_noisy": is_noisy},
            files=texts if flags is None else {**texts, FLAGS_TEXT: flags.as_text()},
            notes=(TRACE,),
        )

    options = {"model": model, "is_noisy": is_noisy}
    return combine_runs(open_members(runs), "stack", options, make, output=output)
