"""Tables in the forms that tools and hubs write."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table

DOCUMENTS = {
    "rows": [{"file_name": "a.jpg", "label": "cat"}, {"file_name": "b.jpg", "label": "dog"}],
    "names": {"a.jpg": "cat", "b.jpg": "dog"},
    "classes": {"cat": ["a"], "dog": ["b.jpg"]},
    "FiftyOne": {"classes": ["cat", "dog"], "labels": {"a": 0, "b": 1}},
    "FiftyOne, objects": {"classes": None, "labels": {"a": {"label": "cat"}, "b": [{"label": "dog"}]}},
    "COCO": {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 9, "category_id": 2}, {"image_id": 7, "category_id": 1}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    },
}


def names_of(table):
    return [(path, table.class_names[label]) for path, label in zip(table.paths, table.labels, strict=True)]


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@pytest.mark.parametrize("folder", ["data", "images"])
def test_a_json_file_of_labels(lay, tmp_path, document, folder):
    lay(tmp_path / folder, "a.jpg", "b.jpg")
    (tmp_path / "labels.json").write_text(json.dumps(document))
    for source in (tmp_path, tmp_path / "labels.json"):
        assert names_of(read_table(source)) == [("a.jpg", "cat"), ("b.jpg", "dog")]


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"a": {"b": 1}}', "3", "[" * 100_000])
def test_json_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(TableError, match=r"t.json is no JSON table"):
        read_table(tmp_path / "t.json")


def test_an_image_of_several_categories_is_told(tmp_path):
    document = dict(DOCUMENTS["COCO"])
    document["annotations"] = [*document["annotations"], {"image_id": 7, "category_id": 2}]
    (tmp_path / "coco.json").write_text(json.dumps(document))
    with pytest.raises(TableError, match=r"join several others: 'cat\|dog'"):
        read_table(tmp_path / "coco.json", allow_missing=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv.gz", gzip.compress(b"image_id,label\na.jpg,cat\nb.jpg,dog\n", mtime=0)),
        ("train.csv", b"\xef\xbb\xbfsep=;\r\nimage_id;label\r\na.jpg;cat\r\nb.jpg;dog\r\n"),
        ("train.csv", b"image_id|label\na.jpg|cat\nb.jpg|dog\n"),
        ("train.csv", b"a.jpg,cat\nb.jpg,dog\n"),
        ("train.csv", b'cat,"a.jpg"\ndog,"b.jpg"\n'),
        ("train.txt", b"a.jpg cat\nb.jpg dog\n"),
        ("train.txt", b"  a.jpg    cat \r\n  b.jpg    dog \r\n"),
        ("train.txt", b"image_id label\na.jpg cat\nb.jpg dog\n"),
    ],
    ids=["gzip", "sep", "bars", "no header", "no header, quoted", "spaces", "columns of spaces", "header"],
)
def test_other_forms_of_csv(lay, tmp_path, name, content):
    lay(tmp_path / "train_images", "a.jpg", "b.jpg")
    (tmp_path / name).write_bytes(content)
    assert names_of(read_table(tmp_path / name)) == [("a.jpg", "cat"), ("b.jpg", "dog")]


def test_lines_are_counted_from_the_first_where_there_is_no_header(lay, tmp_path):
    lay(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "list.txt").write_text("a.jpg 0\nb.jpg 1\nc.jpg 1\nd.jpg 1\n")
    with pytest.raises(TableError, match=r"'c.jpg' \(no such file\) line 3"):
        read_table(tmp_path / "list.txt")


def test_of_a_list_of_three_columns_the_label_may_be_named(lay, tmp_path):
    lay(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "list.txt").write_text("a.jpg 7 cat\nb.jpg 8 dog\n")
    table = read_table(tmp_path / "list.txt", label_column="column 3")
    assert names_of(table) == [("a.jpg", "cat"), ("b.jpg", "dog")]


def test_a_damaged_gz_file_is_named(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"image_id,label\n" * 99)[:40])
    with pytest.raises(TableError, match=r"t.csv.gz is no whole .gz file"):
        read_table(tmp_path / "t.csv.gz")


@pytest.mark.parametrize("folder", ["data", "."])
def test_shards_of_a_hub_are_one_table(tmp_path, folder):
    (tmp_path / "hub" / folder).mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        photo = {"bytes": b"\xff\xd8\xff" + bytes([shard]), "path": f"{shard}.jpg"}
        rows = pa.table({"image": [photo], "label": [["cat", "dog"][shard]]})
        pq.write_table(rows, tmp_path / "hub" / folder / f"train-0000{shard}-of-00002.parquet")
    pq.write_table(rows, tmp_path / "hub" / folder / "test-00000-of-00001.parquet")
    pq.write_table(rows.drop(["label"]), tmp_path / "hub" / folder / "validation-00000-of-00001.parquet")
    pq.write_table(rows, tmp_path / "hub" / folder / "extra.parquet")
    table = read_table(tmp_path / "hub", unpack_to=tmp_path / "photos")
    assert table.image_ids.tolist() == ["0.jpg", "1.jpg", "val/1.jpg", "test/1.jpg"]
    assert table.split_names.tolist() == ["train", "train", "unlabeled", "test"]
    assert table.given_names.tolist() == ["cat", "dog", "", "dog"]
    assert table.class_names == ("cat", "dog")
    assert table.notes == (
        "Shards without the name of a split are not read: 'extra.parquet'.",
        "Splits from the names of files: 2 train, 1 val, 1 test.",
        "1 ids are in several splits, such as '1.jpg': outside train, the split stands before them.",
        "1 rows of val have no label: they are unlabeled.",
    )
