"""Caveats of a run: reasons, each a sentence, why its score may mean less than it seems."""

import json
from collections.abc import Sequence

import numpy as np

from kiyome.artifacts.storage import reading
from kiyome.artifacts.table import TRAIN, UNKNOWN
from kiyome.evaluation.diagnostics import (
    MOST_REPEATED,
    caveat_of_seen_labels,
    contradicts_label,
    repeated_mistakes,
)
from kiyome.experiments import UNKNOWN_FOLDS, Entry, origin_of
from kiyome.reading.finished_run import FinishedRun

NOISE_FILE = "noise.json"
FROM_FILE = "predictions come from a file: whether they are out of fold cannot be known from it"


def caveats_of(
    run: FinishedRun, others: Sequence[FinishedRun], experiments: Sequence[Entry]
) -> tuple[str, ...]:
    """Return all caveats of a run: its leaks, and those of its table, the diary and other runs' predictions.

    `experiments` are the diary's entries on the same rows, the newest of each run.
    """
    caveats = (*leaks_of(run, experiments), *_of_table(run), *_of_shift(run), *_of_predictions(run, others))
    return tuple(dict.fromkeys((*caveats, *_of_diary(run, experiments))))


def leaks_of(run: FinishedRun, experiments: Sequence[Entry]) -> list[str]:
    """Return the leaks of a run: labels that reached predictions which are scored on them."""
    noted = [leak for entry in experiments if entry.run == run.name for leak in entry.leaks]
    unknown = [UNKNOWN_FOLDS] if run.folds_digest is None else []
    brought = [FROM_FILE] if "pred_probs_sha256" in run.manifest["config"] else []
    leaks = [*run.leaks, *noted, *unknown, *brought]
    # no model trains on rows outside train, whatever the folds
    return leaks if run.table.in_split(TRAIN).any() else [leak for leak in leaks if leak != UNKNOWN_FOLDS]


def _of_table(run: FinishedRun) -> list[str]:
    """Return caveats of a cleaning before training."""
    table, caveats = run.table, []
    dropped = 0 if table.weights is None else int((table.weights == 0).sum())
    relabeled = int((table.labels != table.given_labels).sum())
    if dropped or relabeled:
        caveats.append(
            f"a cleaning dropped {dropped:,} rows and relabeled {relabeled:,} before training; scores are on"
            " all rows and given labels all the same"
        )
    if table.true_labels is not None:
        relabeled_true = (table.labels == table.true_labels) & (table.labels != table.given_labels)
        if relabeled_true.any():
            caveats.append(
                f"models of other folds were trained on the true label of {int(relabeled_true.sum()):,} rows,"
                " on which accuracy_on_true is scored"
            )
    return caveats


def _of_shift(run: FinishedRun) -> list[str]:
    """Return caveats of a score of train where `find` saw another split that does not look like it."""
    found = run.path / NOISE_FILE
    if not run.table.in_split(TRAIN).all() or not found.is_file():
        return []
    with reading(found):
        shift = json.loads(found.read_bytes()).get("shift", {})
    return [each["sentences"][0].rstrip(".") for each in shift.values() if each["verdict"] == "differs"]


def _of_predictions(run: FinishedRun, others: Sequence[FinishedRun]) -> list[str]:
    """Return caveats of predictions that repeat the labels they are scored on."""
    table, predicted = run.table, run.predictions.pred_probs.argmax(axis=1)
    suspects = {
        other.name: contradicts_label(table.given_labels, np.asarray(other.predictions.pred_probs))
        for other in others
    }
    found = [
        caveat_of_seen_labels(repeated_mistakes(table.given_labels, predicted, is_suspect), by)
        for by, is_suspect in suspects.items()
    ]
    if table.true_labels is not None:
        is_wrong = (table.true_labels != UNKNOWN) & (table.true_labels != table.given_labels)
        repeated = repeated_mistakes(table.given_labels, predicted, is_wrong)
        found.insert(0, caveat_of_seen_labels(repeated, "true labels", most=MOST_REPEATED))
    return [caveat for caveat in found if caveat is not None]


def _of_diary(run: FinishedRun, experiments: Sequence[Entry]) -> list[str]:
    caveats = []
    for entry in experiments:
        if entry.run == run.name and entry.accuracy_on_kept is not None:
            kept = entry.accuracy_on_kept.as_percent()
            caveats.append(
                f"its score on the rows that its cleaning kept, {kept}, is biased: do not report it"
            )
    results = {origin_of(entry, experiments).result for entry in experiments}
    if len(results) > 1:
        caveats.append(
            f"{len(results)} experiments were scored on these rows: the best of them is biased upward"
        )
    return caveats
