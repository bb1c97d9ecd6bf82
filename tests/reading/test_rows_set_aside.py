"""One unusual row stops nothing: it is set aside, counted in a note and listed; the others count."""

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import NO_LABEL, read_table

HEAD = "image_id,label,fold\na.jpg,0,1\nb.jpg,1,2\n"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("c.jpg,,1", "without a label"),
        ("c.jpg,-1,1", "without a label, '-1'"),
        ("c.jpg,NA,1", "without a label, 'NA'"),
        ("c.jpg,0,-1", "in no fold (-1)"),
        ("c.jpg,0,", "in no fold (-1)"),
        ("x.jpg,0,1", "no photo: no such file"),
        (",0,1", "without an id"),
        ("a.jpg,0,1", "repeat of a row"),
    ],
)
def test_an_unusual_row_is_set_aside(csv_with_photos, tmp_path, row, reason):
    table = read_table(csv_with_photos(tmp_path, f"{HEAD}{row}\n", "a.jpg", "b.jpg", "c.jpg"))
    assert table.image_ids.tolist() == ["a.jpg", "b.jpg"]
    assert (row.partition(",")[0], f"row set aside: {reason} (line 4)") in table.skipped
    assert any(f"1 row was set aside: {reason}" in note for note in table.notes)


def test_a_class_that_loses_all_its_rows_is_told_loudly(csv_with_photos, tmp_path):
    text = "image_id,label\na.jpg,cat\nb.jpg,dog\nx.jpg,cow\n"
    table = read_table(csv_with_photos(tmp_path, text, "a.jpg", "b.jpg"))
    assert "NO ROW IS LEFT of 1 classes: 'cow'." in table.notes


def test_minus_one_as_a_class_is_never_lost_silently(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,-1\nb.jpg,1\n", "a.jpg", "b.jpg")
    with pytest.raises(TableError, match=r"have the label '1'; 1 were set aside: .*'-1'.*--class-map"):
        read_table(path)
    assert read_table(path, class_map=["-1", "1"]).given_labels.tolist() == [0, 1]


def test_most_photos_missing_is_the_wrong_folder(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,0\nx.jpg,1\ny.jpg,1\n", "a.jpg")
    with pytest.raises(TableError, match=r"photos that are not in .*: 'x.jpg' .*, 'y.jpg'.*--images"):
        read_table(path)


def test_folds_from_one_are_as_many_as_they_are(csv_with_photos, tmp_path):
    table = read_table(csv_with_photos(tmp_path, HEAD, "a.jpg", "b.jpg"))
    assert table.folds.tolist() == [0, 1]
    assert "The 2 folds are those of column 'fold'; no other split is made." in table.notes


@pytest.mark.parametrize("text", ["image_id,label\na.jpg,\nb.jpg,cat\n", "image_id\na.jpg\nb.jpg\n"])
def test_labels_may_be_missing_where_none_is_needed(csv_with_photos, tmp_path, text):
    table = read_table(csv_with_photos(tmp_path, text, "a.jpg", "b.jpg"), need_labels=False)
    assert table.image_ids.tolist() == ["a.jpg", "b.jpg"]
    assert table.class_names[table.given_labels[0]] == NO_LABEL


def test_one_folder_of_photos_needs_no_classes(lay, tmp_path):
    lay(tmp_path, "a.jpg", "b.jpg")
    assert len(read_table(tmp_path, need_labels=False)) == 2
