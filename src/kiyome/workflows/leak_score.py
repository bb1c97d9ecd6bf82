"""The score of a split without its rows that lie in train, by the list of leaks of `find` or `check`."""

from pathlib import Path

import numpy as np

from kiyome.artifacts.leaks import LEAKS_FILE, read_leaks
from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table import TRAIN
from kiyome.errors import InputError
from kiyome.evaluation.leaks import ScoresWithoutLeaks, scores_without_leaks
from kiyome.reading.finished_run import FinishedRun
from kiyome.workflows.run_folds import runs_on_rows


def score_of_leaks(
    run: FinishedRun, split: str, folder: Path | str | None, *, seed: int
) -> tuple[ScoresWithoutLeaks, str] | None:
    """Return the score of a split with and without rows that lie in train, and the digest of their list.

    The list is that of the folder; if none is named, of the run, else of the oldest run beside it on the same
    rows that has one. None for train, and without a list.
    """
    if folder is not None and not (Path(folder) / LEAKS_FILE).is_file():
        raise InputError(
            f"There is no {LEAKS_FILE} in {folder}.",
            remedy="Name the folder that kiyome check wrote for a table with splits.",
        )
    table, rows, splits = run.table, run.table.in_split(split), run.table.split_names
    folders = [run.path, *runs_on_rows(run.path.parent, table)] if folder is None else [Path(folder)]
    path = next((each / LEAKS_FILE for each in folders if (each / LEAKS_FILE).is_file()), None)
    leaks = None if split == TRAIN or path is None else read_leaks(path.parent, table)
    if path is None or leaks is None:
        return None
    leaked, differ = leaks.copies_in(splits, split), np.zeros(len(table), np.bool_)
    differ[leaks.first[leaks.labels_differ & (splits[leaks.second] == TRAIN)]] = True
    scores = scores_without_leaks(
        run.right_on_given[rows],
        leaked[rows],
        (differ & leaked)[rows],
        groups=None if table.groups is None else table.groups[rows],
        seed=seed,
    )
    return scores, sha256_of_file(path)
