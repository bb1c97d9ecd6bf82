"""The photos of a table: names that differ are matched one to one, and nothing leaves the folder unasked."""

import os
from pathlib import Path

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table

PHOTOS = ("images/cat/1.jpg", "images/cat/2.jpg", "images/IMG_3.JPG")


@pytest.mark.parametrize(
    "names",
    [
        ("{root}/images/cat/1.jpg", "{root}/images/cat/2.jpg", "{root}/images/IMG_3.JPG"),
        ("file://{root}/images/cat/1.jpg", "file://{root}/images/cat/2.jpg", "images/IMG_3.JPG"),
        ("images\\cat\\1.jpg", "images\\cat\\2.jpg", "images\\IMG_3.JPG"),
        ("C:\\data\\cat\\1.jpg", "C:\\data\\cat\\2.jpg", "C:\\data\\IMG_3.JPG"),
        ("/kaggle/input/pets/cat/1.jpg", "/kaggle/input/pets/cat/2.jpg", "/kaggle/input/pets/IMG_3.JPG"),
        ("cat/1.jpg", "cat/2.jpg", "img_3.jpg"),
        ("cat/1.png", "cat/2.png", "IMG_3.png"),
        ("1", "2", "IMG_3"),
        ("cat/1.jpg ", " cat/2.jpg", "IMG_3.JPG"),
    ],
)
@pytest.mark.parametrize("images", [None, "images"])
def test_names_are_matched_one_to_one(lay, tmp_path, names, images):
    lay(tmp_path, *PHOTOS)
    rows = "".join(f"{name.format(root=tmp_path)},{i % 2}\n" for i, name in enumerate(names))
    (tmp_path / "train.csv").write_text("path,label\n" + rows)
    table = read_table(tmp_path / "train.csv", images=images and tmp_path / images)
    found = [os.path.relpath(path, tmp_path) for path in table.photo_paths()]
    assert found == list(PHOTOS)


def test_what_was_matched_is_counted(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "id,label\nA.JPG,0\nb.jpg,1\n", "a.jpg", "b.jpg")
    assert "1 names in the table differ from those of the photos and were matched: 1 by case." in (
        read_table(path).notes
    )


def test_photos_in_part_folders_are_found(lay, tmp_path):
    lay(tmp_path, "part_1/ISIC_1.jpg", "part_2/ISIC_2.jpg", "part_2/ISIC_3.jpg")
    (tmp_path / "metadata.csv").write_text("image_id,label\nISIC_1,nv\nISIC_2,mel\nISIC_3,nv\n")
    assert read_table(tmp_path).paths.tolist() == [
        "part_1/ISIC_1.jpg",
        "part_2/ISIC_2.jpg",
        "part_2/ISIC_3.jpg",
    ]


def test_a_table_beside_its_split_folders_is_found(lay, tmp_path):
    lay(tmp_path, "train/a.jpg", "train/b.jpg", "test/c.jpg")
    (tmp_path / "labels.csv").write_text("id,label\na,cat\nb,dog\n")
    assert read_table(tmp_path).paths.tolist() == ["train/a.jpg", "train/b.jpg"]


def test_a_photo_serves_one_row(csv_with_photos, tmp_path):
    path = csv_with_photos(
        tmp_path, "id,label\na.jpg,0\nA.JPG,1\nb.jpg,1\nc.jpg,1\n", "a.jpg", "b.jpg", "c.jpg"
    )
    table = read_table(path)
    assert table.image_ids.tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    reason = "no photo: no such file; several files or rows have a name like it"
    assert table.skipped == (("A.JPG", f"row set aside: {reason} (line 3)"),)


def pool(lay, root):
    """A snapshot whose photos are links into a pool beside it; two lead to one file."""
    lay(root, "pool/x1", "pool/x2", "pool/x3")
    for name, target in {"cat/1.jpg": "x1", "cat/2.jpg": "x2", "dog/1.jpg": "x3", "dog/2.jpg": "x3"}.items():
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / name).symlink_to(root / "pool" / target)
    (root / "photos" / "back").symlink_to(root / "photos")


def test_links_are_followed_only_when_asked(lay, tmp_path):
    pool(lay, tmp_path)
    with pytest.raises(TableError, match=r"link that leaves the data folder.*--follow-links"):
        read_table(tmp_path / "photos")
    table = read_table(tmp_path / "photos", follow_links=True)
    assert table.image_ids.tolist() == ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"]
    assert [Path(path).name for path in table.photo_paths()] == ["x1", "x2", "x3"]
    assert ("dog/2.jpg", "link to the file of 'dog/1.jpg', which counts once") in table.skipped


def test_links_of_a_table_are_followed_only_when_asked(lay, tmp_path):
    pool(lay, tmp_path)
    (tmp_path / "t.csv").write_text("path,label\ncat/1.jpg,cat\ndog/1.jpg,dog\n")
    with pytest.raises(TableError, match=r"photos outside the data folder .*'cat/1.jpg'.*--follow-links"):
        read_table(tmp_path / "t.csv", images=tmp_path / "photos")
    table = read_table(tmp_path / "t.csv", images=tmp_path / "photos", follow_links=True)
    assert [Path(path).name for path in table.photo_paths()] == ["x1", "x3"]


def test_a_followed_link_may_still_not_be_named_by_a_path_upward(lay, tmp_path):
    pool(lay, tmp_path)
    (tmp_path / "t.csv").write_text("path,label\n../pool/x1,cat\n/etc/passwd,dog\n")
    with pytest.raises(TableError, match=r"photos outside the data folder .*'../pool/x1'"):
        read_table(tmp_path / "t.csv", images=tmp_path / "photos", follow_links=True)
