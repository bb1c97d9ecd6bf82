"""A finished run, read back: whose rows, which probabilities, which deal of folds. N rows, K classes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.manifest import Manifest, photos_of_run
from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import reading
from kiyome.artifacts.table import Table
from kiyome.errors import InputError
from kiyome.reading.read_table import read_own_table

GIVE_FOLDS = "Run find again with a column `fold` in the table or in the file of predictions."


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedRun:
    """What a run that predicts every row left behind, verified."""

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
        """What its own summary tells of labels that reached what is scored on them."""
        summary = self.path / f"{self.command}.json"
        if not summary.is_file():
            return []
        with reading(summary):
            return [str(leak) for leak in json.loads(summary.read_bytes()).get("leaks", [])]

    @cached_property
    def right_on_given(self) -> NDArray[np.bool_]:
        """(N,) rows whose likeliest class is the given label; never the label after cleaning."""
        right: NDArray[np.bool_] = self.predictions.pred_probs.argmax(axis=1) == self.table.given_labels
        return right

    @cached_property
    def folds_digest(self) -> str | None:
        """As `folds_digest` says of the table."""
        return folds_digest(self.table)


def folds_digest(table: Table) -> str | None:
    """A digest of which row is held out in which fold; None where nobody knows."""
    return None if table.folds is None else hashlib.sha256(table.folds.tobytes()).hexdigest()


def open_run(path: str | Path, *, images: str | Path | None = None) -> FinishedRun:
    """The finished run in a folder, once every file in it is as it was written.

    Its photos are looked for in `images`, or where `kiyome.artifacts.manifest.photos_of_run` says.

    Raises
    ------
    StaleArtifact
        When the run was cut off, or a file is missing or changed.
    InputError
        When the run predicted no table.
    """
    path = Path(path)
    manifest = verify_run(path)
    if not (path / "predictions").is_dir() or not (path / "table.parquet").is_file():
        raise InputError(
            "The run predicted the rows of a table.",
            came=f"a run of '{manifest['command']}' in {path}, without predictions",
            remedy="Name a run of find or train, or one made from these.",
        )
    table = read_own_table(path / "table.parquet", images=photos_of_run(path, images=images))
    return FinishedRun(
        path=path, manifest=manifest, table=table, predictions=Predictions.load(path / "predictions", table)
    )


def check_same_folds(runs: Sequence[FinishedRun]) -> None:
    """Refuse runs of different rows, given labels or folds: their rows cannot be put side by side.

    Raises
    ------
    InputError
        Naming two runs that differ, and in what.
    """
    first = runs[0]
    for other in runs[1:]:
        same_labels = np.array_equal(first.table.given_labels, other.table.given_labels)
        differing = {
            "photos, their order or class names": first.table.fingerprint != other.table.fingerprint,
            "given labels": not same_labels,
            "folds": first.folds_digest != other.folds_digest,
        }
        if any(differing.values()):
            what = next(name for name, differs in differing.items() if differs)
            unknown = [run.path for run in (first, other) if what == "folds" and run.folds_digest is None]
            raise InputError(
                "Runs that are put side by side share rows, given labels and folds.",
                came=f"unknown folds in {unknown[0]}"
                if unknown
                else f"other {what} in {other.path} than in {first.path}",
                remedy=GIVE_FOLDS
                if unknown
                else f"Run it again on {first.path / 'table.parquet'}, which carries the folds.",
            )
