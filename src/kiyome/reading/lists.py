"""Lists of photos without labels, whose folders are the classes: Food-101's train.txt, the images.txt of CUB.

ham/1.jpg                                            the label is `ham`
1 001.Auk/Auk_1.jpg   beside `train_test_split.txt`  lines `1 1` (train) or `1 0` (test)
"""

from kiyome.errors import TableError
from kiyome.reading.classes import ClassMapSource, class_map_from
from kiyome.reading.columns import Records
from kiyome.reading.files import INDEX, read_lines
from kiyome.reading.label_forms import LABEL, LABEL_COLUMNS, with_column
from kiyome.reading.splits import SPLIT_COLUMNS, split_of_name
from kiyome.reading.table_beside import SPLIT_LIST
from kiyome.reading.table_photos import photo_texts


def with_splits_beside(records: Records) -> Records:
    """Return a list of photos by number with a column `split`, where `SPLIT_LIST` lies beside it."""
    file = records.source.parent / SPLIT_LIST
    if INDEX not in records.columns or not file.is_file():
        return records
    is_train = dict(line.split() for line in read_lines(file) if len(line.split()) == 2)
    flags = [is_train.get(number, "") for number in records.columns[INDEX]]
    if not {*flags} <= {"0", "1"}:
        raise TableError(
            f"{file} does not say 0 or 1 for each photo in {records.source.name}.", remedy="Copy both again."
        )
    return with_column(records, SPLIT_COLUMNS[0], [("test", "train")[int(flag)] for flag in flags])


def with_labels_of_folders(
    records: Records, id_column: str | None, class_map: ClassMapSource | None, notes: list[str]
) -> Records:
    """Return a list of photos without labels, but in folders of classes, with a column `label`."""
    photos = photo_texts(records, id_column)
    is_list = len({*records.columns} - {INDEX, *SPLIT_COLUMNS}) == 1
    if records.pick(LABEL_COLUMNS) or not is_list or not all("/" in photo for photo in photos):
        return records
    labels = [photo.rsplit("/", 2)[-2] for photo in photos]
    classes = set(labels)
    is_known = class_map is None or classes <= class_map_from(class_map).lookup(classes).keys()
    are_classes = len(classes) > 1 or class_map is not None
    if not are_classes or not is_known or 2 * len(classes) > len(labels) or any(map(split_of_name, classes)):
        return records
    notes.append(f"Labels are the folders of the photos in {records.source.name}: {len(classes):,} classes.")
    return with_column(records, LABEL, labels)
