"""A finished run, read back: its table, predictions and folds. N rows, K classes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.manifest import Manifest, photos_of_run
from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import reading
from kiyome.artifacts.table import TEST, TRAIN, UNLABELED, VAL, Table
from kiyome.errors import InputError, choose
from kiyome.reading.read_table import read_own_table

GIVE_FOLDS = "Run find again with a column `fold` in the table or in the file of predictions."


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedRun:
    """A verified run that predicts every row of its table."""

    path: Path
    manifest: Manifest
    table: Table
    predictions: Predictions

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def command(self) -> str:
        """The verb that made it."""
        command: str = self.manifest["command"]
        return command

    @cached_property
    def leaks(self) -> list[str]:
        """Leaks stated in the run's own summary: labels that reached the predictions scored on them."""
        summary = self.path / f"{self.command}.json"
        if not summary.is_file():
            return []
        with reading(summary):
            return [str(leak) for leak in json.loads(summary.read_bytes()).get("leaks", [])]

    @cached_property
    def right_on_given(self) -> NDArray[np.bool_]:
        """(N,) rows whose most likely class is the given label, never the label after cleaning."""
        right: NDArray[np.bool_] = self.predictions.pred_probs.argmax(axis=1) == self.table.given_labels
        return right

    @cached_property
    def folds_digest(self) -> str | None:
        """`folds_digest` of the table."""
        return folds_digest(self.table)

    def in_split(self, split: str) -> "FinishedRun":
        """Return the run with the rows of one split alone; InputError where it has none."""
        rows = self.table.in_split(split)
        if rows.all():
            return self
        if not rows.any():
            others = ", ".join(self.table.splits_in_use)
            raise InputError(
                f"{self.path} has no rows of the split {split!r}, but of {others}.",
                remedy="Give a run with predictions of such rows.",
            )
        return self._take(rows)

    def labeled(self) -> "FinishedRun":
        """Return the run without its unlabeled rows."""
        rows = self.table.is_labeled
        return self if rows.all() else self._take(rows)

    def _take(self, rows: NDArray[np.bool_]) -> "FinishedRun":
        table = self.table.take(rows)
        predictions = replace(
            self.predictions,
            pred_probs=self.predictions.pred_probs[rows],
            table_fingerprint=table.fingerprint,
        )
        return replace(self, table=table, predictions=predictions)

    def scored_split(self, split: str | None = None) -> str:
        """Return the split to score: the named one, else test, val or train, the first that has rows."""
        labeled = [name for name in (TEST, VAL, TRAIN) if self.table.in_split(name).any()]
        if not labeled or split == UNLABELED:
            raise InputError(
                f"Rows of the split {UNLABELED!r} of {self.path} have no label to be scored on.",
                expected=f"Expected one of {', '.join((TEST, VAL, TRAIN))}.",
                remedy="Name one of these; what people find in"
                f" `kiyome audit-sample {self.path} --split {UNLABELED}` is reported beside them."
                if labeled
                else "Give labels to some of the rows.",
            )
        if split is None:
            return labeled[0]
        if choose("split", split, (TRAIN, VAL, TEST)) not in labeled:
            raise InputError(
                f"{self.path} has no rows of the split {split!r}.",
                expected=f"Expected one of its splits with labels: {', '.join(labeled)}.",
                remedy="Name one of these.",
            )
        return split


def folds_digest(table: Table) -> str | None:
    """Return a digest of the fold of every row; None where folds are unknown."""
    return None if table.folds is None else hashlib.sha256(table.folds.tobytes()).hexdigest()


def open_run(path: str | Path, *, images: str | Path | None = None) -> FinishedRun:
    """Return the finished run in a folder, with every file verified, and its photos from `images` if given.

    StaleArtifact where the run is unfinished or a file is missing or changed, InputError without predictions.
    """
    path = Path(path)
    manifest = verify_run(path)
    if not (path / "predictions").is_dir() or not (path / "table.parquet").is_file():
        raise InputError(
            f"{path} is a run of '{manifest['command']}', without predictions of a table.",
            remedy="Name a run of find or train, or one made from these.",
        )
    table = read_own_table(path / "table.parquet", images=photos_of_run(path, images=images))
    return FinishedRun(
        path=path, manifest=manifest, table=table, predictions=Predictions.load(path / "predictions", table)
    )


def check_rows_of(run: FinishedRun, table: Table, *, option: str) -> None:
    """Raise InputError where the run cannot be one on this table, before any photo is read."""
    same_classes = run.table.class_names == table.class_names
    same_rows = same_classes and np.isin(run.table.image_ids, table.image_ids).all()
    lacking = [name for name in table.splits_in_use if name not in run.table.splits_in_use]
    if same_rows and not lacking:
        return
    differs = f"no rows of {' or '.join(lacking)}" if same_rows else "other photos or class names"
    raise InputError(
        f"{run.path} is a run on another table: it has {differs}.",
        expected="Expected a run on the rows of these data.",
        remedy=f"Name {run.path / 'table.parquet'} as the data, or leave out {option}.",
    )


def check_same_folds(runs: Sequence[FinishedRun]) -> None:
    """Raise InputError for runs with other rows, given labels or folds: their rows cannot be compared."""
    for other in runs[1:]:
        check_folds_of(other.path, other.table, runs[0])


def check_folds_of(path: Path, table: Table, first: FinishedRun) -> None:
    """Raise InputError where the table of the run in `path` has other rows, labels or folds than `first`."""
    expected = "Compared runs need the same rows, given labels and folds."
    digests = {first.path: first.folds_digest, path: folds_digest(table)}
    differing = {
        "photos, their order or class names": first.table.fingerprint != table.fingerprint,
        "given labels": not np.array_equal(first.table.given_labels, table.given_labels),
        # every model predicts rows outside train, whatever its folds
        "folds": first.table.in_split(TRAIN).any() and digests[first.path] != digests[path],
    }
    difference = next((name for name, differs in differing.items() if differs), None)
    unknown = [run for run, digest in digests.items() if digest is None]
    if difference == "folds" and unknown:
        problem = f"The folds of {unknown[0]} are unknown."
        raise InputError(problem, expected=expected, remedy=GIVE_FOLDS)
    if difference:
        remedy = f"Run it again on {first.path / 'table.parquet'}, which has the folds."
        problem = f"{path} has other {difference} than {first.path}."
        raise InputError(problem, expected=expected, remedy=remedy)
