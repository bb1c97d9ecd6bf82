"""New version of a table, from the flags of `find` and the decisions of people.

find run ── issues ───────────┐
RUN/review ── decisions ──────┴── curate ── table, corrected_labels.csv, changes.csv ── kiyome train
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import formula_warnings, safe_cell, safe_cells
from kiyome.artifacts.issues import Issues, read_issues
from kiyome.artifacts.leaks import LEAKS_FILE, read_leaks
from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import sha256_of_file, write_csv, write_csv_columns, write_text
from kiyome.artifacts.table import SPLITS, TRAIN, UNKNOWN, UNLABELED, Table
from kiyome.curation import MAX_LEFT_OUT, Action, CuratedTable, curate_table
from kiyome.decisions.agreement import Rule
from kiyome.decisions.consensus import Consensus, file_consensus, review_consensus
from kiyome.errors import InputError, choose
from kiyome.experiments import note_step
from kiyome.reading.finished_run import FinishedRun, open_run
from kiyome.workflows.outputs import write_table_files

ISSUES_FILE = "label_issues.parquet"
WORSE = "worse"
"""Drops the worse of two copies, whatever its split."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CurateResult:
    """Result of `curate`; all of it is in the run folder, too."""

    folder: Path
    curated: CuratedTable
    source: Path
    """The run with the flags."""
    people: Consensus | None = None
    """Decisions of people; None if there are none."""

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(N,) rows of the old version that the new one has, too: all but leaked ones outside train."""
        table, leaked = self.curated.table, self.curated.leaked
        return np.ones(len(table), bool) if leaked is None else ~leaked | table.in_split(TRAIN)

    @property
    def table(self) -> Table:
        """The new version."""
        return self.curated.table if self.kept.all() else self.curated.table.take(self.kept)

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "folder": str(self.folder),
            "source": str(self.source),
            "rows": len(self.table),
            "changed": self.curated.num_changed,
            **({} if self.curated.leaked is None else {"dropped_as_leaks": int(self.curated.leaked.sum())}),
            "decided_by_people": len(self.people.decisions) if self.people else 0,
            "disputed_and_left_as_they_are": len(self.people.disputed) if self.people else 0,
            "reviewers": [name for name in self.people.reviewers if name] if self.people else [],
            "table": str(self.folder / "table.parquet"),
            "notes": list(self.curated.notes),
        }


def curate(
    run: Path | str,
    *,
    action: str | None = None,
    decisions: Path | str | None = None,
    store: Path | str | None = None,
    rule: Rule = "unanimous",
    min_chance: float = 0.0,
    max_left_out: float = MAX_LEFT_OUT,
    unleak: str | None = None,
    min_similarity: float = 0.0,
    raw: bool = False,
    output: Path | str | None = None,
) -> CurateResult:
    """Make the next version of a table from flagged rows and decisions of people.

    Parameters
    ----------
    run
        The folder of a finished `find`.
    action
        Action on flagged rows without a decision: ``drop``, ``relabel``, ``weight``, ``soften`` or ``keep``;
        by default ``drop``, or ``keep`` if there are decisions. All but ``keep`` drop the rows that probably
        show none of the classes.
    decisions
        A CSV or Parquet file with columns image_id, decision (keep, relabel, both, none_of_these, drop,
        unsure), label and, where several people decided, reviewer; without the column decision, each label is
        what a person says of the photo. By default the decisions of the review of the run.
    store
        Where that review keeps its decisions, as for `kiyome review`.
    rule
        When a decision counts: ``unanimous``, or ``majority`` (a third person decides). Disputed rows stay as
        they are.
    min_chance, max_left_out
        As for `kiyome.curation.curate_table`.
    unleak
        ``train`` drops rows of train that lie in another split, too; ``test`` or ``val`` takes rows of that
        split out of the table if they lie in train. ``worse`` drops the smaller photo of each pair; of equal
        size that without EXIF if the other has it, else that whose label the out-of-fold prediction of the
        row of train denies, else the row of train.
        Copies are those of ``leaks.csv``; rows of one group stay.
    min_similarity
        Drop only copies that are at least so similar.
    raw
        Do not escape cells of ``corrected_labels.csv`` that a spreadsheet would run as formulas.
    output
        The run folder; by default ``RUN-ACTION`` beside the run.

    Returns
    -------
    CurateResult
        Its folder holds the new ``table`` as CSV and Parquet, ``corrected_labels.csv`` (rows that are still
        used in training; rows outside train with the label that people gave, else their own),
        ``changes.csv``, and ``predictions/`` for softened labels: train on them with
        ``soft_labels=global:FOLDER given_share=0``.

    Raises
    ------
    InputError
        If the run is not one of `find`, has no list of leaks to drop, or no row of a class is left.
    """
    opened = open_run(run)
    issues = read_issues(opened.path / ISSUES_FILE, opened.table)
    people = (
        review_consensus(opened.path, store=store, rule=rule)
        if decisions is None
        else file_consensus(decisions, opened.table, rule=rule)
    )
    chosen = cast("Action", action or ("keep" if people or unleak else "drop"))
    leaked = None if unleak is None else _leaked_rows(opened, unleak, min_similarity)
    curated = curate_table(
        opened.table,
        issues,
        action=chosen,
        min_chance=min_chance,
        decisions=people.with_disputed_rows_kept() if people else None,
        pred_probs=opened.predictions.pred_probs if chosen == "soften" else None,
        max_left_out=max_left_out,
        leaked=leaked,
    )
    config = {
        "source": opened.name,
        "issues": sha256_of_file(opened.path / ISSUES_FILE),
        "action": chosen,
        "min_chance": min_chance,
        "max_left_out": max_left_out,
        "decisions": people.digest if people else None,
    }
    if people and rule != "unanimous":
        config["rule"] = rule
    if unleak is not None:
        config |= {"unleak": unleak, "min_similarity": min_similarity}
    if raw:
        config["raw"] = True
    exact = ["table.csv", *(["corrected_labels.csv"] if raw else [])]
    curated = replace(curated, notes=(*curated.notes, *formula_warnings(curated.table, exact)))
    path = (
        Path(output) if output else opened.path.with_name(f"{opened.name}-{'unleak' if unleak else chosen}")
    )
    with RunFolder.create_or_reopen(
        path, command="curate", config=config, table=opened.table, named_by_user=output is not None
    ) as folder:
        result = CurateResult(folder=folder.path, curated=curated, source=opened.path, people=people)
        _write(result, opened, issues, raw=raw)
    note_step(result.folder)
    return result


def _leaked_rows(run: FinishedRun, split: str, min_similarity: float) -> NDArray[np.bool_]:
    """Return (N,) the rows of a split that lie in train, too; of train, those that lie in another split."""
    choose("unleak", split, [*(name for name in SPLITS if name != UNLABELED), WORSE])
    leaks = read_leaks(run.path, run.table)
    if leaks is None:
        raise InputError(
            f"{run.name} has no list of leaks ({LEAKS_FILE}).",
            expected="Expected a run of `kiyome find` on photos of two splits.",
            remedy="Leave out --unleak, or run `kiyome find` again on a table with a column `split`.",
        )
    splits, table = run.table.split_names, run.table
    if split != WORSE:
        return leaks.copies_in(splits, split, least=min_similarity)
    predicted = run.predictions.pred_probs.argmax(axis=1)
    return leaks.worse_copies(splits, table.given_labels, predicted, least=min_similarity)


def _write(result: CurateResult, run: FinishedRun, issues: Issues, *, raw: bool) -> None:
    folder, curated = result.folder, result.curated
    write_table_files(folder, result.table)
    table = curated.table
    names = np.array(table.class_names, dtype=object)
    labels = _labels_now(table)
    listed = (curated.actions != "drop") & (labels != UNKNOWN) & result.kept
    corrected = {"image_id": table.image_ids[listed], "label": names[labels[listed]]}
    if table.splits is not None:
        corrected["split"] = table.splits[listed]
    if not raw:
        corrected = {name: safe_cells(column) for name, column in corrected.items()}
    write_csv_columns(folder / "corrected_labels.csv", corrected)
    changed = np.flatnonzero((curated.actions != "keep") | curated.by_people).tolist()
    disputed = set(result.people.disputed) if result.people else set()
    changes = (_change(row, run.table, curated, labels, issues, disputed) for row in changed)
    write_csv(folder / "changes.csv", [CHANGES, *changes])
    if curated.targets is not None:
        Predictions(
            pred_probs=curated.targets[result.kept],
            kind="out_of_fold",
            source=f"labels softened by {run.name}",
            table_fingerprint=result.table.fingerprint,
        ).save(folder / "predictions")
    write_text(folder / "curate.json", json.dumps(result.summary(), indent=2))


CHANGES = (
    "image_id",
    "action",
    "by",
    "given_label",
    "label_before",
    "label_now",
    "weight_now",
    "chance_wrong",
    "probability_none",
)


def _labels_now(table: Table) -> NDArray[np.int32]:
    """Return labels (N,) to train on, and the true ones outside train where people gave them."""
    if table.true_labels is None:
        return table.labels
    judged = (table.true_labels != UNKNOWN) & ~table.in_split(TRAIN)
    return np.where(judged, table.true_labels, table.labels)


def _change(
    row: int,
    before: Table,
    curated: CuratedTable,
    labels: NDArray[np.int32],
    issues: Issues,
    disputed: set[str],
) -> tuple[object, ...]:
    now, names = curated.table, np.array([*before.class_names, ""], dtype=object)
    return (
        safe_cell(before.image_ids[row]),
        curated.actions[row],
        _reason(row, before, curated, disputed),
        safe_cell(names[before.given_labels[row]]),
        safe_cell(names[before.labels[row]]),
        safe_cell(names[labels[row]]),
        1.0 if now.weights is None else float(now.weights[row]),
        round(float(issues.probability[row]), 6),
        "" if issues.probability_none is None else round(float(issues.probability_none[row]), 6),
    )


def _reason(row: int, before: Table, curated: CuratedTable, disputed: set[str]) -> str:
    """Return who or what decided the action on a row."""
    if curated.leaked is not None and curated.leaked[row]:
        return "leak"
    if before.image_ids[row] in disputed:
        return "dispute"
    return "people" if curated.by_people[row] else "flag"
