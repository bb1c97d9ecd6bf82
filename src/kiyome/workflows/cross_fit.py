"""Labels of a split outside train judged by heads that learned from its other rows, too.

heads of train ────────────────────────────────┐
labels of test ─► heads cross-fitted in test ──┴─ geometric mean ─► judges the labels of test, nothing else
"""

from dataclasses import replace

import numpy as np

from kiyome.artifacts.table import TEST, VAL, Table
from kiyome.ensemble import blend_pred_probs
from kiyome.errors import InputError, choose
from kiyome.features import cross_fit_head
from kiyome.folds import assign_folds, join_groups
from kiyome.progress import Progress, no_progress
from kiyome.workflows.scored_table import ScoredTable
from kiyome.workflows.split_findings import ENOUGH_ROWS


def check_cross_fit(split: str, table: Table) -> None:
    """Raise InputError where the rows of a split are too few for heads of their own."""
    choose("split to cross-fit", split, (TEST, VAL))
    num_rows = int(table.in_split(split).sum())
    if num_rows < ENOUGH_ROWS:
        raise InputError(
            f"The table has {num_rows} labeled rows of {split}, on which --cross-fit fits heads.",
            expected=f"Expected {ENOUGH_ROWS} or more.",
            remedy="Leave out --cross-fit.",
        )


def cross_fit_inside(
    scored: ScoredTable, split: str, *, seed: int, on_progress: Progress = no_progress
) -> ScoredTable:
    """Return the table with labels of a split judged by heads of train and by heads of its own.

    The latter are cross-fitted on rows of the split alone, and not kept: predictions stay those of train.
    """
    table = scored.table
    check_cross_fit(split, table)
    rows = np.flatnonzero(table.in_split(split))
    labels, alike = table.given_labels[rows], np.asarray(scored.alike)[rows]
    groups = alike if table.groups is None else join_groups(alike, table.groups[rows])
    folds = assign_folds(labels, groups=groups, seed=seed, allow_rare=True)
    own = cross_fit_head(
        np.asarray(scored.features)[rows],
        labels,
        folds,
        num_classes=table.num_classes,
        on_progress=on_progress,
    )
    judging = np.array(scored.judging)
    judging[rows] = blend_pred_probs([judging[rows], own.pred_probs], how="log")
    described = f"heads of train, and heads cross-fitted on {len(rows):,} rows of {split}, in equal parts"
    return replace(
        scored,
        judging_probs=judging,
        facts=(*scored.facts, (f"labels of {split} are judged by", described)),
    )
