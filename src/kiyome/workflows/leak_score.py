"""The score of a split without its rows that lie in train: leaks.csv, joined to the rows of a run. N rows."""

import csv
from pathlib import Path

import numpy as np

from kiyome.artifacts.escapes import safe_cell
from kiyome.artifacts.storage import reading
from kiyome.artifacts.table import TRAIN
from kiyome.errors import InputError
from kiyome.evaluation.leaks import ScoresWithoutLeaks, scores_without_leaks
from kiyome.reading.finished_run import FinishedRun

LEAKS_FILE = "leaks.csv"
SAME_GROUP = "same group"
"""Kind of a row that shares a group with train, and no photo."""
COLUMNS = {"image_id", "other_split", "kind", "labels_differ"}


def score_of_leaks(run: FinishedRun, path: Path, *, seed: int) -> ScoresWithoutLeaks:
    """Return the score of the run's rows, and without those that lie in train by the list at `path`."""
    table = run.table
    row_of = {safe_cell(image_id): row for row, image_id in enumerate(table.image_ids)}
    leaked, conflicts = np.zeros(len(table), np.bool_), np.zeros(len(table), np.bool_)
    if not path.is_file():
        raise InputError(f"There is no file {path}.", remedy="Name the leaks.csv of kiyome check or find.")
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        if missing := COLUMNS - set(lines.fieldnames or ()):
            raise InputError(
                f"{path} has no column {', '.join(sorted(missing))}.",
                expected="Expected the list that kiyome check or find wrote.",
                remedy="Name leaks.csv.",
            )
        for line in lines:
            row = row_of.get(line["image_id"])
            if row is not None and line["other_split"] == TRAIN and line["kind"] != SAME_GROUP:
                leaked[row] = True
                conflicts[row] |= line["labels_differ"] == "True"
    return scores_without_leaks(run.right_on_given, leaked, conflicts, groups=table.groups, seed=seed)
