import os

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table


def files_below(root):
    """Every file and link, by the system's own walk."""
    return sum(path.is_symlink() or not path.is_dir() for path in root.rglob("*"))


def rows_and_skipped_add_up(root, table):
    listed = [entry for entry in table.skipped if not entry.path.endswith("/")]
    return len(table) + len(listed) == files_below(root)


def test_folders_are_classes_and_order_is_sorted(lay, tmp_path):
    lay(tmp_path, "dog/2.jpg", "dog/1.PNG", "cat/inner/deep/3.jpeg", "cat/004.webp")
    table = read_table(tmp_path)
    assert table.class_names == ("cat", "dog")
    assert table.image_ids.tolist() == ["cat/004.webp", "cat/inner/deep/3.jpeg", "dog/1.PNG", "dog/2.jpg"]
    assert table.labels.tolist() == [0, 0, 1, 1]
    assert table.skipped == ()


def test_everything_that_is_no_photo_is_listed_with_its_reason(lay, tmp_path):
    root = tmp_path / "data"
    lay(root, "cat/1.jpg", "cat/scan", "dog/1.jpg", "dog/photo.jfif", "dog/anim.gif", "dog/page.tiff")
    lay(root, "cat/.ipynb_checkpoints/1-checkpoint.jpg", ".hidden/1.jpg", "cat/._1.jpg", "loose.jpg")
    lay(root, "cat/notes.txt", "cat/readme", "dog/draw.svg", "empty/Thumbs.db", content=b"text")
    (root / "nothing").mkdir()
    lay(tmp_path, "outside.jpg")
    (root / "dog/out.jpg").symlink_to(tmp_path / "outside.jpg")
    (root / "dog/dangling.jpg").symlink_to("none.jpg")
    (root / "dog/inside.jpg").symlink_to("1.jpg")
    (root / "dog/circle").symlink_to("..")
    (root / "dog/loop.jpg").symlink_to("loop.jpg")
    (root / "away").symlink_to(tmp_path)
    os.mkfifo(root / "dog/pipe.jpg")
    table = read_table(root)
    assert table.class_names == ("cat", "dog")
    assert table.image_ids.tolist() == [
        *("cat/1.jpg", "cat/scan"),
        *("dog/1.jpg", "dog/anim.gif", "dog/inside.jpg", "dog/page.tiff", "dog/photo.jfif"),
    ]
    reasons = dict(table.skipped)
    assert reasons == {
        ".hidden/1.jpg": "hidden file, or in a hidden folder",
        "away": "link that leaves the data folder",
        "cat/._1.jpg": "hidden file, or in a hidden folder",
        "cat/.ipynb_checkpoints/1-checkpoint.jpg": "hidden file, or in a hidden folder",
        "cat/notes.txt": "not a photo that kiyome reads (.txt)",
        "cat/readme": "not a photo that kiyome reads (no ending)",
        "dog/circle": "link to a folder, whose photos count where they lie",
        "dog/dangling.jpg": "link to nothing: No such file or directory",
        "dog/draw.svg": "not a photo that kiyome reads (.svg)",
        "dog/loop.jpg": "link to nothing: Too many levels of symbolic links",
        "dog/out.jpg": "link that leaves the data folder",
        "dog/pipe.jpg": "not a regular file",
        "empty/": "folder without photos",
        "empty/Thumbs.db": "not a photo that kiyome reads (.db)",
        "loose.jpg": "lies outside the class folders",
        "nothing/": "folder without photos",
    }
    assert rows_and_skipped_add_up(root, table)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "has no class folder with photos; it holds 0 other files.* one folder of photos for each class"),
        (
            ("1.jpg", "2.jpg"),
            r"has no class folder with photos; it holds 2 other files, such as '1.jpg' \(lies outside",
        ),
        (("cat/notes.txt",), r"such as 'cat/notes.txt' \(not a photo that kiyome reads \(.txt\)\)"),
        (("cat/1.jpg",), "has photos of one class only, 'cat'.*at least two classes.*folder of its own"),
        (
            ("data/cat/1.jpg", "data/dog/1.jpg"),
            "at least two classes.* If its folders are the classes, give .*/data",
        ),
        (
            ("train/cat/1.jpg", "val/cat/1.jpg", "Test/cat/1.jpg"),
            "holds only splits: Test, train, val.*Give one of the splits: .*/train",
        ),
        (
            ("cat/1.jpg", "Cat /1.jpg"),
            "has folders with nearly equal names: 'Cat ', 'cat'.*Merge the folders",
        ),
        (("caf\u00e9/1.jpg", "cafe\u0301/1.jpg"), "Class names must differ in more than"),
    ],
)
def test_a_folder_that_is_no_data_set_is_named(lay, tmp_path, names, message):
    lay(tmp_path, *names)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


def test_a_class_map_orders_renames_and_merges_folders(lay, tmp_path):
    lay(tmp_path, "cat/1.jpg", "Cat/1.jpg", "dog/1.jpg")
    table = read_table(tmp_path, class_map={"dog": "dogs", "cat": "cats", "Cat": "cats"})
    assert table.class_names == ("dogs", "cats")
    assert dict(zip(table.image_ids, table.labels.tolist(), strict=True)) == {
        "Cat/1.jpg": 1,
        "cat/1.jpg": 1,
        "dog/1.jpg": 0,
    }
    with pytest.raises(TableError, match=r"has class folders that are not in class_map: Cat, dog"):
        read_table(tmp_path, class_map=["cat"])


def test_a_linked_data_folder_is_read(lay, tmp_path):
    lay(tmp_path / "disk", "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert len(read_table(tmp_path / "link")) == 2


def test_a_deep_folder_is_read(lay, tmp_path):
    lay(tmp_path, "cat/" + "a/" * 400 + "1.jpg", "dog/1.jpg")
    assert len(read_table(tmp_path)) == 2
