"""A CSV, JSON Lines or Parquet file, read as columns of text exactly as written.

Nothing is guessed: `001` stays `001`, `NA` stays `NA`, `1e5` stays `1e5`. A cell without content is "". A
file whose cells would be shifted, joined or lost is an error that names the line.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kiyome.artifacts.escapes import texts_of_cells
from kiyome.artifacts.storage import open_regular
from kiyome.artifacts.table import TRAIN
from kiyome.artifacts.table_files import CLASS_NAMES_KEY
from kiyome.errors import TableError
from kiyome.reading.columns import ParquetColumns, Records, some
from kiyome.reading.json_tables import json_records
from kiyome.reading.photos import HEAD_BYTES, has_photo_suffix, parquet_files, suffix_of_photo
from kiyome.reading.splits import split_of_name

DELIMITERS = ",;\t|"

LONGEST_LINE = 1 << 24
"""Bytes; even a header of a million classes has fewer."""

MOST_BYTES = 1 << 32
"""Of a compressed file, which can hold any number in a few bytes."""

MOST_ROWS = 1 << 26
"""Limit for Parquet files, which can claim any number in a few bytes."""

COUNTED = 4
"""Lines that tell numbers of lines from labels."""

INDEX = "index"
"""The column of numbers in a list of photos without a header, of which each has the next one."""

SNIFFED_ROWS = 32
"""Cells of a binary column that are read to tell photos from text."""


def read_records(path: Path) -> Records:
    """Return the columns of a file of rows, read by its ending; TableError names the line and the remedy."""
    name = path.name.lower()
    reader = next((each for ending, each in READERS.items() if name.endswith(ending)), None)
    if path.is_dir():
        reader = _read_parquet
    if reader is None:
        raise TableError(
            f"{path} does not end like a table.",
            expected=f"Expected {', '.join(READERS)}.",
            remedy="Save it as CSV.",
        )
    try:
        return reader(path)
    except OSError as error:
        raise TableError(
            f"{path} cannot be opened: {error.strerror or error}.",
            remedy="Check the path and its permissions.",
        ) from error


def _decoded(path: Path) -> str:
    """Return the file's text: UTF-8 with or without a byte order mark, or UTF-16 with one."""
    if path.name.endswith(".gz"):
        raw = _decompressed(path)
    else:
        _refuse_endless_line(path)
        raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path.name} is not UTF-8: byte {raw[error.start]:#04x} in line {_line_of(raw, error.start)}.",
            remedy="Save it as UTF-8 (spreadsheets call it 'CSV UTF-8').",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableError(
            f"{path.name} holds a NUL character in line {line}.",
            remedy="It may be UTF-16, or damaged: save it as UTF-8.",
        )
    return text


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, decoded as a table is."""
    return _decoded(path).splitlines()


def _decompressed(path: Path) -> bytes:
    """Return the content of a .gz file, within a limit."""
    try:
        with gzip.open(path) as file:
            raw = file.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(f"{path.name} is no whole .gz file: {error}.", remedy="Copy it again.") from error
    if len(raw) > MOST_BYTES:
        raise TableError(
            f"{path.name} holds more than {MOST_BYTES >> 20} MiB.",
            remedy="Unpack it, or work on it in parts.",
        )
    return raw


def _refuse_endless_line(path: Path) -> None:
    """Raise TableError for a line too long for a row of a table, before it is in memory."""
    line = 1
    with open_regular(path) as file:
        while len(block := file.read(LONGEST_LINE)) == LONGEST_LINE:
            if b"\n" not in block and b"\r" not in block:
                raise TableError(
                    f"Line {line} of {path.name} has more than {LONGEST_LINE:,} bytes.",
                    remedy="Check that it is the right file.",
                )
            line += block.count(b"\n")


def _line_of(raw: bytes, position: int) -> int:
    return raw.count(b"\n", 0, position) + 1


def _read_csv(path: Path) -> Records:
    text = re.sub(r"\Asep=.\r?\n", "\n", _decoded(path))  # a line for spreadsheets
    if path.suffix.lower() == ".txt" and not any(mark in _head(text) for mark in DELIMITERS):
        text = re.sub(r"(?m)^ +| +(?=\r?$)", "", re.sub(r" {2,}", " ", text)).replace(" ", "\t")
    header = _missing_header(text, path)
    text = f"{header}{text}"
    records = _read_plain_csv(text, path) or _read_quoted_csv(text, path)
    if header:
        return replace(records, row_numbers=[number - 1 for number in records.row_numbers])
    return records


def _missing_header(text: str, path: Path) -> str:
    """Return a line of column names for a file whose first line names a photo; else an empty text."""
    delimiter = _delimiter(text, path)
    cells = _cells(_head(text), delimiter)
    photo = next((number for number, cell in enumerate(cells) if has_photo_suffix(cell)), None)
    if photo is None and len(cells) == 1 and re.fullmatch(r"[\w.-]+/[\w./-]+", cells[0]):
        photo = 0  # a list of names without endings
    if photo is None:
        return ""
    names = ["label"] * len(cells) if len(cells) == 2 else [f"column {n + 1}" for n in range(len(cells))]
    if len(cells) == 2 and _counts_up(text, delimiter, 1 - photo):
        names = [INDEX] * 2
    names[photo] = "file_name"
    return f"{delimiter.join(names)}\n"


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _counts_up(text: str, delimiter: str, column: int) -> bool:
    """Return whether the first cells of a column are 1, 2, 3 ..., which number the lines."""
    lines = text.lstrip("\r\n")[:LONGEST_LINE].split("\n", COUNTED + 1)[:COUNTED]
    found = [cells[column] for line in lines if len(cells := _cells(line, delimiter)) == 2]
    return found == [str(number) for number in range(1, COUNTED + 1)]


def _head(text: str) -> str:
    return re.split(r"[\r\n]", text.lstrip("\r\n")[:LONGEST_LINE], maxsplit=1)[0]


def _read_plain_csv(text: str, path: Path) -> Records | None:
    """Return the records of a CSV without quotes, fast; None where cells may not end at each comma."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    head, end, _ = text.partition("\n")
    delimiter = _delimiter(text, path)
    is_plain = not any(mark in text for mark in ('"', "\n\n", "\n\r\n")) and bool(head.strip())
    if not is_plain or text.count("\r") != text.count("\r\n") or delimiter not in head or not end:
        return None
    header = _header(head.removesuffix("\r").split(delimiter), path)
    numbers = [str(number) for number in range(len(header))]
    try:
        content = arrow_csv.read_csv(
            pa.py_buffer(text.encode()),
            arrow_csv.ReadOptions(column_names=numbers, skip_rows=1),
            arrow_csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException:
        return None  # the line reader finds the faulty line
    columns = [content[number].to_pylist() for number in numbers]
    return _csv_records(header, columns, range(2, content.num_rows + 2), path, escaped="'" in text)


def _read_quoted_csv(text: str, path: Path) -> Records:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, path), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    row_numbers: list[int] = []
    begin = 1
    try:
        for cells in reader:
            if not header:
                header = _header(cells, path)
            elif cells:
                _check_width(cells, header, path, begin)
                rows.append(cells)
                row_numbers.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise TableError(
            f"{path.name} cannot be split into cells from line {begin} on: {error}.",
            expected="Quotation marks must be closed, and doubled inside a cell; a cell has at most"
            f" {csv.field_size_limit():,} characters.",
            remedy="Correct the quotation marks of that line.",
        ) from error
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in header]
    return _csv_records(header, columns, row_numbers, path, escaped=True)


def _csv_records(
    header: list[str], columns: list[list[str]], row_numbers: Sequence[int], path: Path, *, escaped: bool
) -> Records:
    """Return the records of a CSV, some cells of which may be escaped for spreadsheets."""
    is_ours = path.with_suffix(".classes.json").is_file()
    if escaped and not is_ours:  # ours are exact
        columns = [texts_of_cells(column) for column in columns]
    named = {name: column for name, column in zip(header, columns, strict=True) if name}
    return Records(source=path, columns=named, row_numbers=row_numbers, class_names={}, is_ours=is_ours)


def _delimiter(text: str, path: Path) -> str:
    """Return the comma, unless the header has more of another delimiter."""
    head = _head(text)
    if not head.strip():
        raise TableError(
            f"{path.name} has no content.",
            expected="Expected a line of column names first.",
            remedy="Check that it is the right file.",
        )
    return max(DELIMITERS, key=head.count)


def _header(cells: list[str], path: Path) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(set(header)) < len(header) and all(cell.isdecimal() for cell in header[1:]):
        raise TableError(
            f"{path.name} begins with {some(header)}, which looks like a row.",
            expected="Expected a line of column names.",
            remedy="Add such a line, such as image_id,label.",
        )
    _check_twice(filter(None, header), "columns", path.name)
    return header


def _check_twice(names: Iterable[str], kind: str, where: str) -> None:
    counts = Counter(names)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise TableError(f"{where} has {counts[twice[0]]} {kind} {twice[0]!r}.", remedy="Keep one.")


def _check_width(cells: list[str], header: list[str], path: Path, line: int) -> None:
    if len(cells) != len(header):
        raise TableError(
            f"Line {line} of {path.name} has {len(cells)} cells, the header has {len(header)}.",
            remedy="Put cells that hold a comma in quotation marks, and fill up short lines.",
        )


def _read_json_lines(path: Path) -> Records:
    objects: list[dict[str, Any]] = []
    row_numbers: list[int] = []
    for line, text in enumerate(_decoded(path).split("\n"), start=1):
        if text.strip():
            objects.append(_json_object(text, path, line))
            row_numbers.append(line)
    names = list(dict.fromkeys(name for entry in objects for name in entry))
    nested = {n for entry in objects for n, value in entry.items() if isinstance(value, list | dict)}
    columns = {name: [_json_text(entry.get(name)) for entry in objects] for name in names}
    return Records(
        source=path, columns=columns, row_numbers=row_numbers, nested=frozenset(nested), class_names={}
    )


def _json_object(text: str, path: Path, line: int) -> dict[str, Any]:
    """Return the object of one line; numbers stay text as written."""

    def check_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_twice((key for key, _ in pairs), "keys", f"The object in line {line} of {path.name}")
        return dict(pairs)

    try:
        entry = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=check_keys
        )
    except (json.JSONDecodeError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise TableError(
            f"Line {line} of {path.name} is no JSON object: {text[:40]!r}.", remedy="Write one object a line."
        )
    return entry


def _json_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def _read_parquet(path: Path) -> Records:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        files = [pq.ParquetFile(each, page_checksum_verification=True) for each in parquet_files(path)]
        file, schema = files[0], files[0].schema_arrow
        _check_twice(schema.names, "columns", path.name)
        photos = next((field.name for field in schema if _holds_photos(file, field)), None)
        nested = frozenset(field.name for field in schema if pa.types.is_nested(field.type)) - {photos}
        plain = [field.name for field in schema if field.name not in nested and field.name != photos]
        num_rows = sum(each.metadata.num_rows for each in files)
        _check_rows(num_rows, path)
        parts = [each.read(columns=[n for n in plain if n in each.schema_arrow.names]) for each in files]
        content = pa.concat_tables(parts, promote_options="default")
        content.validate(full=True)
        if len(files) > 1 and "split" not in schema.names:
            content = content.append_column("split", pa.array(_splits_of_shards(path, files)))
    except pa.ArrowException as error:
        raise TableError(
            f"{path.name} is no whole Parquet file: {str(error).splitlines()[0]}.",
            remedy="Copy or write it again.",
        ) from error
    class_names = _names_in_metadata(schema.metadata or {})
    return Records(
        source=path,
        columns=ParquetColumns(content, nested),
        row_numbers=range(1, num_rows + 1),
        unit="row",
        nested=nested,
        photo_column=photos,
        class_names=class_names,
        is_ours="" in class_names,
    )


def _splits_of_shards(path: Path, files: Sequence[Any]) -> list[str]:
    """Return the split of each row by the name of its shard; `train` where none is named for training."""
    named = [split_of_name(each.stem) for each in parquet_files(path)]
    splits = [split or TRAIN for split in named] if TRAIN in named else [TRAIN] * len(files)
    rows = [each.metadata.num_rows for each in files]
    return [split for split, num_rows in zip(splits, rows, strict=True) for _ in range(num_rows)]


def _check_rows(num_rows: int, path: Path) -> None:
    if num_rows > MOST_ROWS:
        raise TableError(
            f"{path.name} has {num_rows:,} rows, more than {MOST_ROWS:,}.",
            remedy="Check that it is the right file, or work on it in parts.",
        )


def _holds_photos(file: Any, field: Any) -> bool:
    """Whether a column is Hugging Face's `Image` struct of bytes and path, or bytes that look like photos."""
    import pyarrow as pa

    if pa.types.is_struct(field.type):
        return any(field.type.field(i).name == "bytes" for i in range(field.type.num_fields))
    if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)):
        return False
    first = next(file.iter_batches(batch_size=SNIFFED_ROWS, columns=[field.name]), None)
    cells = first.column(0).to_pylist() if first is not None else []
    return any(suffix_of_photo(cell[:HEAD_BYTES]) for cell in cells if cell)


def _names_in_metadata(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """Return class names in a Parquet file: ours, or those of Hugging Face's `ClassLabel` features."""
    try:
        if CLASS_NAMES_KEY in metadata:
            return {"": json.loads(metadata[CLASS_NAMES_KEY])}
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return {name: tuple(f["names"]) for name, f in features.items() if "names" in f}
    except (ValueError, TypeError, AttributeError):
        return {}


READERS: dict[str, Callable[[Path], Records]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": lambda path: json_records(path, _decoded(path)),
    ".parquet": _read_parquet,
}
