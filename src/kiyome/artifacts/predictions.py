"""Predicted probabilities with the fingerprint of their table. N rows, K classes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import (
    is_machine_failure,
    map_array,
    reading,
    sha256_of_file,
    write_csv_columns,
    write_parquet,
    write_text,
    writing,
)
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, StaleArtifact, choose

Kind = Literal["out_of_fold", "test"]
Probs = NDArray[np.float32]
Numbers = NDArray[np.floating]
Float = TypeVar("Float", np.float32, np.float64)

SUM_TOLERANCE = 1e-3
"""Largest distance of a row's sum from one; rounded text and single precision need it."""

LEAST_PROBABILITY = 1e-7
"""Floor of every logarithm: the resolution of 1 - p in single precision. Below it the log loss would measure
rounding, and one row could outweigh hundreds."""

ARRAY_FILE, FACTS_FILE = "pred_probs.npy", "predictions.json"


def floored_log(probs: NDArray[Float]) -> NDArray[Float]:
    """Return logarithms of probabilities, with 1e-7 in place of anything lower.

    >>> floored_log(np.array([1.0, 0.0])).round(1).tolist()
    [0.0, -16.1]
    """
    return np.log(np.maximum(probs, LEAST_PROBABILITY))


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Probabilities for the rows of one table, in its order; InputError if a row is not a distribution.

    >>> predicted = Predictions(pred_probs=[[0.9, 0.1]], kind="test", source="a model", table_fingerprint="")
    >>> predicted.pred_probs.dtype
    dtype('float32')
    """

    pred_probs: Probs
    """(N, K) float32; rows sum to one. Read-only; memory-mapped when loaded."""
    kind: Kind
    """`out_of_fold` if no row was seen by the models that predict it; `test` for rows of no fold."""
    source: str
    """The model or run that made them, for people."""
    table_fingerprint: str
    """Fingerprint of the table with these ids, order and class names."""

    def __post_init__(self) -> None:
        choose("kind", self.kind, get_args(Kind))
        probs = np.asarray(self.pred_probs, dtype=np.float32).view()
        probs.flags.writeable = False
        object.__setattr__(self, "pred_probs", probs)
        check_distributions(probs, "pred_probs")

    def check_belongs_to(self, table: Table) -> None:
        """Raise StaleArtifact for a table with other ids, another order or other class names."""
        if self.table_fingerprint != table.fingerprint:
            raise StaleArtifact(
                f"The predictions have the fingerprint {self.table_fingerprint[:12]}, the table has"
                f" {table.fingerprint[:12]}.",
                expected="Both need the same ids, order and class names.",
                remedy="Predict again for this table.",
            )

    def save(self, folder: str | Path) -> None:
        """Write the array and the facts about it into `folder`, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / ARRAY_FILE) as file:
            np.save(file, self.pred_probs, allow_pickle=False)
        facts = {
            "kind": self.kind,
            "source": self.source,
            "table_fingerprint": self.table_fingerprint,
            "shape": list(self.pred_probs.shape),
            "sha256": sha256_of_file(folder / ARRAY_FILE),
        }
        write_text(folder / FACTS_FILE, json.dumps(facts, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, table: Table) -> "Predictions":
        """Return the saved predictions; StaleArtifact where they changed or belong to another table."""
        folder = Path(folder)
        try:
            facts = json.loads((folder / FACTS_FILE).read_bytes())
            unchanged = facts["sha256"] == sha256_of_file(folder / ARRAY_FILE)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            if is_machine_failure(error):
                raise
            raise _changed(folder, f"{FACTS_FILE} or {ARRAY_FILE} cannot be read ({error})") from error
        if not unchanged:
            raise _changed(folder, f"{ARRAY_FILE} has other bytes than were written")
        with reading(folder / FACTS_FILE):
            predictions = cls(
                pred_probs=map_array(folder / ARRAY_FILE),
                kind=facts["kind"],
                source=facts["source"],
                table_fingerprint=facts["table_fingerprint"],
            )
        predictions.check_belongs_to(table)
        return predictions


def _changed(folder: Path, problem: str) -> StaleArtifact:
    return StaleArtifact(f"In {folder}, {problem}.", remedy="Delete the folder and predict again.")


def check_distributions(
    probs: Numbers, source: str, *, name_of_row: Callable[[int], str] = "row {}".format
) -> None:
    """Raise InputError unless the rows are probabilities over two or more classes; it guesses the scale."""
    if probs.ndim != 2 or probs.shape[0] == 0 or probs.shape[1] < 2:
        raise InputError(
            f"{source} has shape {probs.shape}.",
            expected="Expected one row a photo and one column a class, at least two.",
            remedy="Check the file.",
        )
    with np.errstate(invalid="ignore", over="ignore"):
        sums = probs.sum(axis=1, dtype=np.float64)
        sound = (np.abs(sums - 1) <= SUM_TOLERANCE) & (probs.min(axis=1) >= 0)
    if not sound.all():
        row = int(sound.argmin())
        problem, remedy = _diagnosis(probs, row, float(sums[row]), name_of_row(row))
        expected = "Rows must be probabilities that sum to one."
        raise InputError(f"{source} has {problem}.", expected=expected, remedy=remedy)


def _diagnosis(probs: Numbers, row: int, total: float, row_name: str) -> tuple[str, str]:
    """Return what is wrong with a row that is not a distribution, and the remedy."""
    if not np.isfinite(probs[row]).all():
        return f"a missing or infinite value in {row_name}", "Predict this row again."
    low, high = float(probs.min()), float(probs.max())
    if low < 0 or high > 101:
        remedy = "Add --pred-scale logits, or take the softmax of each row."
        return f"values from {low:.3g} to {high:.3g}; these look like logits", remedy
    if abs(total - 100) < 1:
        remedy = "Add --pred-scale percent, or divide by 100."
        return f"a sum of {total:.6g} in {row_name}; these look like percentages", remedy
    if high > 1 + SUM_TOLERANCE:
        return f"values up to {high:.3g}; these look like counts or logits", "Turn them into probabilities."
    remedy = "Give a column for every class, or divide each row by its sum if they are sigmoids."
    return f"a sum of {total:.6g} in {row_name}", remedy


def write_out_of_fold(predictions: Predictions, table: Table, folder: str | Path) -> None:
    """Write `oof.csv` and `oof.parquet`: image_id, label, fold and split if any, p_<class>, pred.

    Labels and predictions are class names. StaleArtifact for predictions of another table.
    """
    import pyarrow as pa

    predictions.check_belongs_to(table)
    names, probs = np.array([*table.class_names, None], dtype=object), predictions.pred_probs
    columns: dict[str, NDArray[np.generic]] = {"image_id": table.image_ids, "label": names[table.labels]}
    if table.folds is not None:
        columns["fold"] = table.folds
    if table.splits is not None:
        columns["split"] = table.splits
    columns |= {f"p_{name}": probs[:, k] for k, name in enumerate(table.class_names)}
    columns["pred"] = names[probs.argmax(axis=1)]
    write_parquet(Path(folder) / "oof.parquet", {name: pa.array(column) for name, column in columns.items()})
    write_csv_columns(Path(folder) / "oof.csv", columns)
