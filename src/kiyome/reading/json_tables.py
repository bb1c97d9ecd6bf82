"""A JSON file of labels, as tools for annotation write it, as columns of text.

[{"file_name": ..., "label": ...}, ...]                           a list of rows
{"a.jpg": "cat", ...}                                             a name and its label
{"cat": ["a.jpg", ...], ...}                                      a class and its names
{"classes": [...], "labels": {"a": 0, ...}}                       FiftyOne
{"images": [...], "annotations": [...], "categories": [...]}      COCO, one category an image
"""

import json
from pathlib import Path
from typing import Any

from kiyome.errors import TableError
from kiyome.reading.columns import Records

NAME, LABEL = "file_name", "label"


def json_records(path: Path, text: str) -> Records:
    """Return the rows of a JSON document; an image of several categories has them joined by `|`."""
    try:
        document = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        rows = _rows(document)
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: [_text(row.get(name)) for row in rows] for name in names}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise TableError(
            f"{path.name} is no JSON table: {error or 'it is nested too deeply'}.",
            expected="Expected a list of rows, names with labels, FiftyOne's labels.json or COCO.",
            remedy="Export it in one of these forms, or as CSV.",
        ) from error
    return Records(
        source=path, columns=columns, row_numbers=range(1, len(rows) + 1), unit="entry", class_names={}
    )


def _rows(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, list):
        return [dict(row) for row in document]
    if {"images", "categories"} <= document.keys():
        return _coco_rows(document)
    if isinstance(document.get("labels"), dict):
        classes = document.get("classes")
        return [{NAME: name, LABEL: _class(target, classes)} for name, target in document["labels"].items()]
    if all(isinstance(names, list) for names in document.values()):
        return [{NAME: _text(name), LABEL: label} for label, names in document.items() for name in names]
    return [{NAME: name, LABEL: _text(label)} for name, label in document.items()]


def _class(target: Any, classes: list[str] | None) -> str:
    """The class of a FiftyOne target: a name, an index, an object with a label, or a list of these."""
    if isinstance(target, list):
        return "|".join(dict.fromkeys(_class(each, classes) for each in target))
    text = _text(target.get(LABEL) if isinstance(target, dict) else target)
    return classes[int(text)] if classes and text.isdecimal() and text not in classes else text


def _coco_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    name_of = {category["id"]: category["name"] for category in document["categories"]}
    found: dict[str, dict[str, None]] = {}
    for annotation in document.get("annotations", []):
        found.setdefault(annotation["image_id"], {})[name_of[annotation["category_id"]]] = None
    return [
        {NAME: image["file_name"], LABEL: "|".join(found.get(image["id"], ()))}
        for image in document["images"]
    ]


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise TypeError(f"a value is {str(value)[:40]}")
    return "" if value is None else str(value)
