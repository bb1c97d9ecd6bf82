"""One run at the temperature that its labels ask for: `kiyome calibrate`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.ensemble import calibrate_pred_probs
from kiyome.recipes.combined import CombinedResult, Made, Probs, combine_runs, open_members


def calibrate(run: Path | str, *, output: Path | str | None = None) -> CombinedResult:
    r"""A run's predictions at the temperature that given labels ask for, each fold at that of the others.

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

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.recipes.find import find
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = "".join(f"{n},{n % 2},{n % 3}\n" for n in range(60))
    >>> _ = (folder / "train.csv").write_text("id,label,fold\n" + rows)
    >>> np.save(folder / "oof.npy", np.tile(np.float32([[0.8, 0.2], [0.4, 0.6]]), (30, 1)))
    >>> run = find(folder / "train.csv", pred_probs=folder / "oof.npy", output=folder / "run").folder
    >>> calibrate(run).for_new["temperature"] < 1  # all are right: it could have been surer
    True
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
