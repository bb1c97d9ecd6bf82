"""Predictions that come in blocks, as one memory-mapped array. N rows, K classes.

    with laid_out(read_blocks("oof.parquet")) as (labels, pred_probs):
        flagged = find_label_issues(labels, pred_probs)

Blocks can be read once only, and a mask needs some rows again. So they are written to a file of N x K
numbers, which is far faster to read than they were; memory holds the labels and a block.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kiyome.errors import InputError, choose
from kiyome.noise.arrays import Labels, Numbers, check_arrays

ROWS_A_BATCH = 2**16
PREFIX = "p_"  # of a column of probabilities


@contextmanager
def laid_out(
    blocks: Iterable[tuple[ArrayLike, ArrayLike]], *, folder: str | Path | None = None
) -> Iterator[tuple[Labels, Numbers]]:
    """Labels (N,) and memory-mapped pred_probs (N, K) of consecutive blocks, until the `with` block ends.

    Parameters
    ----------
    blocks
        Pairs (labels, pred_probs) of consecutive rows; any iterator, read once. The first block sets the type
        and the number of classes.
    folder
        Where the temporary file of N x K numbers goes; the system's own place by default.

    Raises
    ------
    InputError
        No block, blocks of different types or numbers of classes, or arrays that break a stated rule.

    Examples
    --------
    >>> with laid_out(([k], [[0.25, 0.75]]) for k in (0, 1, 1)) as (labels, pred_probs):
    ...     labels.tolist(), pred_probs.shape
    ([0, 1, 1], (3, 2))
    """
    with TemporaryDirectory(dir=folder, prefix="kiyome-") as temporary:
        path = Path(temporary) / "pred_probs"
        labels, kind = _write(blocks, path)
        yield labels, np.memmap(path, dtype=kind[1], mode="r", shape=(len(labels), kind[0]))


def _write(
    blocks: Iterable[tuple[ArrayLike, ArrayLike]], path: Path
) -> tuple[Labels, tuple[int, np.dtype[Any]]]:
    """Write the numbers of all blocks; labels, and how many classes of which type there are."""
    labels: list[Labels] = []
    kinds: set[tuple[int, np.dtype[Any]]] = set()
    num_rows = 0
    with path.open("wb") as file:
        for block in blocks:
            given, probs = check_arrays(*block, first_row=num_rows)
            kinds.add((probs.shape[1], probs.dtype))
            if len(kinds) > 1:
                break
            file.write(np.ascontiguousarray(probs).data)
            labels.append(given)
            num_rows += len(given)
    if len(kinds) != 1:
        raise InputError(
            "Blocks, at least one, agree in type and number of classes.",
            came=" and ".join(f"{classes} classes of {dtype}" for classes, dtype in kinds) or "no block",
            remedy="Pass parts of one array.",
        )
    return np.concatenate(labels), kinds.pop()


def read_blocks(
    path: str | Path, *, label_column: str = "label", prob_columns: Sequence[str] | None = None
) -> Iterator[tuple[Labels, Numbers]]:
    """Blocks (labels, pred_probs) of a Parquet, Arrow or Feather file, one batch of it in memory at a time.

    Parameters
    ----------
    path
        The file. A name ending in ``.parquet`` says Parquet, any other Arrow.
    label_column
        Given labels: whole numbers, or the names of classes.
    prob_columns
        One column a class, in class order; by default all whose name begins with ``p_``, in the file's order.
        What follows the prefix is the class's name.

    Raises
    ------
    InputError
        Missing columns, or a label that names no class.
    """
    schema, batches = _open_table(Path(path))
    columns = list(prob_columns or [name for name in schema.names if name.startswith(PREFIX)])
    missing = [name for name in (label_column, *columns) if name not in schema.names]
    if missing or not columns:
        raise InputError(
            f"The file has a column {label_column!r} and one column of probabilities a class.",
            came=f"columns {', '.join(map(repr, schema.names))}",
            remedy="Name them by label_column= and prob_columns=.",
        )
    numbers = {name.removeprefix(PREFIX): k for k, name in enumerate(columns)}
    for batch in batches:
        probs = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in columns])
        yield number_labels(batch.column(label_column), numbers), probs


def _open_table(path: Path) -> tuple[Any, Iterator[Any]]:
    """A schema and batches."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            table = pq.ParquetFile(path)
            return table.schema_arrow, table.iter_batches(batch_size=ROWS_A_BATCH)
        file = pa.ipc.open_file(pa.memory_map(str(path)))
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            "The predictions are a whole Parquet or Arrow file.",
            came=f"{path.name}: {error}",
            remedy="Check the path, and write the file again if it is torn.",
        ) from error
    return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))


def number_labels(column: Any, numbers: dict[str, int]) -> Any:
    """Labels of an Arrow array as they are, or names as numbers."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return column.to_numpy(zero_copy_only=False)
    names = column.to_pylist()
    for name in dict.fromkeys(names):
        choose("label", name, numbers)  # a column of probabilities, without its prefix
    return np.array([numbers[name] for name in names])
