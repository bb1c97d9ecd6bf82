"""Columns of ids and labels that no option names: by their names, by their cells, by what is left."""

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table

ONLY_LEFT = "Labels are those of column {!r}, the only one left; --label-column names another column."


def rows(header: str, *cells: str) -> str:
    """Four photos a.jpg to d.jpg, the first two of one class."""
    lines = [each.format(n=n, id=name, k=n // 2) for n, name in enumerate("abcd") for each in cells]
    return "\n".join([header, *lines]) + "\n"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (rows("id_code,diagnosis", "{id},{k}"), None),
        (rows("image_name,patient_id,sex,target", "{id},{n},male,{k}"), None),
        (rows("Image,Id", "{id}.jpg,w_{k}"), ONLY_LEFT.format("Id")),
        (rows("id,age group", "{id},{k}"), ONLY_LEFT.format("age group")),
        (rows("Unnamed: 0,img,disease", "{n},{id}.jpg,{k}"), ONLY_LEFT.format("disease")),
        (rows("leaf,disease", "{id}.jpg,{k}"), ONLY_LEFT.format("disease")),
        (rows("leaf,x,y,label", "{id}.jpg,{n},{n},{k}"), None),
        (rows("id,image_name,class", "3,{id}.jpg,{k}"), None),
    ],
)
def test_ids_and_labels_are_found(lay, tmp_path, text, note):
    lay(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "train.csv").write_text(text)
    table = read_table(tmp_path / "train.csv")
    assert table.paths.tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert table.given_labels.tolist() == [0, 0, 1, 1]
    assert [each for each in table.notes if "Labels are" in each] == ([note] if note else [])


@pytest.mark.parametrize(
    "text",
    [
        rows("id,age,sex", "{id},{k},{n}"),
        rows("id,price", "{id},1.{n}"),
        rows("leaf,disease", "{id},{k}"),
    ],
    ids=["two left", "no classes", "no photos"],
)
def test_where_more_than_one_column_fits_none_is_guessed(lay, tmp_path, text):
    lay(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(TableError, match=r"Name the right column with --(label|id)-column"):
        read_table(tmp_path / "train.csv")


def test_an_option_goes_before_any_name(lay, tmp_path):
    lay(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "train.csv").write_text(rows("id,Image,label", "w_{k},{id}.jpg,{n}"))
    table = read_table(tmp_path / "train.csv", label_column="id")
    assert (table.image_ids.tolist(), table.class_names) == (
        ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        ("w_0", "w_1"),
    )
