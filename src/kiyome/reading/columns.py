"""The columns of a file as text, exactly as written, and where in the file each row stands."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import is_unicode, text_of_path
from kiyome.errors import TableError

SHOWN = 5
"""So many offending rows are named in a message; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """The columns of one file, and where in it each row stands."""

    source: Path
    columns: Mapping[str, list[str]]
    places: Sequence[int]
    """The number of each row as an editor shows it: the line in text, the row from 1 in Parquet."""
    unit: str = "line"
    nested: frozenset[str] = frozenset()
    """Columns that hold lists or objects, and so no text."""
    photo_column: str | None = None
    """The column that holds photo files themselves."""
    class_names: dict[str, Any]
    """Names that the file itself gives the numbers in a column; under "" the class map of a table of ours."""

    def __len__(self) -> int:
        return len(self.places)

    def place(self, row: int) -> str:
        """Where a row stands, for people: `line 12`."""
        return f"{self.unit} {self.places[row]}"

    def fail(
        self, must: str, rows: Iterable[int], *, remedy: str, describe: Callable[[int], str] = lambda _: ""
    ) -> NoReturn:
        """Raise a TableError that shows the first rows and counts the others."""
        rows = list(rows)
        shown = [f"{describe(row)} {self.place(row)}".strip() for row in rows[:SHOWN]]
        more = f" and {len(rows) - SHOWN} more rows" if len(rows) > SHOWN else ""
        raise TableError(must, came=f"in {self.source.name}: {', '.join(shown)}{more}", remedy=remedy)

    def texts(self, column: str) -> list[str]:
        """One column; refuses lists, NULs and broken Unicode, which no id or label can hold."""
        if column in self.nested:
            raise TableError(
                "Ids, labels and groups are single values.",
                came=f"lists or objects in column {column!r} of {self.source.name}",
                remedy="Give one value a row.",
            )
        values = self.columns[column]
        if "\0" in (joined := "".join(values)) or not is_unicode(joined):
            bad = [row for row, text in enumerate(values) if "\0" in text or not is_unicode(text)]
            self.fail(
                "Texts are valid Unicode without NUL.",
                bad,
                describe=lambda row: repr(values[row]),
                remedy="Rename these.",
            )
        return values

    def numbers(self, column: str) -> NDArray[np.float64]:
        """One column as numbers, exactly; NaN where there is no number."""
        if isinstance(self.columns, ParquetColumns) and self.columns.is_numeric(column):
            return self.columns.numbers(column)
        return np.array([_number(text) for text in self.texts(column)], dtype=np.float64)

    def pick(self, names: Sequence[str]) -> str | None:
        """Return the first column that has one of these names, in the order of the names; case is ignored."""
        found = {column.lower(): column for column in reversed(list(self.columns))}
        return next((found[name] for name in names if name in found), None)

    def require(self, wanted: str | None, known: Sequence[str], *, option: str) -> str:
        """Return the column that was asked for, or the first known one; refuse when there is none."""
        found = wanted if wanted in self.columns else None
        if wanted is None:
            found = self.pick(known)
        if found is None:
            raise TableError(
                f"{self.source.name} has a column {wanted or ' or '.join(known)}.",
                came=f"columns {', '.join(map(repr, self.columns)) or 'without names'}",
                remedy=f"Name the right column with {option}=.",
            )
        return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


class ParquetColumns(Mapping[str, list[str]]):
    """The plain columns of a Parquet file, turned into text one by one and only when asked for."""

    def __init__(self, content: Any, nested: frozenset[str]) -> None:
        self._content = content
        self._names = [*content.column_names, *nested]
        self._texts: dict[str, list[str]] = {}

    def __getitem__(self, name: str) -> list[str]:
        if name not in self._texts:
            self._texts[name] = [_parquet_text(value) for value in self._content[name].to_pylist()]
        return self._texts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def is_numeric(self, name: str) -> bool:
        """Whether the file stores this column as numbers."""
        import pyarrow as pa

        kind = self._content[name].type
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a numeric column, exactly."""
        return np.asarray(self._content[name].to_numpy(), dtype=np.float64)


def _parquet_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):  # names that were written as bytes
        return text_of_path(value.decode("utf-8", "surrogateescape"))
    if isinstance(value, float) and value.is_integer():  # whole numbers beside a gap become floats
        return str(int(value))
    return str(value)
