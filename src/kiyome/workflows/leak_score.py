"""The score of a split without its rows that lie in train, by the list of leaks of `find` or `check`."""

from pathlib import Path

import numpy as np

from kiyome.artifacts.leaks import read_leaks
from kiyome.artifacts.table import TRAIN
from kiyome.evaluation.leaks import ScoresWithoutLeaks, scores_without_leaks
from kiyome.reading.finished_run import FinishedRun


def score_of_leaks(run: FinishedRun, split: str, folder: Path, *, seed: int) -> ScoresWithoutLeaks | None:
    """Return the score of a split with and without rows that lie in train; None without a list."""
    table, rows, splits = run.table, run.table.in_split(split), run.table.split_names
    leaks = read_leaks(folder, table)
    if leaks is None:
        return None
    leaked, differ = leaks.copies_in(splits, split), np.zeros(len(table), np.bool_)
    differ[leaks.first[leaks.labels_differ & (splits[leaks.second] == TRAIN)]] = True
    groups = None if table.groups is None else table.groups[rows]
    return scores_without_leaks(
        run.right_on_given[rows], leaked[rows], (differ & leaked)[rows], groups=groups, seed=seed
    )
