"""One run at the temperature that its labels ask for: `kiyome calibrate`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.ensemble import calibrate_pred_probs
from kiyome.recipes.combined import CombinedResult, Made, Probs, combine_runs, open_members


def calibrate(run: Path | str, *, output: Path | str | None = None) -> CombinedResult:
    """A run's predictions at the temperature that given labels ask for, each fold at that of the others.

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
        Where the run has no folds.
    """

    def make(labels: NDArray[np.int32], members: list[Probs], folds: Any) -> Made:
        fitted = calibrate_pred_probs(labels, members[0], folds)
        rows = [
            (f"rows of fold {fold}", f"{value:.4f}") for fold, value in fitted.temperature_by_fold.items()
        ]
        return Made(
            pred_probs=fitted.pred_probs,
            for_new={"temperature": fitted.temperature},
            tables={
                "Temperatures": [("", "temperature"), ("new photos", f"{fitted.temperature:.4f}"), *rows]
            },
            notes=("confidence is that of the given label, which may be wrong, not of the truth",),
        )

    return combine_runs(open_members([run]), "calibrate", {}, make, output=output)
