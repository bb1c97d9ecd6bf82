"""The columns of a file as text, exactly as written, and the line or row number of each row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import is_unicode, text_of_path
from kiyome.errors import TableError

SHOWN = 5
"""Most rows or names that a message lists; the others are counted."""


def some(texts: Sequence[str]) -> str:
    """Return the first few texts in quotes, for a message.

    >>> some(list("abcdef"))
    "'a', 'b', 'c', 'd', 'e', ..."
    """
    return ", ".join(map(repr, texts[:SHOWN])) + ", ..." * (len(texts) > SHOWN)


@dataclass(frozen=True, kw_only=True)
class Records:
    """The columns of one file, and the number of each row in it."""

    source: Path
    columns: Mapping[str, list[str]]
    row_numbers: Sequence[int]
    """The number of each row as an editor shows it: the line in text, the row from 1 in Parquet."""
    unit: str = "line"
    nested: frozenset[str] = frozenset()
    """Columns of lists or objects, which have no text."""
    photo_column: str | None = None
    """The column with photos as bytes."""
    class_names: dict[str, Any]
    """Class names in the file for the numbers in a column; under "" the class map of our own table."""
    is_ours: bool = False
    """Whether kiyome wrote the file, so that columns mean what they are called."""

    def __len__(self) -> int:
        return len(self.row_numbers)

    def location(self, row: int) -> str:
        """Return the number of a row, for people: `line 12`."""
        return f"{self.unit} {self.row_numbers[row]}"

    def fail(
        self,
        faults: str,
        rows: Iterable[int],
        *,
        remedy: str,
        expected: str = "",
        describe: Callable[[int], str] = lambda _: "",
    ) -> NoReturn:
        """Raise a TableError for faults like "rows without an id": it shows the first and counts the rest."""
        rows = list(rows)
        shown = [f"{describe(row)} {self.location(row)}".strip() for row in rows[:SHOWN]]
        more = f" and {len(rows) - SHOWN} more rows" if len(rows) > SHOWN else ""
        problem = f"{self.source.name} has {faults}: {', '.join(shown)}{more}."
        raise TableError(problem, expected=expected, remedy=remedy)

    def texts(self, column: str) -> list[str]:
        """Return one column; TableError for lists, NULs and broken Unicode, which no id or label can hold."""
        if column in self.nested:
            raise TableError(
                f"Column {column!r} of {self.source.name} holds lists or objects.",
                expected="Ids, labels and groups are single values.",
                remedy="Give one value a row.",
            )
        values = self.columns[column]
        if "\0" in (joined := "".join(values)) or not is_unicode(joined):
            bad = [row for row, text in enumerate(values) if "\0" in text or not is_unicode(text)]
            faults = "texts with NUL or broken Unicode"
            self.fail(faults, bad, describe=lambda row: repr(values[row]), remedy="Rename these.")
        return values

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return one column as numbers, exactly; NaN where there is no number."""
        if isinstance(self.columns, ParquetColumns) and self.columns.is_numeric(column):
            return self.columns.numbers(column)
        return np.array([_number(text) for text in self.texts(column)], dtype=np.float64)

    def pick(self, names: Sequence[str]) -> str | None:
        """Return the first column that has one of these names, in the order of the names; case is ignored."""
        found = {column.lower(): column for column in reversed(list(self.columns))}
        return next((found[name] for name in names if name in found), None)

    def require(self, wanted: str | None, known: Sequence[str], *, option: str) -> str:
        """Return the wanted column, or the first known one; TableError when there is none."""
        found = wanted if wanted in self.columns else None
        if wanted is None:
            found = self.pick(known)
        if found is None:
            raise TableError(
                f"{self.source.name} has no column {wanted or _listed(known)}.",
                expected=f"Its columns are {', '.join(map(repr, self.columns)) or 'without names'}.",
                remedy=f"Name the right column with {option}.",
            )
        return found


def _listed(names: Sequence[str]) -> str:
    return " or ".join([*names[:SHOWN], *(["the like"] if len(names) > SHOWN else [])])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


class ParquetColumns(Mapping[str, list[str]]):
    """The plain columns of a Parquet file, each turned into text when it is first asked for."""

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
