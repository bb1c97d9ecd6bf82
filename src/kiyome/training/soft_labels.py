"""Targets that lean on what models predict out of fold (knowledge distillation). N rows, K classes.

    target = given_share * label + (1 - given_share) * probabilities of a model that did not see the row

Above a given share of 0.5 the label stays the likeliest class of every target: it is softened, never changed.

There are two forms. `nested` is free of leaks (training/nested.py). `global` takes the out-of-fold
probabilities of an earlier run: the models behind the soft label of a row in fold A were trained on the other
folds, fold B among them. A member that holds B out learns from that soft label, so something of B's labels
reaches the member that predicts B. Scores of such a run come out too high; it says so wherever it is shown:
where labels were shuffled, so that nothing can be learned, linear heads scored points above chance
(benchmarks/leak_of_heads.py).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.table import Table, load_table
from kiyome.errors import InputError, StaleArtifact

GLOBAL_LEAK = (
    "Soft labels are global: the models behind them saw the labels of the fold that is later held out."
    " The score comes out too high, the more so the closer models fit; soft_labels=nested does not leak."
)

Shares = NDArray[np.float32]


def hard_targets(labels: NDArray[np.int32], num_classes: int) -> Shares:
    """One-hot targets (N, K).

    >>> hard_targets(np.int32([1, 0]), 2)
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    targets: Shares = np.eye(num_classes, dtype=np.float32)[labels]
    return targets


def soften(targets: Shares, pred_probs: NDArray[np.floating], *, given_share: float = 0.7) -> Shares:
    """Targets (N, K): `given_share` of the given ones and the rest of the predicted ones.

    Examples
    --------
    The example of a talk on the Cassava competition:

    >>> soften(np.float32([[0, 0, 1, 0]]), np.array([[0.01, 0.73, 0.25, 0.01]])).round(3)
    array([[0.003, 0.219, 0.775, 0.003]], dtype=float32)
    """
    if not 0 <= given_share <= 1:
        raise InputError("given_share lies in 0 to 1.", came=f"{given_share:g}", remedy="Say 0.7.")
    softened: Shares = (given_share * targets + (1 - given_share) * pred_probs).astype(np.float32)
    return softened


def global_soft_targets(table: Table, run: Path, *, given_share: float = 0.7) -> Shares:
    """Targets (N, K) of the table's labels, softened by the out-of-fold probabilities of an earlier run.

    Parameters
    ----------
    table
        With folds.
    run
        The folder of a finished `train` or `find` run on the same rows and the same folds.
    given_share
        Weight of the label.

    Raises
    ------
    StaleArtifact
        When the run did not finish, was changed, or belongs to other rows.
    InputError
        When the run was dealt into other folds: then a row's soft label may come from a model that saw it.
    """
    verify_run(run)
    predictions = Predictions.load(run / "predictions", table)
    if predictions.kind != "out_of_fold":
        raise InputError("Soft labels are out of fold.", came=predictions.kind, remedy="Name another run.")
    theirs = load_table(run / "table.parquet").folds
    if theirs is None:
        raise StaleArtifact(
            "The run behind soft labels was dealt into folds.",
            came=f"none in {run}",
            remedy="Name a run that kiyome made from photos.",
        )
    if not np.array_equal(theirs, table.folds if table.folds is not None else []):
        raise InputError(
            "Soft labels come from the folds at hand.",
            came=f"another deal in {run}",
            remedy=f"Train on {run / 'table.parquet'}, or train that run again.",
        )
    return soften(
        hard_targets(table.labels, table.num_classes), predictions.pred_probs, given_share=given_share
    )
