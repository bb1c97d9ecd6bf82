"""All members over all folds of one split: each row is predicted by members that saw neither row nor label.

    members ── finished ones are cached ── the others train, here or on an executor ── out of fold

Each member is a unit of work by itself, in a folder named by all that decides it. The process that trains a
member holds its folder's lock. What other processes write is read about every second, so that listeners get
the same events of remote members, but for steps within an epoch.
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import open_in_place
from kiyome.errors import InputError, RunBusy, TimeLimitReached, nearest
from kiyome.executors import HERE, Executor, Here
from kiyome.inference import Probs
from kiyome.progress import MemberEvent, OnEvent, Progress, ignore_event, no_progress
from kiyome.training.loop import Dynamics, summarize_dynamics
from kiyome.training.member import (
    SEAL,
    FinishedMember,
    Member,
    TrainingData,
    event_of,
    event_on_disk,
    metrics_until,
    remote_event,
)
from kiyome.training.processes import TimeLimit, is_main_process
from kiyome.training.recipe import Recipe
from kiyome.training.train_member import cached_member, train_member

MEMBERS = "members"
Unit = tuple[Member, Path, TimeLimit | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidation:
    """All members, finished. N rows, K classes."""

    members: tuple[FinishedMember, ...]
    pred_probs: Probs
    """(N, K) out of fold: the mean over the members that did not see the row, outside train over all."""
    by_recipe: Mapping[str, Probs]
    """(N, K) of the members of each recipe alone."""
    dynamics: Dynamics
    """(N,) over the members that did see the row."""


def plan_members(
    recipes: Sequence[Recipe], data: Mapping[str, TrainingData], *, only: Sequence[str] = ()
) -> list[Member]:
    """Return the members of a run, recipe by recipe and fold by fold, as far as `only` picks them."""
    members = [
        Member(recipe=recipe, fold=int(fold), seed=seed, data=data[recipe.name])
        for recipe in recipes
        for seed in recipe.seeds
        for fold in _fold_numbers(data[recipe.name])
    ]
    return pick_members(members, only)


def pick_members(members: Sequence[Member], only: Sequence[str]) -> list[Member]:
    """Return the members that fit all of the texts ``fold=0``, ``fold=0,2``, ``recipe=NAME``, ``seed=1``."""
    picked = list(members)
    for text in only:
        key, _, values = text.partition("=")
        if key not in ("fold", "recipe", "seed"):
            raise InputError(
                f"{text!r} does not pick members.",
                expected="Expected fold=, recipe= or seed=.",
                remedy=nearest(key, ("fold", "recipe", "seed")),
            )
        picked = [member for member in picked if _value(member, key) in values.split(",")]
    if not picked:
        raise InputError(f"No member fits {' '.join(only)}.", remedy="Folds and seeds count from 0.")
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
    """Train every member of one split and put their out-of-fold probabilities together."""
    _check_same_folds(members)
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
    """Probabilities (N, K): the mean over the members that hold a row out; outside train over all members."""
    table = members[0].member.data.table
    total = np.zeros((len(table), table.num_classes))
    count = np.zeros(len(table))
    for member in members:
        total[member.member.predicted] += member.pred_probs
        count[member.member.predicted] += 1
    if not count.all():
        fold = int(_folds(members[0].member.data)[count.argmin()])
        raise InputError(f"There is no member of fold {fold}.", remedy="Train it.")
    mean: Probs = (total / count[:, None]).astype(np.float32)
    return mean


def train_members(
    members: Sequence[Member],
    folder: Path,
    *,
    below: str = "",
    others: Sequence[Member] = (),
    executor: Executor = HERE,
    limit: TimeLimit | None = None,
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
) -> list[FinishedMember]:
    """Return the members, finished, each in its folder below ``folder / below / "members"``.

    `on_progress` gets a stage for each member that trains here, named by its label. `on_event` first gets all
    members as waiting, then each change, and with it the state on disk of `others`, which other commands
    train. Members are the same to the last bit wherever they are trained, given as many threads and the same
    kind of processor.

    Raises
    ------
    RunBusy
        Where another process trains one of them.
    WorkerLost
        Where the process or machine of a member died again and again.
    TimeLimitReached
        Where the limit came first; each member that was begun stopped after a whole epoch.
    """
    root = folder / below / MEMBERS

    def report_others() -> None:
        for other in others:
            on_event(event_on_disk(other, root / other.folder_name))

    def report(event: MemberEvent) -> None:
        on_event(event)
        report_others()

    units = {member.label: (member, root / member.folder_name, limit) for member in members}
    for member in members if is_main_process() else ():
        report(event_of(member, "waiting"))
    if isinstance(executor, Here):

        def train_here(unit: Unit) -> FinishedMember | None:
            return _train_locked(unit, on_progress=on_progress, on_event=report)

        trained = [finished for _, finished in executor.run(train_here, units)]
    else:
        trained = _train_remotely(units, executor, on_event, report_others)
    finished = [member for member in trained if member is not None]
    if limit is not None and len(finished) < len(trained):
        raise TimeLimitReached(
            f"Training stopped at its limit of {limit.text}. {len(finished)} of {len(trained)} members are"
            f" finished, every whole epoch is in {folder}.",
            remedy="The same command resumes there, to the same result.",
            folder=folder,
        )
    return finished


def _train_remotely(
    units: Mapping[str, Unit], executor: Executor, on_event: OnEvent, report_others: Callable[[], None]
) -> list[FinishedMember | None]:
    """Return the members of the units, in their order; None where the time limit came first."""
    finished: dict[str, FinishedMember | None] = {
        label: cached
        for label, (member, folder, _) in units.items()
        if (cached := cached_member(member, folder, on_event=on_event)) is not None
    }

    def report() -> None:
        for label, (member, folder, _) in units.items():
            if label not in finished:
                on_event(remote_event(member, folder))
        report_others()

    left = {label: unit for label, unit in units.items() if label not in finished}
    with closing(executor.run(train_unit, left, on_wait=report)) as done:
        for label, facts in done:
            member, folder, _ = units[label]
            if facts is None:
                finished[label] = None
                continue
            if not (folder / SEAL).is_file():
                raise InputError(
                    f"This process does not see the finished {label} in {folder}.",
                    expected="All workers must share the run folder.",
                    remedy="Name a folder that every host shares with --output.",
                )
            finished[label] = FinishedMember(member=member, folder=folder, facts=facts)
            for state in ("learning", "finished"):  # a quick one was perhaps not seen learning
                on_event(event_of(member, state, metrics_until(folder, member.recipe.optimizer.epochs)))
    return [finished[label] for label in units]


def train_unit(unit: Unit) -> dict[str, Any] | None:
    """Return the content of a member's member.json once it is finished; None at the time limit."""
    trained = _train_locked(unit)
    return None if trained is None else trained.facts


def _train_locked(
    unit: Unit, *, on_progress: Progress = no_progress, on_event: OnEvent = ignore_event
) -> FinishedMember | None:
    member, folder, limit = unit
    folder.mkdir(parents=True, exist_ok=True)

    def of_member(stage: str, done: int, total: int) -> None:
        if stage == "train":
            on_progress(member.label, done, total)

    with _locked(folder):
        try:
            return train_member(member, folder, limit=limit, on_progress=of_member, on_event=on_event)
        except TimeLimitReached:
            return None  # so that workers beside it finish their epoch


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the member's folder; the system frees it however this process ends."""
    if not is_main_process():
        yield
        return
    with open_in_place(folder.with_name(f".{folder.name}.lock")) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunBusy(
                f"Another process is training {folder.name}.",
                remedy="Wait for it, or pick other members with --members fold=...",
            ) from error
        yield


def _folds(data: TrainingData) -> NDArray[np.int16]:
    if data.table.folds is None:
        raise InputError("The table has no folds.", remedy="Call table.with_folds first.")
    return data.table.folds


def _fold_numbers(data: TrainingData) -> NDArray[np.int16]:
    folds = _folds(data)
    return np.unique(folds[folds >= 0])


def _value(member: Member, key: str) -> str:
    return {"fold": member.held_out_folds, "recipe": member.recipe.name, "seed": str(member.seed)}[key]


def _check_same_folds(members: Sequence[Member]) -> None:
    splits = {(each.data.table.fingerprint, _folds(each.data).tobytes()) for each in members}
    if len(splits) != 1:
        raise InputError(
            f"The members come from {len(splits)} different tables or splits.", remedy="Use one table."
        )
