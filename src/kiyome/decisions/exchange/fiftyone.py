"""FiftyOne: the labels.json of a FiftyOneImageClassificationDataset, out and in.

As ``FiftyOneImageClassificationDatasetExporter`` and ``...Importer`` in ``fiftyone/utils/data`` of
voxel51/fiftyone have it: ``{"classes": [...] or null, "labels": {name: target}}``. Names are paths below the
data folder without their ending; a target is null, a class, its place in `classes`, an object with a `label`,
or a list of such.
"""

import json
from collections import Counter
from typing import Any

from kiyome.decisions.exchange.values import Reading, Reviewed, Said, Written, without_ending
from kiyome.errors import InputError

UNLABELED, SEVERAL = "photos without a label", "photos with several labels"


def write_fiftyone(reviewed: Reviewed) -> Written:
    """All N rows, with the class where people agree on one and null elsewhere.

    Raises
    ------
    InputError
        Where two photos differ in nothing but the ending of their file: FiftyOne tells them not apart.
    """
    names = [without_ending(name) for name in reviewed.photo_names]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            "FiftyOne names photos without the ending of their file.",
            came=f"{len(twice)} names that several photos have, such as {twice[0]!r}",
            remedy="Rename these photos, or export as Label Studio or CVAT file.",
        )
    place_of = {name: place for place, name in enumerate(reviewed.class_names)}
    agreed = reviewed.agreed_labels()
    targets = {name: place_of[agreed[row]] if row in agreed else None for row, name in enumerate(names)}
    content = json.dumps({"classes": list(reviewed.class_names), "labels": targets}).encode()
    return Written(content=content, left_out=reviewed.left_out_of_one_label())


def read_fiftyone(document: Any) -> Reading:
    """What a parsed labels.json says; it names no annotators.

    Raises
    ------
    InputError
        Where it is no such file, or a place lies beyond its classes.
    """
    labels = document.get("labels") if isinstance(document, dict) else None
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(labels, dict) or not (classes is None or isinstance(classes, list)):
        raise InputError(
            'A FiftyOne file of labels is {"classes": [...], "labels": {name: class}}.',
            came=f"{type(document).__name__} with labels of type {type(labels).__name__}",
            remedy="Export the dataset as FiftyOneImageClassificationDataset.",
        )
    passed_over, said = Counter[str](), []
    for name, target in labels.items():
        found = {
            _class_of(each, classes, name) for each in (target if isinstance(target, list) else [target])
        }
        found.discard(None)
        if len(found) == 1:
            said.append(Said(photo=name, label=found.pop()))
        else:
            passed_over[SEVERAL if found else UNLABELED] += 1
    return Reading(said=said, passed_over=passed_over, names_have_endings=False)


def _class_of(target: Any, classes: list[Any] | None, name: str) -> str | None:
    target = target.get("label") if isinstance(target, dict) else target
    if target is None or isinstance(target, str):
        return target
    is_place = isinstance(target, int) and not isinstance(target, bool)
    if not is_place or classes is None or not 0 <= target < len(classes):
        raise InputError(
            "A FiftyOne label is a class, or its place in the list of classes.",
            came=f"{target!r} for {name!r} with {len(classes or ())} classes",
            remedy="Export the dataset with its list of classes.",
        )
    return str(classes[target])
