"""The label columns of a file as numbers 0 to K - 1, with the class names that go with them."""

from itertools import chain
from pathlib import Path

import numpy as np

from kiyome.artifacts.table import UNKNOWN, Labels
from kiyome.errors import TableError
from kiyome.reading.class_map import (
    ClassMap,
    ClassMapSource,
    class_map_from,
    classes_that_occur,
    means_nothing,
    twins,
)
from kiyome.reading.records import SHOWN, Records

LABEL_COLUMNS = ("label", "given_label", "class", "target", "class_name", "category")
CLASS_MAPS_BESIDE = ("{stem}.classes.json", "label_num_to_disease_map.json")


def label_columns(records: Records, label_column: str | None) -> dict[str, str]:
    """Which column holds each kind of label; `label` and `given_label` may share one.

    Raises
    ------
    TableError
        When there is no such column.
    """
    given = records.pick(("given_label",)) if label_column is None else None
    main = records.require(label_column, LABEL_COLUMNS, option="label_column")
    columns = {"given_label": given or main, "label": main}
    true = records.pick(("true_label",))
    return columns | ({"true_label": true} if true else {})


def read_labels(
    records: Records, columns: dict[str, str], source: ClassMapSource | None
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Labels]]:
    """Class names, how the file writes each, and the labels of each kind; a true label not known is -1.

    Raises
    ------
    TableError
        When a label is missing or unknown, when all rows have one label, or when class names are nearly
        the same and no class map tells them apart.
    """
    texts = {kind: records.texts(column) for kind, column in columns.items()}
    given = {*texts["given_label"], *texts["label"]}
    known_true = set(texts.get("true_label", ()))
    class_map = _known_map(records, columns["label"], source)
    if class_map is None:
        nothing = means_nothing(given) | (means_nothing(known_true) if known_true else set())
        class_map = _map_of_occurring(records, (given | known_true) - nothing)
    else:
        nothing = {""}
    reading = class_map.reading(given | known_true)
    nothing -= reading.keys()
    labels: dict[str, Labels] = {}
    for kind, column in texts.items():
        if kind == "label" and columns["label"] == columns["given_label"]:
            labels[kind] = labels["given_label"]
            continue
        if kind != "true_label":
            _check_present(records, column, nothing)
        _check_known(records, column, reading.keys() | nothing, class_map)
        labels[kind] = np.array([reading.get(text, UNKNOWN) for text in column], np.int32)
    if np.ptp(labels["given_label"]) == 0:
        only = class_map.names[labels["given_label"][0]]
        raise TableError(
            "There are at least two classes.",
            came=f"{only!r} in all {len(records)} rows of {records.source.name}",
            remedy="Give photos of another class, or check which column holds the labels.",
        )
    return class_map.names, class_map.texts_written(chain.from_iterable(texts.values())), labels


def _known_map(records: Records, column: str, source: ClassMapSource | None) -> ClassMap | None:
    """The map that was given, else names inside the file, else a map beside it."""
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
    if alike := twins(texts):
        raise TableError(
            "Class names differ in more than case, spaces, Unicode form or the way to write a number.",
            came=f"{' and '.join(map(repr, alike[0]))} in {records.source.name}",
            remedy="Correct the labels, or name every class with class_map=.",
        )
    return classes_that_occur(texts)


def _check_present(records: Records, column: list[str], nothing: set[str]) -> None:
    if not nothing.isdisjoint(column):
        missing = [row for row, text in enumerate(column) if text in nothing]
        records.fail(
            "Every row has a label.",
            missing,
            describe=lambda row: repr(column[row]) if column[row] else "no label,",
            remedy="Label or delete these rows; a class of such a name is possible with class_map=.",
        )


def _check_known(records: Records, column: list[str], known: set[str], class_map: ClassMap) -> None:
    if not known.issuperset(column):
        unknown = [row for row, text in enumerate(column) if text not in known]
        names = ", ".join(class_map.names[:SHOWN]) + (", ..." if len(class_map.names) > SHOWN else "")
        records.fail(
            f"Every label is in {class_map.origin}, which names {len(class_map.names)} classes: {names}.",
            unknown,
            describe=lambda row: repr(column[row]),
            remedy="Correct these labels, or add them to the class map.",
        )
