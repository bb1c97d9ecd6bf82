"""Predictions in files: a table in many files, or in one of another format. N rows, K classes.

    files ── parts of rows, by their headers ── executor: read, check, top classes ── merge ── mask

A part is sent to a worker as file and rows, never as numbers. What comes back is of order N: three top
classes of each row (15 bytes at float32).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike

from kiyome.checks import Labels, Mask, Numbers, check_arrays, check_one_kind
from kiyome.errors import InputError, choose
from kiyome.executors import HERE, Executor, in_order
from kiyome.noise.adaptive import ADAPTIVE
from kiyome.noise.label_issues import check_method, flag_adaptive, flag_by_table
from kiyome.noise.pruning import Chunks
from kiyome.noise.top_classes import TopClasses, merge_sampled, read_sampled, read_top_classes

ROWS_A_BATCH = 2**16
PREFIX = "p_"  # of a column of probabilities


@contextmanager
def as_memmap(
    blocks: Iterable[tuple[ArrayLike, ArrayLike]], *, folder: str | Path | None = None
) -> Iterator[tuple[Labels, Numbers]]:
    """Return labels (N,) and memory-mapped pred_probs (N, K) of consecutive blocks, inside a `with` block.

    Parameters
    ----------
    blocks
        Pairs (labels, pred_probs) of consecutive rows; any iterator, read once. The first block sets the type
        and the number of classes.
    folder
        Where the temporary file of N x K numbers goes; the system's temporary folder by default.

    Raises
    ------
    InputError
        No block, blocks of different types or numbers of classes, or unsuitable arrays.

    Examples
    --------
    >>> with as_memmap(([k], [[0.25, 0.75]]) for k in (0, 1, 1)) as (labels, pred_probs):
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
    """Write the numbers of all blocks; return labels, and the number of classes and type of the numbers."""
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
    check_one_kind([(num_classes, str(dtype)) for num_classes, dtype in kinds])
    return np.concatenate(labels), kinds.pop()


def read_blocks(
    path: str | Path, *, label_column: str = "label", prob_columns: Sequence[str] | None = None
) -> Iterator[tuple[Labels, Numbers]]:
    """Yield blocks (labels, pred_probs) of a Parquet, Arrow or Feather file, one batch in memory at a time.

    Parameters
    ----------
    path
        The file. A name that ends in ``.parquet`` means Parquet, any other Arrow.
    label_column
        Given labels: whole numbers, or class names.
    prob_columns
        One column a class, in class order; by default all whose name begins with ``p_``, in the file's order.
        The rest of the name is the class name.

    Raises
    ------
    InputError
        Missing columns, or a label without a class.
    """
    schema, batches = _open_table(Path(path))
    columns = list(prob_columns or [name for name in schema.names if name.startswith(PREFIX)])
    missing = [name for name in (label_column, *columns) if name not in schema.names]
    if missing or not columns:
        raise InputError(
            f"{Path(path).name} has the columns {', '.join(map(repr, schema.names))}.",
            expected=f"Expected a column {label_column!r} and one column of probabilities a class.",
            remedy="Name them by label_column= and prob_columns=.",
        )
    numbers = {name.removeprefix(PREFIX): k for k, name in enumerate(columns)}
    for batch in batches:
        probs = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in columns])
        yield number_labels(batch.column(label_column), numbers), probs


def _open_table(path: Path) -> tuple[Any, Iterator[Any]]:
    """Return schema and batches of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            table = pq.ParquetFile(path)
            return table.schema_arrow, table.iter_batches(batch_size=ROWS_A_BATCH)
        file = pa.ipc.open_file(pa.memory_map(str(path)))
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path.name} cannot be read: {error}.",
            expected="Expected a whole Parquet or Arrow file.",
            remedy="Check the path, and write the file again if it is damaged.",
        ) from error
    return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))


def number_labels(column: Any, numbers: dict[str, int]) -> Any:
    """Return the labels of an Arrow array; class names as numbers."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return column.to_numpy(zero_copy_only=False)
    names = column.to_pylist()
    for name in dict.fromkeys(names):
        choose("label", name, numbers)  # a column of probabilities, without its prefix
    return np.array([numbers[name] for name in names])


PART_ENTRIES = 2**24
"""Probabilities of a part, which one process has in memory: 64 MB at float32."""
LABEL = "label"
"""The label column of Parquet files, as in `oof.parquet`."""

Files = Sequence[str | PathLike[str]]


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """Consecutive rows of one file."""

    path: str
    first: int
    """The first row, or the first row group of a Parquet file."""
    stop: int
    """One after the last."""
    num_rows: int
    labels: str | None = None
    """The file of their labels, with the same rows; None for Parquet, which has them in a column."""

    def read(self) -> tuple[Numbers, Numbers]:
        """Return labels (n,) and pred_probs (n, K), unchecked."""
        if self.labels is None:
            return _read_row_groups(self)
        rows = slice(self.first, self.stop)
        return _read_npy(self.labels, rows), _read_npy(self.path, rows)

    def pred_probs(self) -> Numbers:
        """Return pred_probs (n, K) only."""
        return self.read()[1] if self.labels is None else _read_npy(self.path, slice(self.first, self.stop))


def find_label_issues_in_files(
    pred_probs: Files,
    labels: Files | None = None,
    *,
    method: str = "adaptive",
    precision: float | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
    executor: Executor = HERE,
) -> Mask:
    """Return the mask (N,) of a table in many files; bit for bit as `find_label_issues` of all at once.

    Parameters
    ----------
    pred_probs
        Files of consecutive rows, in the table's order: ``.npy`` (n, K), or Parquet with a column ``p_CLASS``
        for each class and a column ``label`` of class names or numbers. Paths, or URLs that fsspec supports.
    labels
        For ``.npy``: as many files, with the labels (n,) of the same rows. None for Parquet.
    method, precision, frac_noise, min_examples_per_class
        As for `kiyome.find_label_issues`.
    executor
        The processes that read the files; all must have access to them.

    Raises
    ------
    InputError
        As `kiyome.find_label_issues`, with the row's number in the whole table; files that cannot be read, or
        do not fit each other.

    Notes
    -----
    In memory: a part of rows in each worker, and about 40 bytes a row here. The executor does the one read
    that "adaptive" needs; other methods read some rows again, in this process.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "labels-0.npy", [0, 0, 1])
    >>> np.save(folder / "probs-0.npy", [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    >>> np.save(folder / "labels-1.npy", [1, 1])
    >>> np.save(folder / "probs-1.npy", [[0.2, 0.8], [0.95, 0.05]])
    >>> find_label_issues_in_files(sorted(folder.glob("probs-*")), sorted(folder.glob("labels-*")))
    array([False, False, False, False,  True])
    """
    check_method(method, precision, frac_noise, min_examples_per_class)
    parts, first_rows = _parts_of_table(pred_probs, labels)
    run = in_order(executor)
    if method == ADAPTIVE:
        return flag_adaptive(
            merge_sampled(run(partial(_read_with, read_sampled), parts, first_rows)), precision
        )
    table = Chunks(
        parts=tuple(run(partial(_read_with, read_top_classes), parts, first_rows)),
        pred_probs=parts,
        first_rows=first_rows,
        run=_map_with_probs,  # a few rows are read again: not worth new workers
    )
    return flag_by_table(table, method, frac_noise, min_examples_per_class)


def _parts_of_table(
    pred_probs: Files, labels: Files | None
) -> tuple[tuple[StoredRows, ...], tuple[int, ...]]:
    """Return all parts, and the first row of each in the table."""
    if labels is not None and len(labels) != len(pred_probs):
        raise InputError(
            f"There are {len(labels)} files of labels and {len(pred_probs)} files of pred_probs.",
            expected="Expected one file of labels for each file of pred_probs.",
            remedy="Pass them in the same order; Parquet files contain their labels.",
        )
    paths = [fspath(path) for path in pred_probs]
    label_paths = [None] * len(paths) if labels is None else [fspath(path) for path in labels]
    parts, kinds = [], []
    for path, label_path in zip(paths, label_paths, strict=True):
        more, kind = _parts_of_parquet(path) if label_path is None else _parts_of_npy(path, label_path)
        parts += more
        kinds.append(kind)
    check_one_kind(kinds)
    return tuple(parts), tuple(accumulate((part.num_rows for part in parts[:-1]), initial=0))


def _read_with(read: Callable[..., TopClasses], part: StoredRows, first_row: int) -> TopClasses:
    """Return the top classes of a part's rows, in the worker that reads them."""
    labels, pred_probs = part.read()
    return read(*check_arrays(labels, pred_probs, first_row=first_row), first_row)


def _map_with_probs(function: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
    """Yield as `map`, each part replaced by its probabilities."""
    for arguments in zip(*items, strict=False):
        yield function(*(each.pred_probs() if isinstance(each, StoredRows) else each for each in arguments))


def _parts_of_npy(path: str, labels: str) -> tuple[list[StoredRows], tuple[int, str]]:
    shape, dtype, _ = _npy_header(path)
    label_shape, _, _ = _npy_header(labels)
    if len(shape) != 2 or label_shape != shape[:1]:
        raise InputError(
            f"pred_probs of {path} have shape {shape}, the labels of {labels} have {label_shape}.",
            expected="Expected (n, K) and (n,).",
            remedy="Pass files of the same rows.",
        )
    step = max(1, PART_ENTRIES // max(1, shape[1]))
    return [
        StoredRows(path=path, first=first, stop=stop, num_rows=stop - first, labels=labels)
        for first in range(0, shape[0], step)
        for stop in [min(first + step, shape[0])]
    ], (shape[1], str(dtype))


def _parts_of_parquet(path: str) -> tuple[list[StoredRows], tuple[int, str]]:
    """Return parts of whole row groups, as many as fit into one, at least one."""
    with _parquet(path) as file:
        classes = _class_columns(file, path)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        dtype = str(np.dtype(file.schema_arrow.field(classes[0]).type.to_pandas_dtype()))
    parts: list[StoredRows] = []
    first = rows = 0
    for group, size in enumerate(sizes, start=1):
        rows += size
        if group == len(sizes) or (rows + sizes[group]) * len(classes) > PART_ENTRIES:
            parts.append(StoredRows(path=path, first=first, stop=group, num_rows=rows))
            first, rows = group, 0
    return parts, (len(classes), dtype)


def _read_row_groups(part: StoredRows) -> tuple[Numbers, Numbers]:
    with _parquet(part.path) as file:
        classes = _class_columns(file, part.path)
        read = file.read_row_groups(range(part.first, part.stop), columns=[LABEL, *classes])
    numbers = {name.removeprefix(PREFIX): number for number, name in enumerate(classes)}
    given = number_labels(read.column(LABEL).combine_chunks(), numbers)
    return given, np.stack([read.column(name).to_numpy() for name in classes], axis=1)


def _class_columns(file: Any, path: str) -> list[str]:
    names = file.schema_arrow.names
    classes = [name for name in names if name.startswith(PREFIX)]
    if LABEL not in names or len(classes) < 2:
        raise InputError(
            f"{path} has the columns {', '.join(map(repr, names[:8]))}.",
            expected="Expected a column label, and a column p_CLASS for each class, at least two.",
            remedy="Rename them; .npy files come with files of labels.",
        )
    return classes


@contextmanager
def _parquet(path: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(path) as file:
        try:
            opened = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise _unreadable(path, error) from error
        yield opened


def _npy_header(path: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and type of an array in a file, and the offset of its numbers."""
    with _opened(path) as file:
        try:
            is_first = npy.read_magic(file) == (1, 0)
            read = npy.read_array_header_1_0 if is_first else npy.read_array_header_2_0
            shape, is_fortran, dtype = read(file)
        except ValueError as error:
            raise _unreadable(path, error) from error
        if is_fortran or dtype.hasobject:
            raise _unreadable(path, f"columns first, or of type {dtype}")
        return shape, dtype, file.tell()


def _read_npy(path: str, rows: slice) -> Numbers:
    shape, dtype, begin = _npy_header(path)
    row = int(np.prod(shape[1:])) * dtype.itemsize
    with _opened(path) as file:
        file.seek(begin + rows.start * row)
        content = file.read((rows.stop - rows.start) * row)
    if len(content) < (rows.stop - rows.start) * row:
        raise _unreadable(path, "cut off")
    return np.frombuffer(content, dtype).reshape(-1, *shape[1:])


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a local file, or one behind a URL where fsspec is installed."""
    try:
        if "://" in path:
            import fsspec

            with fsspec.open(path, "rb") as file:
                yield file
        else:
            with Path(path).open("rb") as file:
                yield file
    except ImportError as error:
        raise InputError(
            f"{path} is a URL, and a package that reads it is missing: {error}.",
            remedy="Run: pip install fsspec, and the package that this kind of URL needs.",
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, why: object) -> InputError:
    return InputError(
        f"{path} cannot be read: {why}.",
        expected="Expected a whole .npy file, rows first, or Parquet.",
        remedy="Write it again.",
    )
