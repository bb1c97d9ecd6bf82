"""Issues and people's decisions -> a new version of the table, to train on again. N rows, K classes.

    keep       the row stays as it is
    drop       weight 0: never taught, still predicted and scored
    relabel    the label becomes another class
    weight     weight * (1 - chance that the label is wrong)
    soften     target = (1 - chance) * label + chance * out-of-fold probabilities

No row leaves the table and given labels stay, so a cleaning step never chooses the rows, or the labels, that
it is judged on. What people decided comes before what was flagged; a row that they keep has its given label
again, whatever an earlier version made of it. Flags take at most a share of a class: the surest rows stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import Issues
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, choose

Action = Literal["keep", "drop", "relabel", "weight", "soften"]
Verdict = Literal["keep", "drop", "relabel", "unsure"]
Mask = NDArray[np.bool_]

MAX_LEFT_OUT = 0.5
"""The share of a class's rows that flags may take, unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person said of one row."""

    verdict: Verdict
    label: int | None = None
    """The class of a row that is relabeled."""

    def __post_init__(self) -> None:
        choose("decision", self.verdict, get_args(Verdict))
        if (self.verdict == "relabel") != (self.label is not None):
            raise InputError(
                "A row that is relabeled has a label, and no other row has one.",
                came=f"{self.verdict} with label {self.label}",
                remedy="Name the class beside relabel only.",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Curated:
    """The new version, and what became of each row."""

    table: Table
    actions: NDArray[np.object_]
    """(N,) of Action."""
    by_people: Mask
    """(N,) rows that a person decided about."""
    targets: NDArray[np.float32] | None = None
    """(N, K) softened labels; None where nothing was softened."""
    notes: tuple[str, ...] = ()
    """What people should hear: the classes of which more rows were flagged than `max_left_out` lets go."""

    @property
    def num_changed(self) -> dict[str, int]:
        """How many rows each action changed."""
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
) -> Curated:
    """The next version of a table.

    Parameters
    ----------
    table
        N rows; it stays as it is.
    issues
        What was found about the same rows.
    action
        What becomes of flagged rows that nobody decided about; "keep" leaves them to people.
    min_chance
        Act only where the label is wrong with at least this chance.
    decisions
        By image id. An unsure row is kept.
    pred_probs
        (N, K) out of fold; needed to soften.
    max_left_out
        The largest share of a class's rows that flags may drop or relabel, and never all of them; rows that
        people took do not count. Where more are flagged, those that are most probably right stay as they are,
        and `notes` say so.

    Raises
    ------
    InputError
        For unknown names, a share outside 0..1, or when people's decisions leave no row of a class.

    Examples
    --------
    >>> from pathlib import Path
    >>> table = Table(root=Path("."), image_ids=["a", "b", "c"], paths=[""] * 3, given_labels=[0, 0, 1],
    ...               class_names=("healthy", "blight"))
    >>> issues = Issues(is_label_issue=np.array([False, True, False]), probability=np.array([0.1, 0.9, 0.2]),
    ...                 suggested_labels=np.array([0, 1, 1]))
    >>> curate_table(table, issues, action="relabel").table.labels.tolist()
    [0, 1, 1]
    >>> curate_table(table, issues, decisions={"b": Decision(verdict="keep")}).num_changed
    {}
    """
    _check_options(action, pred_probs, max_left_out)
    actions = np.full(len(table), "keep", dtype=object)
    actions[issues.is_label_issue & (issues.probability >= min_chance)] = action
    labels, by_people = issues.suggested_labels.astype(np.int32), np.zeros(len(table), dtype=np.bool_)
    for row, decision in _rows_decided(table, decisions or {}).items():
        by_people[row] = True
        if decision.verdict in ("keep", "relabel"):
            actions[row] = "relabel"
            labels[row] = table.given_labels[row] if decision.label is None else decision.label
        else:
            actions[row] = "drop" if decision.verdict == "drop" else "keep"
    actions[(actions == "relabel") & (labels == table.labels)] = "keep"
    changed = np.isin(actions, ("drop", "relabel"))
    flagged, among = changed & ~by_people, has_weight(table) & ~(changed & by_people)
    taken = cap_left_out(
        table.labels, flagged, 1 - issues.probability, max_left_out=max_left_out, among=among
    )
    actions[flagged & among & ~taken] = "keep"
    curated = replace(
        table,
        labels=np.where(actions == "relabel", labels, table.labels),
        weights=_weights(table, actions, issues.probability),
    )
    _check_classes_left(table, curated)
    done = "relabeled" if action == "relabel" else "left out"
    return Curated(
        table=curated,
        actions=actions,
        by_people=by_people,
        targets=None if pred_probs is None else _targets(curated, actions, issues.probability, pred_probs),
        notes=notes_on_cap(table, flagged, taken, among=among, done=done),
    )


def cap_left_out(
    labels: NDArray[np.int32],
    flagged: Mask,
    quality: NDArray[np.floating],
    *,
    max_left_out: float,
    among: Mask,
) -> Mask:
    """A mask (N,) of the flagged rows to leave out: of each class's rows `among` a share at most, never all.

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
    """A sentence for each class of whose rows `among` fewer are left out than flagged."""
    num_rows, num_flagged, num_left_out = (
        np.bincount(table.labels[rows], minlength=table.num_classes)
        for rows in (among, among & flagged, among & left_out)
    )
    return tuple(
        f"class {table.class_names[label]!r}: {num_flagged[label]:,} of {num_rows[label]:,} flagged,"
        f" {num_left_out[label]:,} {done}, the surest kept"
        for label in np.flatnonzero(num_left_out < num_flagged)
    )


def has_weight(table: Table) -> Mask:
    """(N,) rows that teach."""
    return np.ones(len(table), np.bool_) if table.weights is None else np.asarray(table.weights > 0)


def _check_classes_left(before: Table, after: Table) -> None:
    """Refuse a version in which nothing is left to learn a class from that had rows: flags never do that."""
    had, left = (
        np.bincount(table.labels[has_weight(table)], minlength=table.num_classes) for table in (before, after)
    )
    for label in np.flatnonzero((had > 0) & (left == 0)):
        raise InputError(
            "People's decisions leave no row to learn a class from.",
            came=f"all {had[label]} rows of {before.class_names[label]!r} dropped or relabeled",
            remedy="Keep one of them, or take the class out of the data.",
        )


def _weights(
    table: Table, actions: NDArray[np.object_], chance: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """Weights (N,) after dropping and weighing down; none where there were none and nothing is weighed."""
    factors = np.select([actions == "drop", actions == "weight"], [0.0, 1 - chance], default=1.0)
    if table.weights is None and (factors == 1).all():
        return None
    weights: NDArray[np.float32] = (factors if table.weights is None else table.weights * factors).astype(
        np.float32
    )
    return weights


def _targets(
    table: Table, actions: NDArray[np.object_], chance: NDArray[np.float64], pred_probs: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Targets (N, K): labels, and softened ones in the rows that are softened."""
    share = np.where(actions == "soften", chance, 0.0)[:, np.newaxis]
    hard = np.eye(table.num_classes)[table.labels]
    targets: NDArray[np.float32] = ((1 - share) * hard + share * pred_probs).astype(np.float32)
    return targets


def _rows_decided(table: Table, decisions: Mapping[str, Decision]) -> dict[int, Decision]:
    row_of = {image_id: row for row, image_id in enumerate(table.image_ids)}
    unknown = [image_id for image_id in decisions if image_id not in row_of]
    if unknown:
        raise InputError(
            "Decisions are about rows of the table.",
            came=f"{len(unknown)} other ids, such as {unknown[0]!r}",
            remedy="Take decisions of a review of this run.",
        )
    beyond = [
        d.label for d in decisions.values() if d.label is not None and not 0 <= d.label < table.num_classes
    ]
    if beyond:
        raise InputError(
            f"Labels lie in 0..{table.num_classes - 1}.",
            came=f"label {beyond[0]}",
            remedy="Correct the decision.",
        )
    return {row_of[image_id]: decision for image_id, decision in decisions.items()}


def _check_options(action: str, pred_probs: NDArray[np.floating] | None, max_left_out: float) -> None:
    if not 0 <= max_left_out <= 1:
        raise InputError(
            f"max_left_out={max_left_out:g} is no share of a class's rows.",
            came=f"{max_left_out:g}",
            remedy="Give a number from 0 to 1.",
        )
    choose("action", action, get_args(Action))
    if (action == "soften") != (pred_probs is not None):
        raise InputError(
            "Softening leans on out-of-fold probabilities, which nothing else needs.",
            came=f"{action} {'with' if pred_probs is not None else 'without'} pred_probs",
            remedy="Pass pred_probs with action='soften' only.",
        )
