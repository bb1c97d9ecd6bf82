"""What makes a run's score mean less than it seems: marks that stay with the number, each a sentence."""

from collections.abc import Sequence

import numpy as np

from kiyome.artifacts.table import UNKNOWN
from kiyome.evaluation.diagnostics import (
    MOST_REPEATED,
    caveat_of_seen_labels,
    contradicts_label,
    repeated_mistakes,
)
from kiyome.experiments import UNKNOWN_FOLDS, Entry, origin_of
from kiyome.reading.finished_run import FinishedRun

FROM_FILE = (
    "predictions were brought from a file: that no model saw the row that it predicts is the word of whoever"
    " made them, and cannot be known from the file"
)


def caveats_of(
    judged: FinishedRun, others: Sequence[FinishedRun], experiments: Sequence[Entry]
) -> tuple[str, ...]:
    """All marks of a run: its leaks, and what its table, its diary and other runs show.

    Parameters
    ----------
    judged, others
        The run, and runs whose word is taken against labels.
    experiments
        Entries of the diary on the same rows, the newest of each run; the judged one among them or not.
    """
    marks = (*leaks_of(judged, experiments), *_of_table(judged), *_signs(judged, others))
    return tuple(dict.fromkeys((*marks, *_of_diary(judged, experiments))))


def leaks_of(judged: FinishedRun, experiments: Sequence[Entry]) -> list[str]:
    """What a run's own notes and the diary tell of labels that reached what is scored on them."""
    noted = [leak for entry in experiments if entry.run == judged.name for leak in entry.leaks]
    unknown = [UNKNOWN_FOLDS] if judged.folds_digest is None else []
    brought = [FROM_FILE] if "pred_probs_sha256" in judged.manifest["config"] else []
    return [*judged.leaks, *noted, *unknown, *brought]


def _of_table(judged: FinishedRun) -> list[str]:
    """What a cleaning did before the run was trained; all rows and given labels are scored all the same."""
    table, marks = judged.table, []
    dropped = 0 if table.weights is None else int((table.weights == 0).sum())
    relabeled = int((table.labels != table.given_labels).sum())
    if dropped or relabeled:
        marks.append(
            f"a cleaning dropped {dropped:,} rows and relabeled {relabeled:,} before training: scores are on"
            " all rows and on labels as given, which it did not choose"
        )
    if table.true_labels is not None:
        taught = (table.labels == table.true_labels) & (table.labels != table.given_labels)
        if taught.any():
            marks.append(
                f"{int(taught.sum()):,} rows were taught the true label that accuracy_on_true is scored on,"
                " to models of other folds"
            )
    return marks


def _signs(judged: FinishedRun, others: Sequence[FinishedRun]) -> list[str]:
    """Whether the predictions seem to have seen the labels that they are scored on."""
    table, choice = judged.table, judged.predictions.pred_probs.argmax(axis=1)
    suspects = {
        other.name: contradicts_label(table.given_labels, np.asarray(other.predictions.pred_probs))
        for other in others
    }
    found = [
        caveat_of_seen_labels(repeated_mistakes(table.given_labels, choice, is_suspect), by)
        for by, is_suspect in suspects.items()
    ]
    if table.true_labels is not None:
        is_wrong = (table.true_labels != UNKNOWN) & (table.true_labels != table.given_labels)
        repeated = repeated_mistakes(table.given_labels, choice, is_wrong)
        found.insert(0, caveat_of_seen_labels(repeated, "true labels", most=MOST_REPEATED))
    return [mark for mark in found if mark is not None]


def _of_diary(judged: FinishedRun, experiments: Sequence[Entry]) -> list[str]:
    marks = []
    for entry in experiments:
        if entry.run == judged.name and entry.accuracy_on_kept is not None:
            kept = entry.accuracy_on_kept.as_percent()
            marks.append(f"on the rows that its cleaning kept it scores {kept}: an illusion, never a score")
    tried = {origin_of(entry, experiments).result for entry in experiments}
    if len(tried) > 1:
        marks.append(
            f"{len(tried)} experiments were scored on these rows: whoever takes the best of them is"
            " judged on rows that chose it"
        )
    return marks
