"""Features of the user, from elsewhere: one row of numbers for each row of the table. N rows."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import map_array
from kiyome.artifacts.table import Table
from kiyome.errors import InputError
from kiyome.reading.names import match_names
from kiyome.reading.npz import npz_arrays

Features = NDArray[np.floating[Any]]


def read_features(path: Path | str, table: Table) -> tuple[Features, list[str]]:
    """Return the (N, D) features in a .npy or .npz file in the order of the table, and notes.

    An array of texts beside them in .npz that holds the ids of all rows says which row is whose; without
    it, and in .npy, they are in the order of the table. InputError where they are no such array.
    """
    path, num_rows = Path(path), len(table)
    notes: list[str] = []
    if path.suffix.lower() == ".npz":
        features, notes = _matched(path, npz_arrays(path), table)
    else:
        features = _mapped(path)
    if features.ndim != 2 or features.dtype.kind != "f" or not features.shape[1]:
        raise InputError(
            f"{path} holds {features.dtype} of shape {features.shape}.",
            expected="Expected floating-point numbers of shape (rows, features).",
            remedy="Save one row of numbers for each row of the table.",
        )
    if len(features) != num_rows:
        raise InputError(
            f"{path} has {len(features):,} rows, but the table has {num_rows:,}.",
            expected="Expected one row for each row of the table, in its order.",
            remedy="Compute the features of exactly these rows.",
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise InputError(
            f"{path} has NaN or infinity in {bad.size:,} of {num_rows:,} rows, such as row {bad[0]}.",
            remedy="Compute them again, or leave these rows out of the table and of the features.",
        )
    return features, notes


def _mapped(path: Path) -> Features:
    try:
        return map_array(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as features ({error}).", remedy="Save them with numpy.save as .npy."
        ) from error


def _matched(path: Path, arrays: dict[str, NDArray[Any]], table: Table) -> tuple[Features, list[str]]:
    """The only array of numbers (M, D) among those of a file, by the ids beside it if there are any."""
    tables = {name: array for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind == "f"}
    if len(tables) != 1:
        shown = ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items())
        raise InputError(
            f"{path} holds {len(tables)} arrays of features: {shown or 'no array'}.",
            expected="Expected one array of floating-point numbers of shape (rows, features).",
            remedy="Save just that one, with numpy.save or numpy.savez.",
        )
    [(name, features)] = tables.items()
    for other, texts in arrays.items():
        is_id = texts.shape == (len(features),) and texts.dtype.kind in "US"
        if not is_id or len(np.unique(texts)) < len(texts):
            continue
        names = [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in texts]
        rows = match_names(table.image_ids.tolist(), names).rows
        if (rows >= 0).all() and len(set(rows.tolist())) == len(table):
            note = f"Rows of {name!r} in {path.name} belong to the ids in {other!r}."
            more = len(features) - len(table)
            return features[rows], [note + f" {more:,} further ones were left out." * bool(more)]
        if (rows >= 0).any():
            missing = table.image_ids[np.flatnonzero(rows < 0)].tolist() or ["..."]
            raise InputError(
                f"{path} has no features of {len(missing):,} of {len(table):,} rows by {other!r}, such as"
                f" {missing[0]!r}.",
                expected="Expected the id of each row of the table once.",
                remedy="Compute the features of all rows.",
            )
    return features, []
