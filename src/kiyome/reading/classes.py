"""Which class a text in a label column means, and the label columns of a file as numbers 0 to K - 1.

a list of names the text is a name, or else an index into the list an object key -> name the text is a key, or
else a name (Kaggle: {"0": "healthy", ...}) an object name -> key the text is a name, or else a key an object
name -> [text] the text is a name, or else that text, as which submissions write it no class map every text
that occurs is a class: whole numbers by size, names by alphabet
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.table import UNKNOWN, Labels
from kiyome.errors import TableError
from kiyome.reading.columns import SHOWN, Records
from kiyome.reading.label_forms import LABEL_COLUMNS, check_single_labels

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_PANDAS_MISSING = {"nan", "<na>"}
_MISSING_AMONG_NUMBERS = {"na", "n/a", "none", "null", "nil", "-", "?"}


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Class names in order, and tables from texts to labels, the preferred one first."""

    names: tuple[str, ...]
    lookups: tuple[dict[str, int], ...]
    origin: str
    label_texts: tuple[str, ...] = ()
    """The text of each class in the source of our own table; empty for a stranger's table."""

    def lookup(self, texts: Iterable[str]) -> dict[str, int]:
        """Return the first lookup that has every text, or else the one that has the most."""
        distinct = set(texts)
        return max(self.lookups, key=lambda lookup: len(distinct & lookup.keys()))

    def texts_of_classes(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the text of each class in a column; the most frequent one where there are several.

        >>> class_map_from({"0": "healthy", "1": "rust", "2": "rust"}).texts_of_classes(["2", "0", "2", "1"])
        ('0', '2')
        """
        if self.label_texts:
            return self.label_texts
        counts = Counter(texts)
        lookup = self.lookup(counts)
        by_count = sorted(lookup, key=lambda text: -counts[text])
        text_of = {lookup[text]: text for text in reversed(by_count)}  # the most frequent stays
        return tuple(text_of[label] for label in range(len(self.names)))


ClassMapSource = (
    str
    | Path
    | Mapping[str, str]
    | Mapping[str, int]
    | Mapping[str, Sequence[str]]
    | Sequence[str]
    | ClassMap
)


def class_map_from(source: ClassMapSource) -> ClassMap:
    """Return the class map in a JSON file, a mapping or a list of names; TableError for another form.

    >>> class_map_from({"0": "healthy", "1": "blight"}).names
    ('healthy', 'blight')
    >>> class_map_from({"blight": 1, "healthy": 0}).names
    ('healthy', 'blight')
    """
    if isinstance(source, ClassMap):
        return source
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
            f"{origin} is no class map ({error}): {str(content)[:60]}.",
            expected="Expected a list of class names, or an object key -> name or name -> number.",
            remedy='Write it like {"0": "healthy", "1": "blight"}.',
        ) from error


def _json_of_file(path: Path) -> Any:
    def check_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=check_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(
            f"The class map {path} cannot be read as JSON: {error}.", remedy="Check the path and the file."
        ) from error


def _list_of_names(names: list[str], origin: str) -> ClassMap:
    if not names or len(set(names)) < len(names) or not all(isinstance(n, str) and n for n in names):
        raise ValueError("a name is empty or occurs twice")
    by_name = {name: label for label, name in enumerate(names)}
    by_index = {str(label): label for label in by_name.values()}
    return ClassMap(names=tuple(names), lookups=(by_name, by_index), origin=origin)


def _keys_to_names(content: Mapping[Any, Any], origin: str) -> ClassMap:
    """Return the map of an object key -> name; keys with the same name are merged into one class."""
    keys = [str(key) for key in content]
    by_key = dict(zip(keys, content.values(), strict=True))
    numbers = all(_WHOLE.fullmatch(key) for key in keys)
    names = list(dict.fromkeys(by_key[key] for key in (sorted(keys, key=int) if numbers else keys)))
    by_name = _list_of_names(names, origin).lookups[0]
    by_key_text = {key: by_name[name] for key, name in by_key.items()}
    return ClassMap(names=tuple(names), lookups=(by_key_text, by_name), origin=origin)


def _names_to_numbers(content: Mapping[Any, int], origin: str) -> ClassMap:
    if len(set(content.values())) < len(content):
        raise ValueError("a number occurs twice")
    names = [str(name) for name in sorted(content, key=content.__getitem__)]
    by_name = _list_of_names(names, origin).lookups[0]
    by_number = {str(content[name]): by_name[str(name)] for name in content}
    return ClassMap(names=tuple(names), lookups=(by_name, by_number), origin=origin)


def _names_to_texts(content: Mapping[Any, Sequence[str]], origin: str) -> ClassMap:
    by_name = _list_of_names([str(name) for name in content], origin).lookups[0]
    by_text = {str(text): by_name[str(name)] for name, [text] in content.items()}
    if len(by_text) < len(by_name):
        raise ValueError("a text occurs twice")
    return ClassMap(
        names=tuple(by_name), lookups=(by_name, by_text), origin=origin, label_texts=tuple(by_text)
    )


def classes_that_occur(texts: Iterable[str]) -> ClassMap:
    """Return the class map of the labels that occur.

    >>> classes_that_occur(["10", "9", "10"]).names
    ('9', '10')
    """
    distinct = set(texts)
    whole = all(_WHOLE.fullmatch(text) for text in distinct)
    names = tuple(sorted(distinct, key=int) if whole else sorted(distinct))
    by_name = {name: label for label, name in enumerate(names)}
    return ClassMap(names=names, lookups=(by_name,), origin="the labels")


def missing_label_texts(texts: Iterable[str]) -> set[str]:
    """Return the texts for a missing label: empty ones, those of pandas, and more where labels are numbers.

    >>> sorted(missing_label_texts(["cat", "None", "nan"])), sorted(missing_label_texts(["0", "None", "-1"]))
    (['nan'], ['-1', 'None'])
    """
    distinct = set(texts)
    missing = {text for text in distinct if not text.strip() or text.strip().lower() in _PANDAS_MISSING}
    words = {text for text in distinct - missing if text.strip().lower() in _MISSING_AMONG_NUMBERS}
    rest = distinct - missing - words
    if rest and all(_WHOLE.fullmatch(text) for text in rest):
        missing |= words | {text for text in rest if text.startswith("-")}
    return missing


def similar_names(names: Iterable[str]) -> list[list[str]]:
    r"""Return groups of names that differ only in case, spaces, Unicode form or the format of a number.

    >>> similar_names(["cat", "dog", " Cat"]), similar_names(["1", "01", "1.0", "2"])
    ([[' Cat', 'cat']], [['01', '1', '1.0']])
    """
    ordered = sorted(names, key=lambda name: (plain_form(name), name))
    groups = [list(group) for _, group in groupby(ordered, key=plain_form)]
    return [group for group in groups if len(group) > 1]


def plain_form(name: str) -> str:
    """Return a name without differences of case, spaces, Unicode form and number format."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return str(Fraction(text)) if _NUMBER.fullmatch(text) else text


def classes_named(texts: Iterable[str], class_names: Sequence[str]) -> dict[str, str]:
    """Return the class of each text that names one; of another case and the like, if only one is meant.

    >>> classes_named(["Cat", "dog ", "cow", "A", "B"], ["cat", "dog", "a", "A", "b", "B "])
    {'Cat': 'cat', 'dog ': 'dog', 'A': 'A'}
    """
    names_of: dict[str, list[str]] = {}
    for name in class_names:
        names_of.setdefault(plain_form(name), []).append(name)
    known = set(class_names)
    meant = {text: [text] if text in known else names_of.get(plain_form(text), []) for text in texts}
    return {text: names[0] for text, names in meant.items() if len(names) == 1}


CLASS_MAPS_BESIDE = ("{stem}.classes.json", "label_num_to_disease_map.json")


def label_columns(records: Records, label_column: str | None) -> dict[str, str]:
    """Return the column of each kind of label; `label` and `given_label` may share one."""
    given = records.pick(("given_label",)) if label_column is None else None
    main = records.require(label_column, LABEL_COLUMNS, option="--label-column")
    columns = {"given_label": given or main, "label": main}
    true = records.pick(("true_label",))
    return columns | ({"true_label": true} if true else {})


def read_labels(
    records: Records, columns: dict[str, str], source: ClassMapSource | None
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Labels]]:
    """Return class names, the text of each class, and the labels of each kind; -1 where a row has none.

    TableError where a label is unknown or class names are nearly the same.
    """
    texts = {kind: records.texts(column) for kind, column in columns.items()}
    given = {*texts["given_label"], *texts["label"]}
    known_true = set(texts.get("true_label", ()))
    class_map = _known_map(records, columns["label"], source)
    missing = missing_label_texts(given) | missing_label_texts(known_true)
    if class_map is None:
        class_map = _map_of_occurring(records, (given | known_true) - missing)
        _refuse_words_for_none(records, texts["given_label"], missing, class_map)
    lookup = class_map.lookup(given | known_true)
    missing -= lookup.keys()
    labels: dict[str, Labels] = {}
    for kind, column in texts.items():
        if kind == "label" and columns["label"] == columns["given_label"]:
            labels[kind] = labels["given_label"]
            continue
        _check_known(records, column, lookup.keys() | missing, class_map)
        labels[kind] = np.array([lookup.get(text, UNKNOWN) for text in column], np.int32)
    return class_map.names, class_map.texts_of_classes(chain.from_iterable(texts.values())), labels


def _known_map(records: Records, column: str, source: ClassMapSource | None) -> ClassMap | None:
    """Return the given map, else names inside the file, else a map beside it."""
    if source is not None:
        return class_map_from(source)
    if "" in records.class_names:
        return class_map_from(records.class_names[""])
    if column in records.class_names:
        return class_map_from({str(i): name for i, name in enumerate(records.class_names[column])})
    return class_map_beside(records.source)


def class_map_beside(file: Path) -> ClassMap | None:
    """Return the class map that lies beside a file, if there is one."""
    beside = (file.parent / name.format(stem=file.stem) for name in CLASS_MAPS_BESIDE)
    return next((class_map_from(path) for path in beside if path.is_file()), None)


def _map_of_occurring(records: Records, texts: set[str]) -> ClassMap:
    if alike := similar_names(texts):
        raise TableError(
            f"{records.source.name} has labels that are nearly equal: {' and '.join(map(repr, alike[0]))}.",
            expected="Class names must differ in more than case, spaces, Unicode form or number format.",
            remedy="Correct the labels, or name every class with --class-map.",
        )
    check_single_labels(records, sorted(texts))
    return classes_that_occur(texts)


def _refuse_words_for_none(
    records: Records, column: list[str], missing: set[str], class_map: ClassMap
) -> None:
    """Refuse 'nan' among names: it may be a class. Among numbers, and empty cells, it is none."""
    words = {text for text in missing if text.strip()}
    if words.isdisjoint(column) or all(_NUMBER.fullmatch(name) for name in class_map.names):
        return
    records.fail(
        "rows without a label",
        [row for row, text in enumerate(column) if text in words],
        describe=lambda row: repr(column[row]),
        remedy="Empty these cells, and the rows are set aside; a class of such a name is possible with"
        " --class-map.",
    )


def _check_known(records: Records, column: list[str], known: set[str], class_map: ClassMap) -> None:
    if not known.issuperset(column):
        names = ", ".join(class_map.names[:SHOWN]) + (", ..." if len(class_map.names) > SHOWN else "")
        records.fail(
            f"labels that are not in {class_map.origin}",
            [row for row, text in enumerate(column) if text not in known],
            expected=f"It names {len(class_map.names)} classes: {names}.",
            describe=lambda row: repr(column[row]),
            remedy="Correct these labels, or add them to the class map.",
        )
