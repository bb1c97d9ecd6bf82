"""The training data of members: which rows are in training, and with which targets.

    nested  decided without a label of the fold that a member holds out (training/nested.py)
    global  decided by an earlier run, which saw those labels: a leak, named wherever it is shown

Cleaning leaves out at most `max_left_out` of a class: where more is flagged, the best labels are kept, with a
note. N rows, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import reading
from kiyome.artifacts.table import TRAIN, Table
from kiyome.curation import cap_left_out, has_weight, notes_on_cap
from kiyome.errors import InputError, choose
from kiyome.executors import HERE, Executor
from kiyome.images.photo_features import Features
from kiyome.images.pixel_cache import CachedPhotos
from kiyome.noise import find_label_issues, label_quality
from kiyome.noise.label_issues import check_filter
from kiyome.progress import OnEvent, Progress, ignore_event, no_progress
from kiyome.training.processes import TimeLimit
from kiyome.training.recipe import GLOBAL, NESTED, Recipe

if TYPE_CHECKING:
    from kiyome.training.member import FinishedMember, Member, TrainingData

Mask = NDArray[np.bool_]

LABELS = ("all", "clean", "clean-global")
"""The values of `kiyome train --labels`."""

CLEANING_LEAK = (
    "Cleaning is global: labels of the fold that is later held out influenced which rows are left out."
    " The score is too high, the more so the closer models fit; leave_out=nested does not leak."
)

CHANGED_LABELS_LEAK = (
    "Labels were changed before training, from all rows: labels of the held-out fold may have influenced it."
    " The score may be too high; soft_labels=nested and leave_out=nested do not leak."
)
CHANGED_WEIGHTS_LEAK = (
    "Rows were weighted before training, or left out by a weight of 0: if labels of all rows decided it,"
    " those of the held-out fold influenced it. The score may be too high; leave_out=nested does not leak."
)


def changes_for_labels(labels: str | None, flags: Path | str | None) -> list[str]:
    """Return the changes to a recipe that `--labels` and `--flags` stand for; none where neither is given.

    >>> changes_for_labels("clean", None), changes_for_labels("clean-global", "runs/leaves")
    (['leave_out=nested'], ['leave_out=global:runs/leaves'])
    """
    if labels is not None:
        choose("value of labels", labels, LABELS)
    if (labels == "clean-global") != (flags is not None):
        raise InputError(
            f"Labels are {labels or 'as in the recipe'}, and there"
            f" {f'are flags of {flags}' if flags else 'is no run of flags'}.",
            expected="clean-global needs a run of flags, and nothing else takes one.",
            remedy="Use --labels clean-global --flags RUN; or --labels clean, which needs no run.",
        )
    if labels is None:
        return []
    return ["leave_out=" + {"all": "", "clean": NESTED}.get(labels, f"{GLOBAL}{flags}")]


def prepare_training_data(
    table: Table, recipes: Sequence[Recipe], photos: Mapping[str, CachedPhotos | Features]
) -> dict[str, "TrainingData"]:
    """Return the training data for each recipe's name, with global forms applied.

    Nested forms wait for `apply_nested_cleaning`. `photos` holds those of the table's rows
    for each recipe's name.
    """
    from kiyome.training.member import TrainingData
    from kiyome.training.nested import global_soft_targets, hard_targets

    training_data = {}
    for recipe in recipes:
        check_filter(recipe.cleaning.flag_method, None)
        targets, in_training = hard_targets(table.labels, table.num_classes), np.ones(len(table), bool)
        notes: tuple[str, ...] = ()
        if run := _run_of(recipe.cleaning.soft_labels):
            targets = global_soft_targets(table, run, given_share=recipe.cleaning.given_share)
        if run := _run_of(recipe.cleaning.leave_out):
            flagged, quality = flags_of_run(run, table, method=recipe.cleaning.flag_method)
            in_training = ~flagged
            for fold in table.fold_numbers:  # each keeps more rows, which suits the others
                in_training, _ = _capped(table, in_training, quality, recipe, np.asarray(table.folds) != fold)
            notes = notes_on_cap(table, flagged, ~in_training, among=has_weight(table))
        training_data[recipe.name] = TrainingData(
            table=table,
            photos=photos[recipe.name],
            targets=np.where(table.in_split(TRAIN)[:, None], targets, np.float32(np.nan)),
            in_training=in_training,
            notes=tuple(f"{recipe.title}: {note}" for note in notes),
        )
    return training_data


def apply_nested_cleaning(
    members: Sequence["Member"],
    folder: Path,
    *,
    executor: Executor = HERE,
    limit: TimeLimit | None = None,
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
) -> list["Member"]:
    """Return the members with training data that no label of their held-out fold has influenced.

    The pairs behind nested recipes are trained first, below ``folder / "nested"``, unless finished in this
    run or in one beside it. `on_event` first gets all pairs and members as waiting.
    """
    from kiyome.training.member import event_of
    from kiyome.training.nested import plan_pairs, train_pairs
    from kiyome.training.processes import is_main_process

    planned = plan_pairs(members)
    for each in [*planned, *members] if planned and is_main_process() else ():
        on_event(event_of(each, "waiting"))
    pairs = train_pairs(
        planned, folder, executor=executor, limit=limit, on_progress=on_progress, on_event=on_event
    )
    training_data: dict[tuple[str, int], TrainingData] = {}
    cleaned = []
    for member in members:
        name, fold = member.recipe.name, member.fold
        if member.recipe.cleaning.is_nested and (name, fold) not in training_data:
            own = [pair for pair in pairs if pair.member.recipe.name == name]
            training_data[name, fold] = _nested_training_data(member, own)
        cleaned.append(replace(member, data=training_data.get((name, fold), member.data)))
    return cleaned


def _nested_training_data(member: "Member", pairs: Sequence["FinishedMember"]) -> "TrainingData":
    """The training data of a member, with nothing of the fold that it holds out."""
    from kiyome.training.nested import nested_probs, soften

    recipe, training_data, fold = member.recipe, member.data, member.fold
    table, outside = training_data.table, _outside(member)
    pred_probs, notes = nested_probs(pairs, fold), (*training_data.notes, *_notes_on_copies(recipe, pairs))
    targets, in_training = training_data.targets, training_data.in_training & outside
    if recipe.cleaning.soft_labels == NESTED:
        targets = soften(targets, pred_probs, given_share=recipe.cleaning.given_share)
    if recipe.cleaning.leave_out == NESTED:
        labels, quality = table.labels[outside], np.ones(len(table))
        in_training[outside] = ~find_label_issues(
            labels, pred_probs[outside], method=recipe.cleaning.flag_method
        )
        quality[outside] = label_quality(labels, pred_probs[outside])
        in_training, capped = _capped(table, in_training, quality, recipe, outside)
        notes += tuple(f"{recipe.title}, without fold {fold}: {note}" for note in capped)
    targets = np.where(outside[:, None], targets, np.float32(np.nan))
    return replace(training_data, targets=targets, in_training=in_training, notes=notes)


def _notes_on_copies(recipe: Recipe, pairs: Sequence["FinishedMember"]) -> list[str]:
    """Notes on the pairs of a recipe that other runs have trained."""
    copied = Counter(pair.facts["taken_from"] for pair in pairs if "taken_from" in pair.facts)
    return [
        f"{recipe.title}: {count} of {len(pairs)} pairs of folds were trained in {run} and copied from there"
        for run, count in sorted(copied.items())
    ]


def _capped(
    table: Table, in_training: Mask, quality: NDArray[np.floating[Any]], recipe: Recipe, outside: Mask
) -> tuple[Mask, tuple[str, ...]]:
    """The mask (N,) with at most the recipe's share of a class left out, and notes where that matters."""
    flagged, among = ~in_training, outside & has_weight(table)
    left_out = cap_left_out(
        table.labels, flagged, quality, max_left_out=recipe.cleaning.max_left_out, among=among
    )
    return in_training | (among & ~left_out), notes_on_cap(table, flagged, left_out, among=among)


def flags_of_run(
    run: Path, table: Table, *, method: str = "adaptive"
) -> tuple[Mask, NDArray[np.floating[Any]]]:
    """Return a mask (N,) of the rows that an earlier run flags, and the quality (N,) of all labels.

    A `find` run brings its own flags, matched by id; the out-of-fold predictions of a `train` run on the same
    rows are flagged by `method`.
    """
    verify_run(run)
    if not (run / "label_issues.parquet").is_file():
        train = table.in_split(TRAIN)
        labels, probs = table.labels[train], Predictions.load(run / "predictions", table).pred_probs[train]
        flagged, quality = np.zeros(len(table), np.bool_), np.ones(len(table))
        flagged[train] = find_label_issues(labels, probs, method=method)
        quality[train] = label_quality(labels, probs)
        return flagged, quality
    import pyarrow.parquet as pq

    path = run / "label_issues.parquet"
    with reading(path):
        columns = pq.read_table(path, columns=["image_id", "is_label_issue", "label_quality"]).to_pydict()
        row_of = {image_id: row for row, image_id in enumerate(columns["image_id"])}
        flags = np.array(columns["is_label_issue"], np.bool_)
        qualities = np.array(columns["label_quality"], np.float64)
    missing = [image_id for image_id in table.image_ids if image_id not in row_of]
    if missing:
        raise InputError(
            f"{run} has no flags for {len(missing)} rows, such as {missing[0]!r}.",
            remedy="Run `kiyome find` on these data.",
        )
    rows = [row_of[image_id] for image_id in table.image_ids]
    return flags[rows], qualities[rows]


def kept_rows(members: Sequence["Member"]) -> Mask:
    """Return a mask (N,) of the rows that no member left out for their label, held-out rows aside."""
    kept: Mask = np.all([member.data.in_training | ~_outside(member) for member in members], axis=0)
    return kept


def num_training_rows(members: Sequence["Member"]) -> int:
    """Return the number of rows that at least one member is trained on."""
    return len(np.unique(np.concatenate([member.training_rows for member in members])))


def leaks_of(recipes: Sequence[Recipe], table: Table) -> tuple[str, ...]:
    """Return in words how labels of scored rows can have reached the models of these recipes.

    A table that `curate` made counts, too: its labels or weights are not as they were given.

    >>> table = Table(root=Path(), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1],
    ...               class_names=("healthy", "blight"))
    >>> len(leaks_of([Recipe.of(soft_labels="nested"), Recipe.of(leave_out="global:runs/leaves")], table))
    1
    >>> leaks_of([Recipe()], table), leaks_of([Recipe()], table.with_labels([1, 1]))[0][:19]
    ((), 'Labels were changed')
    """
    from kiyome.training.nested import GLOBAL_LEAK

    softened = any(_run_of(recipe.cleaning.soft_labels) for recipe in recipes)
    cleaned = any(_run_of(recipe.cleaning.leave_out) for recipe in recipes)
    changed = not np.array_equal(table.labels, table.given_labels)
    weighed = table.weights is not None and bool(np.ptp(table.weights) > 0)
    leaks = {
        GLOBAL_LEAK: softened,
        CLEANING_LEAK: cleaned,
        CHANGED_LABELS_LEAK: changed,
        CHANGED_WEIGHTS_LEAK: weighed,
    }
    return tuple(words for words, is_so in leaks.items() if is_so)


def notes_on_rows(members: Sequence["Member"]) -> list[str]:
    """Return notes on the members, with how many flagged rows each recipe left out, fold by fold."""
    notes = [note for member in members for note in member.data.notes]
    for recipe in {member.recipe.name: member.recipe for member in members}.values():
        if not recipe.cleaning.leave_out:
            continue
        own = {member.fold: member for member in members if member.recipe.name == recipe.name}.values()
        left_out = [
            f"{(_outside(member) & ~member.data.in_training).sum():,} of {_outside(member).sum():,}"
            for member in own
        ]
        notes.append(
            f"{recipe.title}: flagged rows left out of the training part, fold by fold: {', '.join(left_out)}"
        )
    return list(dict.fromkeys(notes))


def _outside(member: "Member") -> Mask:
    """(N,) rows of train in the other folds."""
    table = member.data.table
    return np.asarray(table.in_split(TRAIN) & (np.asarray(table.folds) != member.fold))


def _run_of(form: str) -> Path | None:
    """The run that a global form names."""
    return Path(form.removeprefix(GLOBAL)) if form.startswith(GLOBAL) else None
