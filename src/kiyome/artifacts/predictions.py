"""Predicted probabilities, one row a photo, that know which table they belong to. N rows, K classes."""

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
"""How far a row's sum may be from one, which rounded text and single precision need."""

LEAST_PROBABILITY = 1e-7
"""That a logarithm is taken of, everywhere: what single precision leaves of one minus another. Below it the
log loss would tell of rounding, and one row could outweigh hundreds."""

ARRAY_FILE, FACTS_FILE = "pred_probs.npy", "predictions.json"


def floored_log(probs: NDArray[Float]) -> NDArray[Float]:
    """Logarithms of probabilities, of nothing below 1e-7.

    >>> floored_log(np.array([1.0, 0.0])).round(1).tolist()
    [0.0, -16.1]
    """
    return np.log(np.maximum(probs, LEAST_PROBABILITY))


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Probabilities for the rows of one table, in its order.

    Parameters
    ----------
    pred_probs : array of float32, shape (N, K)
        Rows are finite, not negative, and sum to one. Read-only; memory-mapped when loaded.
    kind : "out_of_fold" or "test"
        Whether each row was predicted by a model that did not see it, or the rows belong to no fold.
    source : str
        Which model or run made them, for people.
    table_fingerprint : str
        Of the table whose ids, order and class names these are.

    Raises
    ------
    InputError
        When a row is no distribution.

    Examples
    --------
    >>> predicted = Predictions(pred_probs=[[0.9, 0.1]], kind="test", source="a model", table_fingerprint="")
    >>> predicted.pred_probs.dtype
    dtype('float32')
    """

    pred_probs: Probs
    kind: Kind
    source: str
    table_fingerprint: str

    def __post_init__(self) -> None:
        choose("kind", self.kind, get_args(Kind))
        probs = np.asarray(self.pred_probs, dtype=np.float32).view()
        probs.flags.writeable = False
        object.__setattr__(self, "pred_probs", probs)
        check_distributions(probs, "pred_probs")

    def check_belongs_to(self, table: Table) -> None:
        """Refuse a table with other ids, another order or other class names.

        Raises
        ------
        StaleArtifact
            When the fingerprints differ.
        """
        if self.table_fingerprint != table.fingerprint:
            raise StaleArtifact(
                "Predictions belong to the table at hand: same ids, order and class names.",
                came=f"fingerprint {self.table_fingerprint[:12]}, the table's is {table.fingerprint[:12]}",
                remedy="Predict again for this table.",
            )

    def save(self, folder: str | Path) -> None:
        """Put the array and the facts about it into `folder`, which is made if need be."""
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
        """Predictions that `save` put into `folder`, memory-mapped, once they fit `table` and are unchanged.

        Raises
        ------
        StaleArtifact
            When they belong to another table, were changed on disk, or are not there.
        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / FACTS_FILE).read_bytes())
            unchanged = facts["sha256"] == sha256_of_file(folder / ARRAY_FILE)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            if is_machine_failure(error):
                raise
            raise _changed(folder, f"{FACTS_FILE} or {ARRAY_FILE} that cannot be read ({error})") from error
        if not unchanged:
            raise _changed(folder, f"{ARRAY_FILE} with other bytes than were written")
        with reading(folder / FACTS_FILE):
            predictions = cls(
                pred_probs=map_array(folder / ARRAY_FILE),
                kind=facts["kind"],
                source=facts["source"],
                table_fingerprint=facts["table_fingerprint"],
            )
        predictions.check_belongs_to(table)
        return predictions


def _changed(folder: Path, came: str) -> StaleArtifact:
    return StaleArtifact(
        "Stored predictions are whole and unchanged.",
        came=f"{came} in {folder}",
        remedy="Delete the folder and predict again.",
    )


def check_distributions(probs: Numbers, where: str, *, place: Callable[[int], str] = "row {}".format) -> None:
    """Refuse an array whose rows are no probabilities over at least two classes, and say what they look like.

    Raises
    ------
    InputError
        With the first such row.
    """
    if probs.ndim != 2 or probs.shape[0] == 0 or probs.shape[1] < 2:
        raise InputError(
            f"{where} has one row a photo and one column a class, at least two.",
            came=f"shape {probs.shape}",
            remedy="Check the file.",
        )
    with np.errstate(invalid="ignore", over="ignore"):
        sums = probs.sum(axis=1, dtype=np.float64)
        sound = (np.abs(sums - 1) <= SUM_TOLERANCE) & (probs.min(axis=1) >= 0)
    if not sound.all():
        row = int(sound.argmin())
        came, remedy = _what_it_looks_like(probs, row, float(sums[row]), place(row))
        raise InputError(f"Rows of {where} are probabilities that sum to one.", came=came, remedy=remedy)


def _what_it_looks_like(probs: Numbers, row: int, total: float, place: str) -> tuple[str, str]:
    if not np.isfinite(probs[row]).all():
        return f"a value that is missing or no finite number in {place}", "Predict this row again."
    low, high = float(probs.min()), float(probs.max())
    if low < 0 or high > 101:
        looks = "these look like logits"
        return f"values from {low:.3g} to {high:.3g}; {looks}", "Take the softmax of each row."
    if abs(total - 100) < 1:
        return f"a sum of {total:.6g} in {place}; these look like percentages", "Divide by 100."
    if high > 1 + SUM_TOLERANCE:
        return f"values up to {high:.3g}; these look like counts or logits", "Turn them into probabilities."
    remedy = "Give a column for every class, or divide each row by its sum if they are sigmoids."
    return f"a sum of {total:.6g} in {place}", remedy


def write_out_of_fold(predictions: Predictions, table: Table, folder: str | Path) -> None:
    """Write `oof.csv` and `oof.parquet`: image_id, label, fold, one `p_<class>` a class, pred.

    Labels and predictions are class names. `fold` is left out when the table was not dealt.

    Raises
    ------
    StaleArtifact
        When the predictions belong to another table.
    """
    import pyarrow as pa

    predictions.check_belongs_to(table)
    names, probs = np.array(table.class_names, dtype=object), predictions.pred_probs
    columns: dict[str, NDArray[np.generic]] = {"image_id": table.image_ids, "label": names[table.labels]}
    if table.folds is not None:
        columns["fold"] = table.folds
    columns |= {f"p_{name}": probs[:, k] for k, name in enumerate(table.class_names)}
    columns["pred"] = names[probs.argmax(axis=1)]
    write_parquet(Path(folder) / "oof.parquet", {name: pa.array(column) for name, column in columns.items()})
    write_csv_columns(Path(folder) / "oof.csv", columns)
