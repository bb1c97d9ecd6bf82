"""Which class a text in a label column means.

a list of names        the text is a name, or else a place in the list
an object key -> name  the text is a key, or else a name       (Kaggle: {"0": "healthy", ...})
an object name -> key  the text is a name, or else a key
an object name -> [text]  the text is a name, or else that text, as which submissions write it
nothing                every text that occurs is a class: whole numbers by size, names by alphabet
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

from kiyome.errors import TableError

ClassMapSource = (
    str | Path | Mapping[str, str] | Mapping[str, int] | Mapping[str, Sequence[str]] | Sequence[str]
)

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_PANDAS_NOTHING = {"nan", "<na>"}
_NOTHING_AMONG_NUMBERS = {"na", "n/a", "none", "null", "nil", "-", "?"}


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Class names in order, and the ways to read a text as one of them, the first fitting one holds."""

    names: tuple[str, ...]
    readings: tuple[dict[str, int], ...]
    origin: str
    label_texts: tuple[str, ...] = ()
    """How the source of a table of ours wrote each class; empty where the table itself is the source."""

    def reading(self, texts: Iterable[str]) -> dict[str, int]:
        """Return the first reading that knows every text, or else the one that knows the most."""
        distinct = set(texts)
        return max(self.readings, key=lambda reading: len(distinct & reading.keys()))

    def texts_written(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return one text a class, as these texts write it; of several for a class, the most frequent.

        >>> class_map_from({"0": "healthy", "1": "rust", "2": "rust"}).texts_written(["2", "0", "2", "1"])
        ('0', '2')
        """
        if self.label_texts:
            return self.label_texts
        counts = Counter(texts)
        reading = self.reading(counts)
        by_count = sorted(reading, key=lambda text: -counts[text])
        text_of = {reading[text]: text for text in reversed(by_count)}  # the first of a class stays
        return tuple(text_of[label] for label in range(len(self.names)))


def class_map_from(source: ClassMapSource) -> ClassMap:
    """Read a class map from a JSON file, a mapping or a list of names.

    Raises
    ------
    TableError
        When it is not one of the forms above.

    Examples
    --------
    >>> class_map_from({"0": "healthy", "1": "blight"}).names
    ('healthy', 'blight')
    >>> class_map_from({"blight": 1, "healthy": 0}).names
    ('healthy', 'blight')
    """
    origin = Path(source).name if isinstance(source, str | Path) else "class_map"
    content: Any = _json_of_file(Path(source)) if isinstance(source, str | Path) else source
    try:
        if isinstance(content, Mapping) and all(isinstance(v, int) for v in content.values()):
            return _names_to_numbers(content, origin)
        if isinstance(content, Mapping) and all(isinstance(v, list) for v in content.values()):
            return _names_to_texts(content, origin)
        if isinstance(content, Mapping):
            return _keys_to_names(content, origin)
        return _list_of_names(list(content), origin)
    except (TypeError, ValueError) as error:
        raise TableError(
            "A class map is a list of class names, or an object key -> name or name -> number.",
            came=f"{str(content)[:60]} in {origin}",
            remedy='Write it like {"0": "healthy", "1": "blight"}.',
        ) from error


def _json_of_file(path: Path) -> Any:
    def check_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=check_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(
            "A class map is a JSON file.", came=f"{path}: {error}", remedy="Check the path and the file."
        ) from error


def _list_of_names(names: list[str], origin: str) -> ClassMap:
    if not names or len(set(names)) < len(names) or not all(isinstance(n, str) and n for n in names):
        raise ValueError("names differ and are not empty")
    by_name = {name: label for label, name in enumerate(names)}
    by_place = {str(label): label for label in by_name.values()}
    return ClassMap(names=tuple(names), readings=(by_name, by_place), origin=origin)


def _keys_to_names(content: Mapping[Any, Any], origin: str) -> ClassMap:
    """Several keys may share a name: so classes are merged."""
    keys = [str(key) for key in content]
    by_key = dict(zip(keys, content.values(), strict=True))
    numbers = all(_WHOLE.fullmatch(key) for key in keys)
    names = list(dict.fromkeys(by_key[key] for key in (sorted(keys, key=int) if numbers else keys)))
    by_name = _list_of_names(names, origin).readings[0]
    reading = {key: by_name[name] for key, name in by_key.items()}
    return ClassMap(names=tuple(names), readings=(reading, by_name), origin=origin)


def _names_to_numbers(content: Mapping[Any, int], origin: str) -> ClassMap:
    if len(set(content.values())) < len(content):
        raise ValueError("numbers differ")
    names = [str(name) for name in sorted(content, key=content.__getitem__)]
    by_name = _list_of_names(names, origin).readings[0]
    by_number = {str(content[name]): by_name[str(name)] for name in content}
    return ClassMap(names=tuple(names), readings=(by_name, by_number), origin=origin)


def _names_to_texts(content: Mapping[Any, Sequence[str]], origin: str) -> ClassMap:
    by_name = _list_of_names([str(name) for name in content], origin).readings[0]
    by_text = {str(text): by_name[str(name)] for name, [text] in content.items()}
    if len(by_text) < len(by_name):
        raise ValueError("texts differ")
    return ClassMap(
        names=tuple(by_name), readings=(by_name, by_text), origin=origin, label_texts=tuple(by_text)
    )


def classes_that_occur(texts: Iterable[str]) -> ClassMap:
    """Return the class map that the labels themselves make.

    >>> classes_that_occur(["10", "9", "10"]).names
    ('9', '10')
    """
    distinct = set(texts)
    whole = all(_WHOLE.fullmatch(text) for text in distinct)
    names = tuple(sorted(distinct, key=int) if whole else sorted(distinct))
    by_name = {name: label for label, name in enumerate(names)}
    return ClassMap(names=names, readings=(by_name,), origin="the labels")


def means_nothing(texts: Iterable[str]) -> set[str]:
    """Return the texts that stand for a missing label: empty, pandas's marks, and others among numbers.

    >>> sorted(means_nothing(["cat", "None", "nan"])), sorted(means_nothing(["0", "None", "-1"]))
    (['nan'], ['-1', 'None'])
    """
    distinct = set(texts)
    nothing = {text for text in distinct if not text.strip() or text.strip().lower() in _PANDAS_NOTHING}
    among = {text for text in distinct - nothing if text.strip().lower() in _NOTHING_AMONG_NUMBERS}
    rest = distinct - nothing - among
    if rest and all(_WHOLE.fullmatch(text) for text in rest):
        nothing |= among | {text for text in rest if text.startswith("-")}
    return nothing


def twins(names: Iterable[str]) -> list[list[str]]:
    r"""Return the sets of names that differ only in case, spaces, Unicode form or the way to write a number.

    >>> twins(["cat", "dog", " Cat"]), twins(["1", "01", "1.0", "2"]), len(twins(["cafe\u0301", "caf\u00e9"]))
    ([[' Cat', 'cat']], [['01', '1', '1.0']], 1)
    """
    ordered = sorted(names, key=lambda name: (plain_form(name), name))
    groups = [list(group) for _, group in groupby(ordered, key=plain_form)]
    return [group for group in groups if len(group) > 1]


def plain_form(name: str) -> str:
    """Return what remains of a name when case, spaces and Unicode form are left aside."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return str(Fraction(text)) if _NUMBER.fullmatch(text) else text
