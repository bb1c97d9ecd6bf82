"""Predicted probabilities, one row a photo, that know which table they belong to. N rows, K classes.

They are made by a run, or read from a file that people bring: then rows are matched by id wherever the file
has ids, never by position.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.records import SHOWN, Records, read_records
from kiyome.artifacts.sources import ID_COLUMNS, fold_column
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


def read_out_of_fold(path: str | Path, table: Table) -> tuple[Table, Predictions]:
    r"""Return the table with the folds of a file of predictions, and the predictions of its rows.

    Parameters
    ----------
    path : str or Path
        CSV or Parquet: an id column, and for each class a column named like it (`healthy`, `p_healthy`) or
        like its number (`0`, `p_0`). The column `fold`, if there, says which folds they were made on; others,
        such as `label`, are not read. Without an id column, and in a `.npy` array (N, K), rows stand in the
        table's order.
    table : Table
        What the predictions are for.

    Raises
    ------
    InputError
        When ids are missing, unknown or doubled, lengths or classes differ, or a row is no distribution; when
        file and table have folds that differ.

    Examples
    --------
    >>> import tempfile
    >>> table = Table(root=Path("."), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1],
    ...               class_names=("healthy", "blight"))
    >>> path = Path(tempfile.mkdtemp()) / "oof.csv"
    >>> _ = path.write_text("image_id,fold,p_0,p_1\nb,0,0.25,0.75\na,1,0.5,0.5\n")
    >>> with_folds, predictions = read_out_of_fold(path, table)
    >>> with_folds.folds.tolist(), predictions.pred_probs.tolist()
    ([1, 0], [[0.5, 0.5], [0.25, 0.75]])
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("Predictions are a file.", came=f"nothing at {path}", remedy="Check the path.")
    is_array = path.suffix.lower() == ".npy"
    probs, folds = (_array_file(path, table), None) if is_array else _table_file(path, table)
    predictions = Predictions(
        pred_probs=probs.astype(np.float32),
        kind="out_of_fold",
        source=path.name,
        table_fingerprint=table.fingerprint,
    )
    if folds is None:
        return table, predictions
    _check_same_folds(folds, table, path.name)
    return table.with_folds(folds), predictions


def _check_same_folds(folds: NDArray[np.int16], table: Table, name: str) -> None:
    if table.folds is None or not (other := folds != table.folds).any():
        return
    row = int(other.argmax())
    raise InputError(
        "Predictions were made on the folds that the table has.",
        came=f"{other.sum():,} rows in other folds, such as {table.image_ids[row]!r}: {folds[row]} in {name},"
        f" {table.folds[row]} in the table",
        remedy="Remove the column `fold` that is not of these predictions.",
    )


def _array_file(path: Path, table: Table) -> Numbers:
    try:
        probs: Numbers = map_array(path)
    except (OSError, ValueError) as error:
        if is_machine_failure(error):
            raise
        raise InputError(
            "The predictions are a whole .npy file of numbers.",
            came=f"{path.name}: {error}",
            remedy="Save them with np.save.",
        ) from error
    if probs.shape != (len(table), table.num_classes) or probs.dtype.kind != "f":
        raise InputError(
            f"{path.name} has {len(table)} rows and {table.num_classes} columns of floats, like the table.",
            came=f"shape {probs.shape}, {probs.dtype}",
            remedy="Rows of .npy are matched by position; with ids use CSV or Parquet.",
        )
    if probs.dtype == np.float16:  # half precision sums to one only roughly
        wide = probs.astype(np.float32)
        sums = wide.sum(axis=1, keepdims=True)
        probs = np.where(np.abs(sums - 1) < 1e-2, wide / sums, wide)
    check_distributions(probs, path.name)
    return probs


def _table_file(path: Path, table: Table) -> tuple[Numbers, NDArray[np.int16] | None]:
    records = read_records(path)
    columns = _class_columns(records, table.class_names)
    ids = _id_column(records, columns, table)
    if ids is None and len(records) != len(table):
        raise InputError(
            f"{path.name} has an id column, or {len(table)} rows in the table's order.",
            came=f"{len(records)} rows and columns {', '.join(map(repr, records.columns))}",
            remedy="Add the column image_id.",
        )
    rows = np.arange(len(table)) if ids is None else _rows_by_id(records, records.texts(ids), table)
    probs = np.stack([records.numbers(column) for column in columns], axis=1)
    check_distributions(probs, path.name, place=records.place)
    folds = None if "fold" in columns else fold_column(records)
    return probs[rows], None if folds is None else folds[rows]


def _id_column(records: Records, class_columns: Sequence[str], table: Table) -> str | None:
    """A column with the name of one, or else one whose cells differ and hold an id of the table."""
    others = [name for name in records.columns if name not in class_columns and name not in records.nested]
    known = records.pick([name for name in ID_COLUMNS if name in map(str.lower, others)])
    if known is not None:
        return known
    ids = set(table.image_ids)
    cells = {name: set(records.columns[name]) for name in others}
    return next((name for name, c in cells.items() if len(c) == len(records) and not ids.isdisjoint(c)), None)


def _class_columns(records: Records, names: Sequence[str]) -> list[str]:
    """The file's columns in class order, by the first way of naming that has them all."""
    numbers = [str(label) for label in range(len(names))]
    schemes = [list(names), [f"p_{name}" for name in names], numbers, [f"p_{number}" for number in numbers]]
    fitting = [scheme for scheme in schemes if records.columns.keys() >= set(scheme)]
    known = fitting[0] if fitting else []
    if not fitting or _further_classes(records, known):
        expected = ", ".join(schemes[1][:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        raise InputError(
            f"{records.source.name} has one column for each of {len(names)} classes: {expected}.",
            came=f"columns {', '.join(map(repr, records.columns))}",
            remedy="Name them by class or by number, and classes without photos with class_map=.",
        )
    return known


def _further_classes(records: Records, known: Sequence[str]) -> bool:
    """Whether a column beyond the known ones is named in their way, as `p_5` beside `p_0` to `p_4`."""
    others = [column for column in records.columns if column not in known]
    if all(column.startswith("p_") for column in known):
        return any(column.startswith("p_") for column in others)
    return all(column.isdecimal() for column in known) and any(column.isdecimal() for column in others)


def _rows_by_id(records: Records, ids: Sequence[str], table: Table) -> NDArray[np.intp]:
    """Where in the file each row of the table stands."""
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    twice = (
        [image_id for image_id, count in Counter(ids).items() if count > 1] if len(row_of) < len(ids) else []
    )
    missing = [image_id for image_id in table.image_ids if image_id not in row_of]
    unknown = sorted(row_of.keys() - set(table.image_ids))
    problems = {"more than once": twice, "without a row": missing, "not in the table": unknown}
    if any(problems.values()):
        said = [f"{len(these)} ids {what} ({_first(these)})" for what, these in problems.items() if these]
        raise InputError(
            f"{records.source.name} has one row for each photo of the table, by id.",
            came="; ".join(said),
            remedy="Give predictions for just these photos, with ids written as in the table.",
        )
    return np.array([row_of[image_id] for image_id in table.image_ids], dtype=np.intp)


def _first(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
