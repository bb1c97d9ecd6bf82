"""The split of each row of a file: by a column, or in a file of its own."""

from pathlib import Path

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table
from kiyome.reading.test_set import note_on_unread, tables_in_splits, with_test_set
from kiyome.workflows.inputs import open_table

HEAD = "image_id,label,"


def rows(values, column="split", labels="cat dog"):
    names = labels.split()
    lines = [f"{row}.jpg,{names[row % len(names)]},{value}" for row, value in enumerate(values)]
    return "\n".join([HEAD + column, *lines]) + "\n"


def read(folder, text, **options):
    (folder / "train.csv").write_text(text)
    return read_table(folder / "train.csv", allow_missing=True, **options)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("split", ["train", "train", "TEST", "Valid"], ["train", "train", "test", "val"]),
        ("Usage", ["Training", "Training", "PublicTest", "PrivateTest"], ["train", "train", "test", "test"]),
        ("subset", ["train", "train", "validation", "dev"], ["train", "train", "val", "val"]),
        ("split", ["TRN", "TRN", "held-out", "hold_out"], ["train", "train", "test", "test"]),
        ("partition", ["tr", "tr", "va", "te"], ["train", "train", "val", "test"]),
        ("ml_use", ["TRAIN", "TRAIN", "VALIDATE", "TEST"], ["train", "train", "val", "test"]),
        ("Data Set", ["trainset", "training set", "testset"], ["train", "train", "test"]),
        ("fold", ["train", "train", "test"], ["train", "train", "test"]),
    ],
)
def test_a_column_of_splits_is_read(tmp_path, column, values, expected):
    table = read(tmp_path, rows(values, column))
    assert table.split_names.tolist() == expected
    assert table.notes[0].startswith(f"Splits from column {column!r}: 2 train, ")
    assert read(tmp_path, rows(values, column), ignore_splits=True).splits is None


def test_rows_to_predict_are_unlabeled(tmp_path):
    text = rows(["train", "train", "predict"]) + "3.jpg,,test\n4.jpg,dog,test\n5.jpg,,train\n"
    table = read(tmp_path, text)
    assert table.split_names.tolist() == ["train", "train", "unlabeled", "unlabeled", "test"]
    assert table.given_labels.tolist() == [0, 1, -1, -1, 1]
    assert table.notes[-3:] == (
        "Splits from column 'split': 3 train, 2 test, 1 unlabeled.",
        "1 rows of test have no label: they are unlabeled.",
        "The labels of 1 unlabeled rows are left out.",
    )
    assert table.skipped[-1].path == "5.jpg"


def test_values_that_name_no_split_are_refused(tmp_path):
    with pytest.raises(TableError) as raised:
        read(tmp_path, rows(["train", "train", "fold7", "", "test"]))
    assert str(raised.value) == (
        "train.csv has values in column 'split' that name no split: 'fold7' line 4, '' line 5."
        " Expected train, val, test, unlabeled, or another word for one of these. Correct these, or name"
        " another column with --split-column. To use all rows for training, add --ignore-splits."
    )
    assert read(tmp_path, rows(["train", "fold7"]), ignore_splits=True).splits is None


def test_a_column_that_may_mean_something_else_is_not_used(tmp_path):
    assert read(tmp_path, rows(["train", "car", "test"], "set")).splits is None


def test_words_of_splits_in_ids_labels_or_alone_tell_no_split(tmp_path):
    assert read(tmp_path, "image_id,label,lot\ntrain 1,train,test\ntest 2,test,test\n").splits is None


def test_a_further_column_of_splits_is_told(tmp_path):
    table = read(tmp_path, "image_id,label,set,phase\n1,a,train,train\n2,b,train,val\n3,a,test,train\n")
    assert table.split_names.tolist() == ["train", "train", "test"]
    assert table.notes[0] == "Column 'phase' names splits, too, and was not used."


@pytest.mark.parametrize(("column", "values"), [("partition", "00102"), ("set", "11213")])
def test_numbers_are_splits_where_an_option_says_so(tmp_path, column, values):
    table = read(tmp_path, rows(values, column))
    assert table.splits is None
    low, mid, high = sorted(set(values))
    meant = f"If {low} is train, {mid} val and {high} test, add --split-column {column}."
    assert table.notes == (f"Column {column!r} was not used: all rows are for training. {meant}",)
    named = read(tmp_path, rows(values, column), split_column=column)
    assert named.split_names.tolist() == ["train", "train", "val", "train", "test"]
    with pytest.raises(
        TableError, match=r"name no split.* If 0 is train, 1 val and 2 test, add --split-column"
    ):
        read(tmp_path, rows("00102", "split"))
    with pytest.raises(TableError, match=r"'0' line 2, '0' line 3, '1' line 4\. Expected train, val, test"):
        read(tmp_path, rows("001", "split"), split_column="split")


def test_a_column_that_names_some_splits_is_told(tmp_path):
    [note] = read(tmp_path, rows(["train", "car", "test"], "set")).notes
    assert note == (
        "Column 'set' was not used: all rows are for training. Of its values, 'car' name no split."
    )


@pytest.mark.parametrize(
    "column", ["isTrain", "is_holdout", "in_test", "train", "test_set", "is_training_image", "istrain"]
)
def test_every_name_of_a_flag_is_told(tmp_path, column):
    text = rows("1110", column)
    [note] = read(tmp_path, text).notes
    assert note.endswith(f"If it tells the split, add --split-column {column}.")
    assert len(set(read(tmp_path, text, split_column=column).split_names)) == 2


@pytest.mark.parametrize("column", ["isolated", "pred", "valid_until", "invalid", "is_sick"])
def test_no_other_column_of_true_and_false_is_told(tmp_path, column):
    assert read(tmp_path, rows("1110", column)).notes == ()


@pytest.mark.parametrize("slash", "/\\")
def test_folders_in_the_paths_of_photos_tell_splits(tmp_path, slash):
    folders = ["data/train/cat", "data/train/dog", "data/test/cat", "data/val/cat"]
    lines = [f"{folder}/{row}.jpg,{folder[-3:]}" for row, folder in enumerate(folders)]
    text = "\n".join(["path,label", *lines]).replace("/", slash)
    table = read(tmp_path, text)
    assert table.split_names.tolist() == ["train", "train", "test", "val"]
    assert "Splits from the folders of photos: 2 train, 1 val, 1 test." in table.notes
    assert read(tmp_path, text, ignore_splits=True).splits is None


@pytest.mark.parametrize("folders", [("train", "bus"), ("test", "val"), ("train", "train"), ("train", "")])
def test_folders_that_may_be_something_else_tell_no_splits(tmp_path, folders):
    lines = [f"{folder}/{row}.jpg,{'ab'[row % 2]}" for row, folder in enumerate(folders * 2)]
    assert read(tmp_path, "\n".join(["path,label", *lines])).splits is None


def test_a_flag_is_told_and_used_where_it_is_named(tmp_path):
    text = rows(["0", "0", "1", "1"], "is_test")
    table = read(tmp_path, text)
    assert table.splits is None
    [note] = table.notes
    assert note == (
        "Column 'is_test' was not used: all rows are for training. If it tells the split,"
        " add --split-column is_test."
    )
    named = read(tmp_path, text, split_column="is_test")
    assert named.split_names.tolist() == ["train", "train", "test", "test"]
    flipped = read(tmp_path, rows(["True", "True", "False"], "is_train"), split_column="is_train")
    assert flipped.split_names.tolist() == ["train", "train", "test"]


def test_flags_are_no_classes(tmp_path):
    lines = "image_id,cat,dog,is_test\n1.jpg,1,0,0\n2.jpg,0,1,0\n3.jpg,0,1,1\n"
    table = read(tmp_path, lines, split_column="is_test")
    assert table.class_names == ("cat", "dog")
    assert table.split_names.tolist() == ["train", "train", "test"]


def test_an_id_in_two_splits_is_two_rows(tmp_path):
    table = read(tmp_path, HEAD + "split\n1.jpg,cat,train\n2.jpg,dog,train\n1.jpg,dog,test\n")
    assert table.image_ids.tolist() == ["1.jpg", "2.jpg", "test/1.jpg"]
    assert "1 ids are in several splits, such as '1.jpg'" in table.notes[1]


def test_folds_of_a_file_hold_for_train(tmp_path):
    text = "image_id,label,fold,split\n1.jpg,cat,0,train\n2.jpg,dog,1,train\n3.jpg,dog,1,test\n"
    assert read(tmp_path, text).folds.tolist() == [0, 1, -1]


def with_test(folder, text, name="test.csv", **options):
    train = read(folder, "image_id,label\n1.jpg,cat\n2.jpg,dog\n")
    (folder / name).write_text(text)
    return with_test_set(train, folder / name, allow_missing=True, **options)


def test_a_test_set_joins_the_table(tmp_path):
    table = with_test(tmp_path, "label,image_id\ndog,3.jpg\ncat,1.jpg\n,4.jpg\n")
    assert table.image_ids.tolist() == ["1.jpg", "2.jpg", "3.jpg", "test/1.jpg", "4.jpg"]
    assert table.split_names.tolist() == ["train", "train", "test", "test", "unlabeled"]
    assert table.given_names.tolist() == ["cat", "dog", "dog", "cat", ""]
    assert "Splits from test.csv beside the table: 2 train, 2 test, 1 unlabeled." in table.notes


@pytest.mark.parametrize(
    ("name", "text", "split"),
    [
        ("valid.csv", "image_id,label\n3.jpg,dog\n4.jpg,cat\n", "val"),
        ("test.csv", "image_id\n3.jpg\n4.jpg\n", "unlabeled"),
        ("sample_submission.csv", "image_id,label\n3.jpg,cat\n4.jpg,cat\n", "unlabeled"),
        ("sample.csv", "image_id,label\n" + "".join(f"{row}.jpg,cat\n" for row in range(3, 23)), "unlabeled"),
        ("sample.csv", "image_id,cat,dog\n3.jpg,0.5,0.5\n4.jpg,0.5,0.5\n", "unlabeled"),
    ],
)
def test_what_a_file_beside_the_table_holds(tmp_path, name, text, split):
    table = with_test(tmp_path, text, name)
    assert table.splits_in_use == ("train", split)
    assert (table.given_labels[2:] == -1).all() == (split == "unlabeled")


def test_labels_that_train_does_not_have_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"test.csv has labels that are not in the classes of train: 'cow'"):
        with_test(tmp_path, "image_id,label\n3.jpg,cow\n")


def test_a_folder_of_test_photos_joins_the_table(lay, tmp_path):
    lay(tmp_path / "photos", "cat/1.jpg", "dog/1.jpg")
    lay(tmp_path / "labeled", "cat/1.jpg", "dog/2.jpg")
    lay(tmp_path / "loose", "1.jpg", "2.jpg")
    train = read_table(tmp_path / "photos")
    labeled = with_test_set(train, tmp_path / "labeled")
    assert labeled.image_ids.tolist() == ["cat/1.jpg", "dog/1.jpg", "test/cat/1.jpg", "dog/2.jpg"]
    assert labeled.paths.tolist()[2:] == ["labeled/cat/1.jpg", "labeled/dog/2.jpg"]
    assert labeled.given_names.tolist() == ["cat", "dog", "cat", "dog"]
    loose = with_test_set(train, tmp_path / "loose")
    assert loose.split_names.tolist() == ["train", "train", "unlabeled", "unlabeled"]
    lay(tmp_path / "other", "a/1.jpg", "b/1.jpg")
    with pytest.raises(TableError, match="class folders that are not in the classes of train: a, b"):
        with_test_set(train, tmp_path / "other")


def test_columns_of_train_are_empty_for_the_test_set(tmp_path):
    train = read(
        tmp_path,
        "image_id,label,lesion_id,weight\n1.jpg,cat,a,0.5\n2.jpg,dog,b,1\n",
        group_column="lesion_id",
    )
    (tmp_path / "test.csv").write_text("image_id,label\n3.jpg,dog\n")
    table = with_test_set(train, tmp_path / "test.csv", group_column="lesion_id", allow_missing=True)
    assert table.groups.tolist() == ["a", "b", ""]
    assert table.weights.tolist() == [0.5, 1, 1]
    assert "test.csv has no column 'lesion_id'." in table.notes


@pytest.mark.parametrize("given", ["train.csv", "."])
def test_a_table_of_another_split_beside_the_table_is_told(tmp_path, given):
    (tmp_path / "test.csv").write_text("image_id,label\n3.jpg,cat\n")
    (tmp_path / "train.csv").write_text("image_id,label\n1.jpg,cat\n2.jpg,dog\n")
    notes = note_on_unread(tmp_path / given)
    assert len(notes) == 1
    assert (
        f"`kiyome find {tmp_path / 'train.csv'} --test {tmp_path / 'test.csv'}` judges its rows" in notes[0]
    )
    assert note_on_unread(tmp_path / "test.csv") == []


@pytest.mark.parametrize(
    ("name", "verb"), [("sample_submission.csv", "predicts"), ("val.csv", "judges"), ("submission.csv", "")]
)
def test_a_sample_submission_beside_the_table_is_told_and_a_submission_is_not(tmp_path, name, verb):
    (tmp_path / name).write_text("image_id,label\n3.jpg,cat\n")
    (tmp_path / "train.csv").write_text("image_id,label\n1.jpg,cat\n2.jpg,dog\n")
    notes = note_on_unread(tmp_path)
    assert [f"--test {tmp_path / name}` {verb} its rows" in note for note in notes] == [True] * bool(verb)


def test_folders_of_splits_may_hold_a_table_each(tmp_path):
    lines = {"train": "1.png,cat\n2.png,dog\n", "validation": "1.png,dog\n", "test": "1.png,\n"}
    for split, text in lines.items():
        (tmp_path / split).mkdir()
        (tmp_path / split / "metadata.csv").write_text("file_name,label\n" + text)
        for name in ("1.png", "2.png")[: text.count("\n")]:
            (tmp_path / split / name).write_bytes(b"photo")
    table = open_table(tmp_path, missing_list=tmp_path / "missing.csv")
    assert table.split_names.tolist() == ["train", "train", "unlabeled", "val"]
    assert table.image_ids.tolist() == ["1.png", "2.png", "unlabeled/1.png", "val/1.png"]
    assert [Path(path).is_file() for path in table.photo_paths()] == [True] * 4
    (tmp_path / "train" / "metadata.csv").unlink()
    assert tables_in_splits(tmp_path) == []
