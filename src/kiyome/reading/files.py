"""A CSV, JSON Lines or Parquet file as columns of text, exactly as written.

Nothing is guessed: `001` stays `001`, `NA` stays `NA`, `1e5` stays `1e5`. A cell without content is "".
What would shift, join or lose cells is an error that names the line.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kiyome.artifacts.escapes import texts_of_cells
from kiyome.artifacts.storage import open_regular
from kiyome.artifacts.table import CLASS_NAMES_KEY
from kiyome.errors import TableError
from kiyome.reading.columns import ParquetColumns, Records
from kiyome.reading.photos import suffix_of_photo

LONGEST_LINE = 1 << 24
"""Bytes; even a header of a million classes has fewer."""

MOST_ROWS = 1 << 26
"""Of a Parquet file, which can claim any number in a few bytes."""

SNIFFED_ROWS = 32
"""So many cells of a binary column are looked at to tell photos from text."""


def read_records(path: Path) -> Records:
    """Read a file of rows by its ending.

    Raises
    ------
    TableError
        When it cannot be read, with the line and what to do.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise TableError(
            f"A table is a file of the kind {', '.join(READERS)}.", came=str(path), remedy="Save it as CSV."
        )
    try:
        return reader(path)
    except OSError as error:
        raise TableError(
            "The table can be opened.",
            came=f"{path}: {error.strerror or error}",
            remedy="Check the path and its permissions.",
        ) from error


def _decoded(path: Path) -> str:
    """The file's text: UTF-8 with or without a mark, or UTF-16 with one."""
    _refuse_endless_line(path)
    raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(
            "A table is UTF-8 text.",
            came=f"byte {raw[error.start]:#04x} in {path.name}, line {_line_of(raw, error.start)}",
            remedy="Save it as UTF-8 (spreadsheets call it 'CSV UTF-8').",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableError(
            "A table holds no NUL characters.",
            came=f"one in {path.name}, line {line}",
            remedy="It may be UTF-16, or damaged: save it as UTF-8.",
        )
    return text


def _refuse_endless_line(path: Path) -> None:
    """Refuse a file with a line that is no row of a table, before it is in memory."""
    line = 1
    with open_regular(path) as file:
        while len(block := file.read(LONGEST_LINE)) == LONGEST_LINE:
            if b"\n" not in block and b"\r" not in block:
                raise TableError(
                    f"Lines of a table have at most {LONGEST_LINE:,} bytes.",
                    came=f"more in {path.name}, line {line}",
                    remedy="Check that it is the right file.",
                )
            line += block.count(b"\n")


def _line_of(raw: bytes, position: int) -> int:
    return raw.count(b"\n", 0, position) + 1


def _read_csv(path: Path) -> Records:
    text = _decoded(path)
    return _read_plain_csv(text, path) or _read_quoted_csv(text, path)


def _read_plain_csv(text: str, path: Path) -> Records | None:
    """Read a CSV at once whose cells end where commas and lines do; None where that is not sure."""
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
        return None  # a line of another width, say: the reader of lines tells which
    columns = [content[number].to_pylist() for number in numbers]
    return _csv_records(header, columns, range(2, content.num_rows + 2), path, marked="'" in text)


def _read_quoted_csv(text: str, path: Path) -> Records:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, path), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    places: list[int] = []
    begin = 1
    try:
        for cells in reader:
            if not header:
                header = _header(cells, path)
            elif cells:
                _check_width(cells, header, path, begin)
                rows.append(cells)
                places.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise TableError(
            "Quotation marks in a CSV are closed, and doubled inside a cell; a cell has at most "
            f"{csv.field_size_limit():,} characters.",
            came=f"{error} in {path.name}, from line {begin} on",
            remedy="Correct the quotation marks of that line.",
        ) from error
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in header]
    return _csv_records(header, columns, places, path, marked=True)


def _csv_records(
    header: list[str], columns: list[list[str]], places: Sequence[int], path: Path, *, marked: bool
) -> Records:
    """The records of a CSV, some cells of which may be marked against spreadsheets."""
    if marked and not path.with_suffix(".classes.json").is_file():  # ours, and exact
        columns = [texts_of_cells(column) for column in columns]
    named = {name: column for name, column in zip(header, columns, strict=True) if name}
    return Records(source=path, columns=named, places=places, class_names={})


def _delimiter(text: str, path: Path) -> str:
    """Comma, unless the header has more semicolons or tabs."""
    head = text.lstrip("\r\n").split("\n", 1)[0]
    if not head.strip():
        raise TableError(
            "A table begins with a line of column names.",
            came=f"{path.name} without content",
            remedy="Check that it is the right file.",
        )
    return max(",;\t", key=head.count)


def _header(cells: list[str], path: Path) -> list[str]:
    header = [cell.strip() for cell in cells]
    _check_twice(Counter(name for name in header if name), "Column names differ.", path.name)
    return header


def _check_twice(counts: Counter[str], must: str, where: str) -> None:
    if twice := [name for name, count in counts.items() if count > 1]:
        raise TableError(must, came=f"{twice[0]!r} {counts[twice[0]]} times in {where}", remedy="Keep one.")


def _check_width(cells: list[str], header: list[str], path: Path, line: int) -> None:
    if len(cells) != len(header):
        raise TableError(
            f"Every line has {len(header)} cells, like the header.",
            came=f"{len(cells)} in {path.name}, line {line}",
            remedy="Put cells that hold a comma in quotation marks, and fill up short lines.",
        )


def _read_json_lines(path: Path) -> Records:
    objects: list[dict[str, Any]] = []
    places: list[int] = []
    for line, text in enumerate(_decoded(path).split("\n"), start=1):
        if text.strip():
            objects.append(_json_object(text, path, line))
            places.append(line)
    names = list(dict.fromkeys(name for entry in objects for name in entry))
    nested = {n for entry in objects for n, value in entry.items() if isinstance(value, list | dict)}
    columns = {name: [_json_text(entry.get(name)) for entry in objects] for name in names}
    return Records(source=path, columns=columns, places=places, nested=frozenset(nested), class_names={})


def _json_object(text: str, path: Path, line: int) -> dict[str, Any]:
    """One line's object; numbers stay the text that stands there."""

    def check_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_twice(
            Counter(key for key, _ in pairs), "Keys of an object differ.", f"{path.name}, line {line}"
        )
        return dict(pairs)

    try:
        entry = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=check_keys
        )
    except (json.JSONDecodeError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise TableError(
            "Every line is one JSON object.",
            came=f"{text[:40]!r} in {path.name}, line {line}",
            remedy="Write one object a line.",
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
        file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = file.schema_arrow
        _check_twice(Counter(schema.names), "Column names differ.", path.name)
        photos = next((field.name for field in schema if _holds_photos(file, field)), None)
        nested = frozenset(field.name for field in schema if pa.types.is_nested(field.type)) - {photos}
        plain = [field.name for field in schema if field.name not in nested and field.name != photos]
        _check_rows(file.metadata.num_rows, path)
        content = file.read(columns=plain)
        content.validate(full=True)
    except pa.ArrowException as error:
        raise TableError(
            "The table is a whole Parquet file.",
            came=f"{path.name}: {str(error).splitlines()[0]}",
            remedy="Copy or write it again.",
        ) from error
    return Records(
        source=path,
        columns=ParquetColumns(content, nested),
        places=range(1, file.metadata.num_rows + 1),
        unit="row",
        nested=nested,
        photo_column=photos,
        class_names=_names_in_metadata(schema.metadata or {}),
    )


def _check_rows(num_rows: int, path: Path) -> None:
    if num_rows > MOST_ROWS:
        raise TableError(
            f"A table has at most {MOST_ROWS:,} rows.",
            came=f"{num_rows:,} in {path.name}",
            remedy="Check that it is the right file, or work on it in parts.",
        )


def _holds_photos(file: Any, field: Any) -> bool:
    """The struct of bytes and path that Hugging Face's `Image` feature writes, or binary that looks so."""
    import pyarrow as pa

    if pa.types.is_struct(field.type):
        return any(field.type.field(i).name == "bytes" for i in range(field.type.num_fields))
    if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)):
        return False
    first = next(file.iter_batches(batch_size=SNIFFED_ROWS, columns=[field.name]), None)
    cells = first.column(0).to_pylist() if first is not None else []
    return any(suffix_of_photo(cell[:16]) for cell in cells if cell)


def _names_in_metadata(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """Class names that a Parquet file carries: ours, or those of Hugging Face's `ClassLabel` features."""
    try:
        if CLASS_NAMES_KEY in metadata:
            return {"": json.loads(metadata[CLASS_NAMES_KEY])}
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return {name: tuple(f["names"]) for name, f in features.items() if "names" in f}
    except (ValueError, TypeError, AttributeError):
        return {}


READERS: dict[str, Callable[[Path], Records]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
