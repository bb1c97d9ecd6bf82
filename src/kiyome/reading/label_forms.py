"""Labels in other forms than one text a row: a column for each class, several labels in one cell. N rows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import Texts
from kiyome.errors import TableError
from kiyome.reading.columns import Records, some

LABEL = "label"
LABEL_COLUMNS = (
    *("label", "given_label", "class", "target", "class_name", "category"),
    *("labels", "diagnosis", "dx", "species", "breed", "class_id", "classid"),
)
ONE, ZERO = ("1", "1.0", "true"), ("0", "0.0", "false", "")
SEPARATORS = ("|", ";", ",", "+", "&", "/", " ")
CLEAR_SEPARATORS = ("|", ";")
"""One label known by itself is enough: names of classes do not hold these."""


def with_label_column(
    records: Records, wanted: str | None, not_classes: Iterable[str]
) -> tuple[Records, str | None]:
    """Return the records with a column `label`, and its name, where there is a column of 0 and 1 a class.

    `wanted` may name these columns, with commas between. Other records are returned as they are.
    """
    named = [name.strip() for name in (wanted or "").split(",")]
    if records.pick(LABEL_COLUMNS) if wanted is None else not set(named) <= set(records.columns):
        return records, wanted
    others = {*not_classes, *records.nested}
    columns = named if wanted else [name for name in records.columns if name not in others]
    if len(columns) < 2:
        return records, wanted
    texts = {name: records.texts(name) for name in columns}
    columns = [name for name in columns if {text.lower() for text in set(texts[name])} <= {*ONE, *ZERO}]
    if len(columns) < 2 or (wanted and len(columns) < len(named)):
        return records, wanted
    ones = np.array([[text.lower() in ONE for text in texts[name]] for name in columns])
    if wanted is None and 2 * ones.any(axis=0).sum() < len(records):
        return records, wanted
    _check_one_label(records, columns, ones)
    label = np.array([*columns, ""], object)[np.where(ones.any(axis=0), ones.argmax(axis=0), len(columns))]
    return with_column(records, LABEL, label.tolist()), LABEL


def with_column(records: Records, name: str, texts: list[str]) -> Records:
    """Return the records with one more column of text."""
    others = {each: records.columns[each] for each in records.columns if each not in records.nested}
    return replace(records, columns={**others, name: texts})


def _check_one_label(records: Records, columns: Sequence[str], ones: NDArray[np.bool_]) -> None:
    several = np.flatnonzero(ones.sum(axis=0) > 1)
    if several.size:
        names = np.array(columns, object)
        records.fail(
            f"rows with 1 in several of the columns {some(columns)}",
            several.tolist(),
            describe=lambda row: " and ".join(names[ones[:, row]]),
            expected="Expected one label a photo.",
            remedy="Leave out these rows, keep one label, or name the columns of the classes:"
            " --label-column A,B,C.",
        )


def check_single_labels(records: Records, texts: Texts | Sequence[str]) -> None:
    """Refuse labels that join several others, such as 'rust blight' beside 'rust' and 'blight'."""
    known = set(texts)
    for separator in SEPARATORS:
        parts = {
            text: [part.strip() for part in text.split(separator)] for text in known if separator in text
        }
        enough = any if separator in CLEAR_SEPARATORS else all
        joined = sorted(
            text
            for text, each in parts.items()
            if len(set(each)) > 1 and all(each) and enough(part in known for part in each)
        )
        if joined:
            raise TableError(
                f"{records.source.name} has labels that join several others: {some(joined)}.",
                expected="Expected one label a photo.",
                remedy="Leave out these rows or keep one label of each; if each combination is a class of its"
                " own, name every class with --class-map.",
            )
