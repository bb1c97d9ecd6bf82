"""Label issues and people's decisions -> a new version of the table, to train on again. N rows, K classes.

    keep       the row stays as it is
    drop       weight 0: never trained on, still predicted and scored
    relabel    the label becomes another class; a row that probably shows none of the classes is dropped
    weight     weight * (1 - probability that the label is wrong)
    soften     target = (1 - probability) * label + probability * out-of-fold probabilities

No row leaves the table and given labels stay, so a cleaning step never chooses the rows, or the labels, that
it is scored on. People's decisions override flags; a row that they keep has its given label again, whatever
an earlier version made of it. Flags remove at most a part of each class: the rows of highest quality stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import Issues
from kiyome.artifacts.table import TRAIN, UNKNOWN, Table
from kiyome.decisions.events import Decision, refuse_unknown_labels
from kiyome.errors import InputError, choose

Action = Literal["keep", "drop", "relabel", "weight", "soften"]
Mask = NDArray[np.bool_]

MAX_LEFT_OUT = 0.5
"""The default proportion of a class's rows that flags may remove."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CuratedTable:
    """The new version of a table, with the action on each row."""

    table: Table
    actions: NDArray[np.object_]
    """(N,) of Action."""
    by_people: Mask
    """(N,) rows with a decision by people."""
    targets: NDArray[np.float32] | None = None
    """(N, K) softened labels; None where nothing was softened."""
    notes: tuple[str, ...] = ()
    """Messages about classes with more flagged rows than `max_left_out` allows to remove."""
    leaked: Mask | None = None
    """(N,) rows that are dropped as leaks; None where none were asked for."""

    @property
    def num_changed(self) -> dict[str, int]:
        """Number of rows that each action changed."""
        names, counts = np.unique(self.actions[self.actions != "keep"].astype(str), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))


def curate_table(
    table: Table,
    issues: Issues,
    *,
    action: Action = "drop",
    min_chance: float = 0.0,
    decisions: Mapping[str, Decision] | None = None,
    pred_probs: NDArray[np.floating] | None = None,
    max_left_out: float = MAX_LEFT_OUT,
    leaked: Mask | None = None,
) -> CuratedTable:
    """Return the next version of a table of N rows, which stays as it is.

    `action` is for flagged rows of train without a decision, where the label is wrong with a probability of
    at least `min_chance`; soften needs out-of-fold `pred_probs` (N, K). Rows of train that show none of the
    classes, with as much probability, are dropped by every action but keep. `decisions` are by image id; an
    unsure row is kept, as is one that shows two classes. Flags drop or relabel at most the proportion
    `max_left_out` of a class's rows, and never all; rows that people changed do not count. Where more are
    flagged, those that are most probably right stay, and `notes` list them. Rows in the mask `leaked` (N,)
    are dropped, whatever else is known of them. A label that people chose or kept for a row outside train
    becomes its true label; the row stays.

    >>> from pathlib import Path
    >>> table = Table(root=Path("."), image_ids=["a", "b", "c"], paths=[""] * 3, given_labels=[0, 0, 1],
    ...               class_names=("healthy", "blight"))
    >>> issues = Issues(is_label_issue=np.array([False, True, False]), probability=np.array([0.1, 0.9, 0.2]),
    ...                 suggested_labels=np.array([0, 1, 1]))
    >>> curate_table(table, issues, action="relabel").table.labels.tolist()
    [0, 1, 1]
    >>> curate_table(table, issues, decisions={"b": Decision(image_id="b", verdict="keep")}).num_changed
    {}
    """
    _check_options(action, pred_probs, max_left_out)
    actions = np.full(len(table), "keep", dtype=object)
    is_train = table.in_split(TRAIN)
    actions[is_train & issues.is_label_issue & (issues.probability >= min_chance)] = action
    none = np.zeros(len(table)) if issues.probability_none is None else issues.probability_none
    if action != "keep":
        actions[issues.shows_none] = "keep"
        actions[is_train & issues.shows_none & (none >= min_chance)] = "drop"
    labels, by_people = issues.suggested_labels.astype(np.int32), np.zeros(len(table), dtype=np.bool_)
    label_of = {name: label for label, name in enumerate(table.class_names)}
    for row, decision in _by_row(table, decisions or {}).items():
        by_people[row] = True
        if decision.verdict in ("keep", "relabel"):
            actions[row] = "relabel"
            labels[row] = table.given_labels[row] if decision.label is None else label_of[decision.label]
        else:
            actions[row] = "drop" if decision.verdict in ("drop", "none_of_these") else "keep"
    judged = by_people & (actions == "relabel") & ~is_train
    actions[((actions == "relabel") & (labels == table.labels)) | ~is_train] = "keep"
    fixed = by_people.copy()
    if leaked is not None:
        actions[leaked], fixed[leaked] = "drop", True
    changed = np.isin(actions, ("drop", "relabel"))
    flagged, among = changed & ~fixed, has_weight(table) & ~(changed & fixed)
    quality = 1 - np.maximum(issues.probability, none)
    taken = cap_left_out(table.labels, flagged, quality, max_left_out=max_left_out, among=among)
    actions[flagged & among & ~taken] = "keep"
    curated = replace(
        table,
        labels=np.where(actions == "relabel", labels, table.labels),
        weights=_weights(table, actions, issues.probability),
        true_labels=_true_labels(table, judged, labels),
    )
    _check_classes_left(table, curated)
    done = "relabeled" if action == "relabel" else "left out"
    return CuratedTable(
        table=curated,
        actions=actions,
        by_people=by_people,
        targets=None if pred_probs is None else _targets(curated, actions, issues.probability, pred_probs),
        notes=(
            *notes_on_cap(table, flagged, taken, among=among, done=done),
            *_notes_on_other_splits(judged, ~is_train & issues.is_label_issue & ~by_people),
        ),
        leaked=leaked,
    )


def cap_left_out(
    labels: NDArray[np.int32],
    flagged: Mask,
    quality: NDArray[np.floating],
    *,
    max_left_out: float,
    among: Mask,
) -> Mask:
    """Return a mask (N,) of the flagged rows to leave out: of each class's rows `among` a part, never all.

    Where more are flagged, rows of the highest quality (N,) are kept; of equal ones, the later.

    >>> flagged, every = np.array([True, True, True, False]), np.ones(4, np.bool_)
    >>> quality = np.array([0.1, 0.3, 0.2, 0.9])
    >>> cap_left_out(np.zeros(4, np.int32), flagged, quality, max_left_out=0.5, among=every)
    array([ True, False,  True, False])
    """
    left_out = flagged & among
    for label in np.unique(labels[left_out]):
        num_rows = int((among & (labels == label)).sum())
        rows = np.flatnonzero(left_out & (labels == label))
        most = min(int(max_left_out * num_rows + 1e-9), num_rows - 1)
        left_out[rows[np.argsort(quality[rows], kind="stable")][most:]] = False
    return left_out


def notes_on_cap(
    table: Table, flagged: Mask, left_out: Mask, *, among: Mask, done: str = "left out"
) -> tuple[str, ...]:
    """Return a message for each class of whose rows `among` fewer are left out than flagged."""
    num_rows, num_flagged, num_left_out = (
        np.bincount(table.labels[rows], minlength=table.num_classes)
        for rows in (among, among & flagged, among & left_out)
    )
    return tuple(
        f"class {table.class_names[label]!r}: {num_flagged[label]:,} of {num_rows[label]:,} flagged,"
        f" {num_left_out[label]:,} {done}, the surest kept"
        for label in np.flatnonzero(num_left_out < num_flagged)
    )


def _notes_on_other_splits(judged: Mask, flagged: Mask) -> list[str]:
    """Return notes on rows (N,) outside train: those that people judged, and flagged ones undecided."""
    notes = []
    if num := np.count_nonzero(judged):
        notes.append(
            f"{num:,} rows outside train have the label of people as true label: evaluate uses it, training"
            " does not"
        )
    if num := np.count_nonzero(flagged):
        notes.append(f"{num:,} flagged rows outside train stay as they are until people decide about them")
    return notes


def has_weight(table: Table) -> Mask:
    """Return a mask (N,) of the rows to train on: those of train with a weight above zero."""
    is_train = table.in_split(TRAIN)
    return is_train if table.weights is None else np.asarray(is_train & (table.weights > 0))


def _true_labels(table: Table, judged: Mask, labels: NDArray[np.int32]) -> NDArray[np.int32] | None:
    """Return true labels (N,), with those that people gave to rows outside train."""
    if not judged.any():
        return table.true_labels
    known = np.full(len(table), UNKNOWN, np.int32) if table.true_labels is None else table.true_labels
    return np.where(judged, labels, known)


def _check_classes_left(before: Table, after: Table) -> None:
    """Raise an InputError where a class has no row left to train on, which flags alone never do."""
    had, left = (
        np.bincount(table.labels[has_weight(table)], minlength=table.num_classes) for table in (before, after)
    )
    for label in np.flatnonzero((had > 0) & (left == 0)):
        raise InputError(
            f"Decisions or leaks drop or relabel all {had[label]} rows of {before.class_names[label]!r}.",
            expected="Expected at least one row of each class to train on.",
            remedy="Keep one of them, or remove the class from the data.",
        )


def _weights(
    table: Table, actions: NDArray[np.object_], probability: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """Return weights (N,) after drop and weight; None where all are 1 and the table has none."""
    factors = np.select([actions == "drop", actions == "weight"], [0.0, 1 - probability], default=1.0)
    if table.weights is None and (factors == 1).all():
        return None
    weights: NDArray[np.float32] = (factors if table.weights is None else table.weights * factors).astype(
        np.float32
    )
    return weights


def _targets(
    table: Table,
    actions: NDArray[np.object_],
    probability: NDArray[np.float64],
    pred_probs: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Return targets (N, K): one-hot labels, and softened ones where the action is soften."""
    part = np.where(actions == "soften", probability, 0.0)[:, np.newaxis]
    hard = np.where(table.is_labeled[:, np.newaxis], np.eye(table.num_classes)[table.labels], pred_probs)
    targets: NDArray[np.float32] = ((1 - part) * hard + part * pred_probs).astype(np.float32)
    return targets


def _by_row(table: Table, decisions: Mapping[str, Decision]) -> dict[int, Decision]:
    row_of = {image_id: row for row, image_id in enumerate(table.image_ids)}
    unknown = [image_id for image_id in decisions if image_id not in row_of]
    if unknown:
        raise InputError(
            f"{len(unknown)} decisions are about ids that are not in the table, such as {unknown[0]!r}.",
            remedy="Pass decisions of a review of this run.",
        )
    refuse_unknown_labels(list(decisions.values()), table.class_names)
    return {row_of[image_id]: decision for image_id, decision in decisions.items()}


def _check_options(action: str, pred_probs: NDArray[np.floating] | None, max_left_out: float) -> None:
    if not 0 <= max_left_out <= 1:
        raise InputError(
            f"max_left_out={max_left_out:g} is not a proportion.",
            expected="Expected a number from 0 to 1.",
            remedy="Correct it.",
        )
    choose("action", action, get_args(Action))
    if (action == "soften") != (pred_probs is not None):
        raise InputError(
            f"action={action!r} came {'with' if pred_probs is not None else 'without'} pred_probs.",
            expected="Expected out-of-fold probabilities to soften labels, and for nothing else.",
            remedy="Pass pred_probs with action='soften' only.",
        )
