"""F folds times M members on one deal: each row is predicted by members that never saw it, nor its label.

Members are independent: `only` picks some, so that several processes or machines share a run folder; a member
that another process is training is busy, one that is finished is taken as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError, nearest
from kiyome.executors import HERE, Executor
from kiyome.inference import Probs
from kiyome.progress import OnEvent, Progress, ignore_event, no_progress
from kiyome.training.dynamics import Dynamics, summarize_dynamics
from kiyome.training.member import FinishedMember, Lessons, Member
from kiyome.training.member_units import train_members
from kiyome.training.recipe import Recipe
from kiyome.training.time_limit import TimeLimit


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidation:
    """All members, finished. N rows, K classes."""

    members: tuple[FinishedMember, ...]
    pred_probs: Probs
    """(N, K) out of fold: the mean over the members that did not see the row."""
    by_recipe: Mapping[str, Probs]
    """The same for each recipe's members alone."""
    dynamics: Dynamics
    """(N,) over the members that did see the row."""


def plan_members(
    recipes: Sequence[Recipe], lessons: Mapping[str, Lessons], *, only: Sequence[str] = ()
) -> list[Member]:
    """The members of a run, recipe by recipe and fold by fold.

    Parameters
    ----------
    recipes
        Of different names.
    lessons
        For each recipe's name.
    only
        As for `pick_members`.
    """
    members = [
        Member(recipe=recipe, fold=int(fold), seed=seed, lessons=lessons[recipe.name])
        for recipe in recipes
        for seed in recipe.seeds
        for fold in np.unique(_folds(lessons[recipe.name]))
    ]
    return pick_members(members, only)


def pick_members(members: Sequence[Member], only: Sequence[str]) -> list[Member]:
    """The members that fit all of the texts ``fold=0``, ``fold=0,2``, ``recipe=NAME``, ``seed=1``.

    Raises
    ------
    InputError
        Where nothing fits.
    """
    picked = list(members)
    for text in only:
        key, _, values = text.partition("=")
        if key not in ("fold", "recipe", "seed"):
            must = "Members are picked by fold=, recipe= or seed=."
            raise InputError(must, came=repr(text), remedy=nearest(key, ("fold", "recipe", "seed")))
        picked = [member for member in picked if _value(member, key) in values.split(",")]
    if not picked:
        raise InputError("Some member fits.", came=f"{list(only)}", remedy="Folds and seeds count from 0.")
    return picked


def cross_validate(
    members: Sequence[Member],
    folder: Path,
    *,
    executor: Executor = HERE,
    limit: TimeLimit | None = None,
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
) -> CrossValidation:
    """Train every member and put their out-of-fold probabilities together.

    Parameters
    ----------
    members
        From `plan_members`: of one table and deal, photos stored for the recipe's size.
    folder
        Receives ``members/``; what lies there already is taken where it is what would come out.
    executor, limit, on_progress, on_event
        As for `train_members`.

    Raises
    ------
    InputError
        Where the members are not of one table and deal.
    TimeLimitReached
        Where the limit came first.
    """
    _check_one_deal(members)
    finished = train_members(
        members, folder, executor=executor, limit=limit, on_progress=on_progress, on_event=on_event
    )
    passes = [epoch for member in finished for epoch in member.dynamics()]
    names = dict.fromkeys(member.recipe.name for member in members)
    return CrossValidation(
        members=tuple(finished),
        pred_probs=out_of_fold(finished),
        by_recipe={
            name: out_of_fold([each for each in finished if each.member.recipe.name == name])
            for name in names
        },
        dynamics=summarize_dynamics([margins for margins, _ in passes], [losses for _, losses in passes]),
    )


def out_of_fold(members: Sequence[FinishedMember]) -> Probs:
    """Probabilities (N, K): of each row the mean over the members that hold it out.

    Raises
    ------
    InputError
        Where a row is held out by none.
    """
    table = members[0].member.lessons.table
    total = np.zeros((len(table), table.num_classes))
    count = np.zeros(len(table))
    for member in members:
        total[member.member.held_out] += member.pred_probs
        count[member.member.held_out] += 1
    if not count.all():
        fold = int(_folds(members[0].member.lessons)[count.argmin()])
        raise InputError("Every row is held out once.", came=f"no member of fold {fold}", remedy="Train it.")
    mean: Probs = (total / count[:, None]).astype(np.float32)
    return mean


def _folds(lessons: Lessons) -> NDArray[np.int16]:
    if lessons.table.folds is None:
        raise InputError("The table is dealt into folds.", came="none", remedy="Call table.with_folds first.")
    return lessons.table.folds


def _value(member: Member, key: str) -> str:
    return {"fold": member.held_out_folds, "recipe": member.recipe.name, "seed": str(member.seed)}[key]


def _check_one_deal(members: Sequence[Member]) -> None:
    deals = {(each.lessons.table.fingerprint, _folds(each.lessons).tobytes()) for each in members}
    if len(deals) != 1:
        raise InputError("All members share one table and deal.", came=f"{len(deals)}", remedy="Use one.")
