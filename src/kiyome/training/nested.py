"""Probabilities that are free of an outer fold's labels, for cleaning and softening without leaks.

A member that holds out two folds predicts both and saw no label of either. For the outer fold A,

    rows of fold B   come from the pair {A, B}, for every other fold B;   rows of A have none

so whatever is decided from them about A's training rows has seen no label of A, nor any row's own. A pair
serves both ways: F (F - 1) / 2 pairs for F folds, and for each seed. N rows, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.table import TRAIN, Table
from kiyome.artifacts.table_files import load_table
from kiyome.errors import InputError, StaleArtifact
from kiyome.executors import HERE, Executor
from kiyome.inference import Probs
from kiyome.progress import OnEvent, Progress, ignore_event, no_progress
from kiyome.training.cross_validate import train_members
from kiyome.training.member import FinishedMember, Member
from kiyome.training.processes import TimeLimit
from kiyome.training.recipe import Recipe

GLOBAL_LEAK = (
    "Soft labels are global: the models behind them saw the labels of the fold that is later held out."
    " The score is too high, the more so the closer models fit; soft_labels=nested does not leak."
)

Shares = NDArray[np.float32]


def hard_targets(labels: NDArray[np.int32], num_classes: int) -> Shares:
    """Return one-hot targets (N, K); NaN where there is no label.

    >>> hard_targets(np.int32([1, 0]), 2)
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    targets: Shares = np.eye(num_classes, dtype=np.float32)[labels]
    targets[labels < 0] = np.nan
    return targets


def soften(targets: Shares, pred_probs: NDArray[np.floating], *, given_share: float = 0.7) -> Shares:
    """Return targets (N, K) with a weight of `given_share` on the given ones, the rest on predictions.

    Examples
    --------
    The example of a talk on the Cassava competition:

    >>> soften(np.float32([[0, 0, 1, 0]]), np.array([[0.01, 0.73, 0.25, 0.01]])).round(3)
    array([[0.003, 0.219, 0.775, 0.003]], dtype=float32)
    """
    if not 0 <= given_share <= 1:
        raise InputError(
            f"given_share={given_share:g} is out of range.", expected="Expected 0 to 1.", remedy="Use 0.7."
        )
    softened: Shares = (given_share * targets + (1 - given_share) * pred_probs).astype(np.float32)
    return softened


def global_soft_targets(table: Table, run: Path, *, given_share: float = 0.7) -> Shares:
    """Return targets (N, K) of the table's labels, softened by the out-of-fold probabilities of a run.

    The run is a finished `train` or `find` on the same rows and folds: in other folds, a row's soft label
    could come from a model that saw it.
    """
    verify_run(run)
    predictions = Predictions.load(run / "predictions", table)
    if predictions.kind != "out_of_fold":
        raise InputError(
            f"The predictions of {run} are {predictions.kind}.",
            expected="Soft labels need out-of-fold predictions.",
            remedy="Name another run.",
        )
    theirs = load_table(run / "table.parquet").folds
    if theirs is None:
        raise StaleArtifact(
            f"The table of {run} has no folds.",
            expected="Soft labels need predictions from the same folds.",
            remedy="Name a run that kiyome made from photos.",
        )
    if not np.array_equal(theirs, table.folds if table.folds is not None else []):
        raise InputError(
            f"{run} has other folds.",
            expected="Soft labels need predictions from the same folds.",
            remedy=f"Train on {run / 'table.parquet'}, or train that run again.",
        )
    return soften(
        hard_targets(table.labels, table.num_classes), predictions.pred_probs, given_share=given_share
    )


NESTED = "nested"
"""The folder of pairs in a run folder; they are no members of the run, and predict no new photo."""


def plan_pairs(members: Sequence[Member]) -> list[Member]:
    """Return the pairs of folds that the nested members among these need.

    A pair follows the plain version of its recipe, with the given labels and every row in training.
    """
    pairs = []
    for member in {each.recipe.name: each for each in members if each.recipe.cleaning.is_nested}.values():
        recipe, table = member.recipe, member.data.table
        outer = {each.fold for each in members if each.recipe.name == recipe.name}
        targets = hard_targets(table.labels, table.num_classes)
        plain = replace(member.data, targets=targets, in_training=np.ones(len(table), bool))
        folds = table.fold_numbers.tolist()
        pairs += [
            Member(recipe=_plain(recipe), fold=first, second_fold=second, seed=seed, data=plain)
            for seed in recipe.seeds
            for first, second in combinations(folds, 2)
            if outer & {first, second}
        ]
    for pair in pairs:
        _check_classes_left(pair)
    return pairs


def train_pairs(
    pairs: Sequence[Member],
    folder: Path,
    *,
    executor: Executor = HERE,
    limit: TimeLimit | None = None,
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
) -> list[FinishedMember]:
    """Return the pairs, finished, each in its folder below ``folder / "nested" / "members"``.

    One that a run beside this one has trained with the same key is copied (training/reuse.py).
    """
    return train_members(
        pairs,
        folder,
        below=NESTED,
        executor=executor,
        limit=limit,
        on_progress=on_progress,
        on_event=on_event,
    )


def nested_probs(pairs: Sequence[FinishedMember], fold: int) -> Probs:
    """Probabilities (N, K) for the training rows of one outer fold; NaN in all other rows.

    The pairs are of one recipe; no model behind the result saw a label of the fold. The mean is over seeds.
    """
    table = pairs[0].member.data.table
    total, count = np.zeros((len(table), table.num_classes)), np.zeros(len(table))
    for pair in pairs:
        rows = pair.member.held_out
        if fold in (pair.member.fold, pair.member.second_fold):
            total[rows] += pair.pred_probs
            count[rows] += 1
    outside = table.in_split(TRAIN) & (np.asarray(table.folds) != fold)
    if not count[outside].all():
        missing = np.unique(np.asarray(table.folds)[outside & (count == 0)]).tolist()
        raise InputError(
            f"The member that holds out folds {fold} and {missing[0]} is missing.", remedy="Train it."
        )
    probs: Probs = np.full(total.shape, np.nan, np.float32)
    probs[outside] = total[outside] / count[outside, None]
    return probs


def _plain(recipe: Recipe) -> Recipe:
    return recipe.with_fields(soft_labels="", leave_out="")


def _check_classes_left(pair: Member) -> None:
    table = pair.data.table
    if len(table.fold_numbers) < 3:
        raise InputError(
            "There are 2 folds.",
            expected="A nested recipe holds out two folds and trains on the others.",
            remedy="Use num_folds=3 or more.",
        )
    gone = np.setdiff1d(table.labels[table.in_split(TRAIN)], table.labels[pair.training_rows])
    if len(gone):
        raise InputError(
            f"There is no row of {table.class_names[gone[0]]!r} outside folds {pair.fold} and"
            f" {pair.second_fold}.",
            expected="A nested recipe needs rows of each class outside any two folds.",
            remedy="Split with another seed, leave the class out, or use a global form.",
        )
