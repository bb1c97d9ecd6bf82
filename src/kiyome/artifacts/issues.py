"""The list of suspicious labels, as files for people and for machines. N rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.escapes import safe_cells, texts_of_paths
from kiyome.artifacts.storage import reading, write_csv_columns, write_parquet
from kiyome.artifacts.table import Table
from kiyome.errors import InputError

NONE_CUT = 0.5
"""Above this probability a row is said to show none of the classes: no class is suggested for it."""
NO_LABEL = -1
"""The label of a row without a decision or prediction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Issues:
    """Label issues of N rows."""

    is_label_issue: NDArray[np.bool_]
    """(N,) whether the label is flagged as wrong."""
    probability: NDArray[np.float64]
    """(N,) probability that the given label is wrong."""
    suggested_labels: NDArray[np.int32]
    """(N,) the most likely class of flagged rows, the given label elsewhere."""
    probability_none: NDArray[np.float64] | None = None
    """(N,) probability that the photo shows none of the classes; None if this was not estimated."""

    @property
    def shows_none(self) -> NDArray[np.bool_]:
        """(N,) rows that probably show none of the classes."""
        if self.probability_none is None:
            return np.zeros(len(self.probability), np.bool_)
        return self.probability_none > NONE_CUT


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedIssues(Issues):
    """Label issues of N rows as `find` writes them, with their order."""

    likely_labels: NDArray[np.int32]
    """(N,) the most likely class of each row."""
    ranking: NDArray[np.intp]
    """(N,) rows, the most suspicious first."""


def read_issues(path: str | Path, table: Table) -> RankedIssues:
    """Return the content of `label_issues.parquet` for the rows of a table, matched by id.

    InputError where the file is missing, lacks a row, or names a class that the table does not have.
    """
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"There is no {path}.",
            expected="Issues are written by `kiyome find`.",
            remedy="Run kiyome find on these data.",
        )
    wanted = ["image_id", "is_label_issue", "probability", "suggested_label", "predicted_label"]
    with reading(path):
        wanted += [name for name in pq.read_schema(path).names if name == "probability_none"]
        columns = pq.read_table(path, columns=wanted).to_pydict()
        flags = np.array(columns["is_label_issue"], dtype=np.bool_)
        probability = np.nan_to_num(np.array(columns["probability"], dtype=np.float64))  # unlabeled rows
        none = np.array(columns.get("probability_none", np.zeros_like(probability)), dtype=np.float64)
    index_of = {image_id: index for index, image_id in enumerate(columns["image_id"])}
    label_of = {name: label for label, name in enumerate(table.class_names)}
    missing = [image_id for image_id in table.image_ids if image_id not in index_of]
    unknown = {*columns["suggested_label"], *columns["predicted_label"]} - label_of.keys()
    if missing or unknown:
        lack = (
            f"lacks {len(missing)} rows of the table" if missing else f"has the class {next(iter(unknown))!r}"
        )
        expected = "It must cover the rows and classes of the table."
        raise InputError(f"{path} {lack}.", expected=expected, remedy="Run kiyome find on these data.")
    indices = np.array([index_of[image_id] for image_id in table.image_ids], dtype=np.intp)
    suggested, likely = (
        np.array([label_of[name] for name in columns[column]], dtype=np.int32)[indices]
        for column in ("suggested_label", "predicted_label")
    )
    return RankedIssues(
        is_label_issue=flags[indices],
        probability=probability[indices],
        suggested_labels=suggested,
        probability_none=none[indices],
        likely_labels=likely,
        ranking=np.argsort(indices, kind="stable"),
    )


def write_issue_files(
    folder: str | Path,
    table: Table,
    *,
    is_label_issue: ArrayLike,
    label_quality: ArrayLike,
    predicted_labels: ArrayLike,
    ranked_rows: ArrayLike,
    suggested_labels: ArrayLike | None = None,
    probability: ArrayLike | None = None,
    probability_none: ArrayLike | None = None,
) -> None:
    """Write `label_issues.csv` and `label_issues.parquet`: every row of the table, most suspicious first.

    The columns are cleanlab's (is_label_issue, label_quality, given_label, predicted_label) and image_id,
    path, suggested_label, rank and, where known, probability, probability_none and split. Labels are class
    names. `ranked_rows` holds row indices; the other rows follow in the table's order, without a rank. -1
    stands for no label, NaN for no score.

    In the CSV, a text that a spreadsheet could run as a formula gets an apostrophe before it. The Parquet
    file is exact.
    """
    n = len(table)
    order = np.asarray(ranked_rows, dtype=np.intp)
    if len(np.unique(order)) != len(order) or (order.size and (order.min() < 0 or order.max() >= n)):
        raise InputError(
            f"ranked_rows {order[:5].tolist()}... repeats a row, or has one outside 0..{n - 1}.",
            remedy="Rank each row once.",
        )
    rest = np.setdiff1d(np.arange(n), order)
    names = np.array([*table.class_names, None], dtype=object)
    predicted = _of_length(n, "predicted_labels", predicted_labels).astype(np.intp)
    suggested = predicted if suggested_labels is None else _of_length(n, "suggested_labels", suggested_labels)
    columns: dict[str, NDArray[Any]] = {
        "image_id": table.image_ids,
        "path": texts_of_paths(table.paths),
        "given_label": names[table.given_labels],
        "predicted_label": names[predicted],
        "suggested_label": names[suggested.astype(np.intp)],
        "is_label_issue": _of_length(n, "is_label_issue", is_label_issue).astype(bool),
        "label_quality": _of_length(n, "label_quality", label_quality).astype(np.float64),
    }
    for name, values in (("probability", probability), ("probability_none", probability_none)):
        if values is not None:
            columns[name] = _of_length(n, name, values).astype(np.float64)
    if table.splits is not None:
        columns["split"] = table.splits
    listed = {name: column[np.concatenate([order, rest])] for name, column in columns.items()}
    listed["rank"] = np.array([*range(1, len(order) + 1), *[None] * len(rest)], dtype=object)
    _write_both(Path(folder), listed)


def _of_length(num_rows: int, name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (num_rows,):
        raise InputError(
            f"{name} has shape {array.shape}, but the table has {num_rows} rows.",
            remedy="Give one entry for each row of the table.",
        )
    return array


def _write_both(folder: Path, columns: dict[str, NDArray[Any]]) -> None:
    import pyarrow as pa

    types = {"rank": pa.int64(), "is_label_issue": pa.bool_(), "label_quality": pa.float64()}
    types |= {"probability": pa.float64(), "probability_none": pa.float64()}
    arrays = {
        name: pa.array(values, types.get(name, pa.string()), from_pandas=True)
        for name, values in columns.items()
    }
    write_parquet(folder / "label_issues.parquet", arrays)
    ranks = [None if rank is None else str(rank) for rank in columns["rank"]]
    texts = {name: safe_cells(columns[name]) for name in columns if name not in types}
    write_csv_columns(folder / "label_issues.csv", columns | texts | {"rank": ranks})
