"""Predictions of other runs beside those of `find`, each only if it helps on rows that it was not chosen on.

heads of find ─┐
runs/train  ───┼─ log loss of held-out rows ─► those that surely lower it, with weights ─► predictions
runs/other  ───┘  on given labels, or on labels that people decided
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import ARRAY_FILE
from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table import TRAIN, Table
from kiyome.decisions.consensus import Consensus, review_consensus
from kiyome.ensemble import select_members
from kiyome.errors import InputError
from kiyome.reading.finished_run import FinishedRun, check_folds_of
from kiyome.workflows.combine import names_of, open_members
from kiyome.workflows.scored_table import OtherRun, ScoredTable

FEWEST_DECIDED = 50
"""Labels that people decided, from which on these judge in place of the given ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OtherRuns:
    """Finished runs on the same rows and folds, and what people decided in their reviews."""

    runs: Sequence[FinishedRun]
    reviews: Sequence[Consensus | None]

    def config(self) -> list[dict[str, Any]]:
        """Return what the result depends on."""
        return [
            {
                "run": run.name,
                "predictions_sha256": sha256_of_file(run.path / "predictions" / ARRAY_FILE),
                "decisions": None if review is None else review.digest,
            }
            for run, review in zip(self.runs, self.reviews, strict=True)
        ]

    def decided_labels(self, table: Table) -> NDArray[np.int64]:
        """Return the labels (N,) that people decided on, -1 elsewhere; the first run named counts."""
        labels = np.full(len(table), -1)
        row_of = {image_id: row for row, image_id in enumerate(table.image_ids.tolist())}
        for review in filter(None, reversed(self.reviews)):
            for image_id, decision in review.decisions.items():
                row = row_of[image_id]
                if decision.label is not None:
                    labels[row] = table.class_names.index(decision.label)
                elif decision.verdict == "keep":
                    labels[row] = table.given_labels[row]
        return labels


def open_other_runs(runs: Sequence[Path | str]) -> OtherRuns:
    """Return runs with out-of-fold predictions on the same rows, labels and folds, none of which leaks."""
    opened = open_members(runs)
    for run in opened:
        if run.leaks:
            raise InputError(
                f"{run.path} leaks labels into its predictions ({run.leaks[0]}).",
                expected="Expected predictions that no label of their own fold has reached.",
                remedy=f"Leave out --with {run.path}.",
            )
    return OtherRuns(runs=opened, reviews=[review_consensus(run.path) for run in opened])


def blend_with_runs(scored: ScoredTable, others: OtherRuns, *, run: Path) -> ScoredTable:
    """Return the table with the predictions of those runs blended in that help; `run` is that of `find`."""
    table = scored.table
    check_folds_of(run, table, others.runs[0])
    decided = np.where(table.in_split(TRAIN), others.decided_labels(table), -1)
    num_decided = int((decided >= 0).sum())
    by_people = num_decided >= FEWEST_DECIDED
    selection = select_members(
        table.labels,
        [scored.predictions.pred_probs, *(each.predictions.pred_probs for each in others.runs)],
        np.asarray(table.folds),
        row_weights=table.weights,
        decided_labels=decided if by_people else None,
        groups=table.groups,
    )
    columns = (selection.weights, selection.gains, selection.errors, selection.helps)
    tried = tuple(
        OtherRun(run=name, weight=weight, gain=gain, standard_error=error, helps=helps)
        for name, weight, gain, error, helps in zip(
            names_of(others.runs), *(each[1:].tolist() for each in columns), strict=True
        )
    )
    judges = f"{num_decided:,} labels that people decided" if by_people else "given labels"
    facts = (
        ("other runs were tested on", f"{judges}, held out"),
        *((f"other run {each.run}", each.describe()) for each in tried),
    )
    scored = replace(scored, others=tried, facts=(*scored.facts, *facts))
    if not any(each.weight for each in tried):
        return scored
    used = ", ".join(each.run for each in tried if each.weight)
    return replace(
        scored,
        predictions=replace(
            scored.predictions,
            pred_probs=selection.pred_probs.astype(np.float32),
            source=f"{scored.predictions.source}; with {used}",
        ),
        before_blend=scored.predictions.pred_probs,
        heads=None,
        head_facts=None,
        notes=(*scored.notes, *([NO_HEADS] if scored.heads is not None else [])),
    )


NO_HEADS = (
    "this run predicts no new photos, as its own heads are only a part of it; a run without --with does"
)
