"""Our tables on disk: Parquet and CSV files that hold a table exactly."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import paths_of_texts, texts_of_paths
from kiyome.artifacts.storage import is_machine_failure, write_csv_columns, write_parquet, write_text
from kiyome.artifacts.table import ALL_BITS, UNKNOWN, Labels, Table
from kiyome.errors import InputError, StaleArtifact

CLASS_NAMES_KEY = b"kiyome.class_names"
"""Metadata key of our Parquet files for the class map as JSON: names in order, or name -> [label text]."""

DEEP_BITS_KEY = b"kiyome.deep_bits"
"""Metadata key of our Parquet files for `deep_bits`, where it is not 16."""


def write_table(table: Table, path: str | Path) -> None:
    """Write a CSV or Parquet file, by its ending; `read_table(path, images=table.root)` gives the same table.

    Labels are written as class names. A CSV cannot hold their order, nor a class without rows, so the class
    names are written beside it in `<stem>.classes.json`, with `label_texts` where they differ. Cells are
    exact: nothing is escaped for spreadsheets.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        write_text(path.with_suffix(".classes.json"), json.dumps(_class_map(table), ensure_ascii=False))
        write_csv_columns(path, _columns(table))
    elif path.suffix.lower() == ".parquet":
        write_parquet(path, _parquet_columns(table), _metadata(table))
    else:
        raise InputError(
            f"{path.name!r} ends neither in .csv nor in .parquet.", remedy="Choose such an ending."
        )


def load_table(path: str | Path) -> Table:
    """Return the table that `write_table` put into a Parquet file; its photo folder is that of the file.

    StaleArtifact where the file is not one of ours, or was changed.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> table = Table(root=folder, image_ids=["a", "b"], paths=["", ""], given_labels=[1, 0],
    ...               class_names=("cat", "dog"))
    >>> write_table(table, folder / "table.parquet")
    >>> load_table(folder / "table.parquet").content_digest == table.content_digest
    True
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        content = pq.read_table(path, page_checksum_verification=True)
        class_map = json.loads(content.schema.metadata[CLASS_NAMES_KEY])
        columns = {name: content[name].combine_chunks() for name in content.column_names}
        names = list(class_map)
        texts = [text for [text] in class_map.values()] if isinstance(class_map, dict) else names
        return Table(
            root=path.parent,
            image_ids=columns["image_id"].to_numpy(zero_copy_only=False),
            paths=paths_of_texts(columns["path"].to_numpy(zero_copy_only=False)),
            given_labels=_labels_of_names(columns["given_label"], names),
            labels=_labels_of_names(columns["label"], names),
            class_names=tuple(names),
            label_texts=tuple(texts),
            true_labels=_labels_of_names(columns["true_label"], names) if "true_label" in columns else None,
            weights=columns["weight"].to_numpy() if "weight" in columns else None,
            groups=columns["group"].to_numpy(zero_copy_only=False) if "group" in columns else None,
            folds=columns["fold"].to_numpy() if "fold" in columns else None,
            splits=columns["split"].to_numpy(zero_copy_only=False) if "split" in columns else None,
            deep_bits=int(content.schema.metadata.get(DEEP_BITS_KEY, ALL_BITS)),
        )
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        if is_machine_failure(error):
            raise
        raise StaleArtifact(
            f"{path} is no table that kiyome wrote ({error}).", remedy="Run the command again."
        ) from error


def _metadata(table: Table) -> dict[bytes, str]:
    metadata = {CLASS_NAMES_KEY: json.dumps(_class_map(table))}
    return metadata if table.deep_bits == ALL_BITS else metadata | {DEEP_BITS_KEY: str(table.deep_bits)}


def _labels_of_names(cells: Any, names: Sequence[str]) -> Labels:
    """Return the label of each cell with a class name; -1 for an empty cell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = pc.index_in(cells, pa.array(names, pa.string()))
    if labels.null_count > cells.null_count:
        raise ValueError(f"a class that is not among {', '.join(names[:5])}")
    found: Labels = labels.fill_null(UNKNOWN).to_numpy().astype(np.int32)
    return found


def _class_map(table: Table) -> Any:
    """Return the class names in order, each with its label text where the source wrote other texts."""
    if table.label_texts == table.class_names:
        return table.class_names
    return {name: [text] for name, text in zip(table.class_names, table.label_texts, strict=True)}


def _columns(table: Table) -> dict[str, NDArray[Any]]:
    """Return the columns as in a file: texts and class names, None where nothing is known."""
    names = np.array([*table.class_names, None], dtype=object)
    columns = {
        "image_id": table.image_ids,
        "path": texts_of_paths(table.paths),
        "given_label": names[table.given_labels],
        "label": names[table.labels],
    }
    if table.true_labels is not None:
        columns["true_label"] = names[table.true_labels]
    if table.weights is not None:
        columns["weight"] = table.weights
    if table.groups is not None:
        columns["group"] = table.groups
    if table.folds is not None:
        columns["fold"] = table.folds
    if table.splits is not None:
        columns["split"] = table.splits
    return columns


def _parquet_columns(table: Table) -> dict[str, Any]:
    import pyarrow as pa

    types = {"weight": pa.float32(), "fold": pa.int16()}
    return {name: pa.array(v, types.get(name, pa.string())) for name, v in _columns(table).items()}
