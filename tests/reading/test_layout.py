"""Look twice at folders: none is silently a class."""

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table


def names(*folders):
    return [f"{folder}/{number}.jpg" for folder in folders for number in range(2)]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/cat", "train/dog", "val/cat", "test/dog"), r"only splits: test, train, val.*/train$"),
        (
            (
                "seg_train/x/cat",
                "seg_train/x/dog",
                "seg_test/x/cat",
                "seg_pred/x",
            ),
            r"named like splits beside others: 'seg_test', 'seg_train'.*--class-map",
        ),
        (
            ("seg_train/x/cat", "seg_train/x/dog", "seg_test/x/cat", "seg_test/x/dog", "seg_pred/x"),
            r"same folders below several others .*: 'cat', 'dog'.* such as .*/seg_train/x",
        ),
        (("ok", "nok", "test"), r"named like splits beside others: 'test'.*Move them"),
        (
            ("a/cat", "a/dog", "b/cat", "b/dog"),
            r"same folders below several .*: 'cat', 'dog'",
        ),
    ],
)
def test_folders_that_are_no_classes_are_named(lay, tmp_path, folders, message):
    lay(tmp_path, *names(*folders))
    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


@pytest.mark.parametrize(
    "folders",
    [
        ("cat/train", "cat/test", "dog/train", "dog/test"),
        ("covid/patient1", "covid/patient2", "other/patient1", "other/patient2"),
        ("bus", "car", "train"),
        ("test_tube", "flask"),
        ("latest", "oldest"),
    ],
)
def test_classes_are_still_classes(lay, tmp_path, folders):
    lay(tmp_path, *names(*folders))
    assert read_table(tmp_path).class_names == tuple(sorted({each.split("/")[0] for each in folders}))


def test_a_class_map_says_that_a_folder_is_a_class(lay, tmp_path):
    lay(tmp_path, *names("ok", "nok", "test"))
    assert read_table(tmp_path, class_map=["ok", "nok", "test"]).num_classes == 3
