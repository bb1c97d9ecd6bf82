"""FiftyOne: the labels.json of a FiftyOneImageClassificationDataset, out and in.

As ``FiftyOneImageClassificationDatasetExporter`` and ``...Importer`` in ``fiftyone/utils/data`` of
voxel51/fiftyone have it: ``{"classes": [...] or null, "labels": {name: target}}``. Names are paths below the
data folder without their ending; a target is null, a class, its index in `classes`, an object with a `label`,
or a list of these.
"""

import json
from collections import Counter
from typing import Any

from kiyome.decisions.events import Decision
from kiyome.decisions.exchange.answers import ExportedFile, ParsedFile, ReviewedRows
from kiyome.errors import InputError
from kiyome.reading.names import without_ending

UNLABELED, SEVERAL = "photos without a label", "photos with several labels"


def write_fiftyone(rows: ReviewedRows) -> ExportedFile:
    """Return all N rows, with the class where people agree on one and null elsewhere."""
    names = [without_ending(name) for name in rows.photo_names]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{len(twice)} names of photos differ in the ending of their file only, such as {twice[0]!r}.",
            expected="FiftyOne names photos without the ending.",
            remedy="Rename these photos, or export as Label Studio or CVAT file.",
        )
    index_of = {name: index for index, name in enumerate(rows.class_names)}
    agreed = rows.agreed_labels()
    targets = {
        name: index_of[agreed[image_id]] if image_id in agreed else None
        for name, image_id in zip(names, rows.image_ids, strict=True)
    }
    content = json.dumps({"classes": list(rows.class_names), "labels": targets}).encode()
    return ExportedFile(content=content, left_out=rows.left_out_of_one_label())


def read_fiftyone(document: Any) -> ParsedFile:
    """Return the decisions in a parsed labels.json; it names no annotators."""
    labels = document.get("labels") if isinstance(document, dict) else None
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(labels, dict) or not (classes is None or isinstance(classes, list)):
        raise InputError(
            f"The FiftyOne file is a {type(document).__name__} with labels of type {type(labels).__name__}.",
            expected='Expected {"classes": [...], "labels": {name: class}}.',
            remedy="Export the dataset as FiftyOneImageClassificationDataset.",
        )
    skipped, decisions = Counter[str](), []
    for name, target in labels.items():
        found = {
            _class_of(each, classes, name) for each in (target if isinstance(target, list) else [target])
        }
        found.discard(None)
        if len(found) == 1:
            decisions.append(Decision(image_id=name, verdict="relabel", label=found.pop()))
        else:
            skipped[SEVERAL if found else UNLABELED] += 1
    return ParsedFile(decisions=decisions, skipped=skipped)


def _class_of(target: Any, classes: list[Any] | None, name: str) -> str | None:
    target = target.get("label") if isinstance(target, dict) else target
    if target is None or isinstance(target, str):
        return target
    is_index = isinstance(target, int) and not isinstance(target, bool)
    if not is_index or classes is None or not 0 <= target < len(classes):
        raise InputError(
            f"The FiftyOne label {target!r} of {name!r} is not one of {len(classes or ())} classes.",
            expected="Expected a class, or its index in the list of classes.",
            remedy="Export the dataset with its list of classes.",
        )
    return str(classes[target])
