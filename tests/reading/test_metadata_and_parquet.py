import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table

JPEG = b"\xff\xd8\xff\xe0 a photo as far as a table needs to know"
GOOD_PHOTOS = ("a.jpg", "b.jpg", "c.jpg")


def test_hugging_face_metadata_in_its_three_forms(lay, tmp_path):
    rows = [{"file_name": "001.jpg", "label": 0}, {"file_name": "sub/002.jpg", "label": 1}]
    lay(tmp_path, "001.jpg", "sub/002.jpg")
    (tmp_path / "metadata.csv").write_text("file_name,label\n001.jpg,0\nsub/002.jpg,1\n")
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    digests = set()
    for ending in ("csv", "jsonl", "parquet"):
        folder = tmp_path / ending
        lay(folder, "001.jpg", "sub/002.jpg")
        (tmp_path / f"metadata.{ending}").rename(folder / f"metadata.{ending}")
        digests |= {
            read_table(folder).content_digest,
            read_table(folder / f"metadata.{ending}").content_digest,
        }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"file_name": "a.jpg", "label": 0}\n[1]\n',
            r"Line 2 of .* is no JSON object: '\[1\]'",
        ),
        (
            '{"file_name": "a.jpg", "label": 0}\n{"file_name"\n',
            "Line 2 of .* is no JSON object: .*file_name",
        ),
        (
            '{"file_name": "a.jpg", "label": 0, "label": 1}\n',
            "The object in line 1 of .* has 2 keys 'label'",
        ),
        ('{"file_name": "a.jpg", "label": [0]}\n', "Column 'label' of .* holds lists or objects"),
        (
            '{"file_name": "a.jpg", "label": 0}\n\n{"file_name": "b.jpg"}\n',
            "All 1 rows of .* have the label '0'; 1 were set aside: without a label",
        ),
        (
            '{"file_name": "a.jpg", "label": "x"}\n{"file_name": "b.jpg", "label": NaN}\n',
            "rows without a label: 'NaN' line 2",
        ),
        ('{"file_name": "a\\u0000.jpg", "label": 0}\n', "texts with NUL or broken Unicode: .*line 1"),
        ('{"file_name": "a\\ud800.jpg", "label": 0}\n', "texts with NUL or broken Unicode: .*line 1"),
        ("[" * 100_000, "Line 1 of .* is no JSON object"),
    ],
)
def test_bad_json_lines_are_named(lay, tmp_path, text, message):
    lay(tmp_path, *GOOD_PHOTOS)
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


def test_json_numbers_stay_as_written(lay, tmp_path):
    lay(tmp_path, "1.50", "007")
    text = '{"file_name": "1.50", "label": 1e5}\n{"file_name": "007", "label": 100}\n'
    (tmp_path / "metadata.jsonl").write_text(text)
    assert read_table(tmp_path).class_names == ("100", "1e5")


@pytest.mark.parametrize("damage", [lambda raw: raw[:-30], lambda _: b"not parquet", lambda _: b""])
def test_a_damaged_parquet_file_is_named(tmp_path, damage):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image_id": ["a", "b"], "label": [0, 1]}), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TableError, match=r"train.parquet is no whole Parquet file"):
        read_table(path)


@pytest.mark.parametrize(("gap", "told"), [(float("nan"), ", 'nan'"), (None, ""), (-1.0, ", '-1'")])
def test_parquet_rows_without_a_label_are_set_aside(tmp_path, gap, told):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image_id": ["a", "b", "c"], "label": [0.0, 1.0, gap]}), path)
    table = read_table(path, allow_missing=True)
    assert table.image_ids.tolist() == ["a", "b"]
    assert table.skipped == (("c", f"row set aside: without a label{told} (row 3)"),)


def embedded(path, **columns):
    features = {"label": {"names": ["well", "sick"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def test_photos_inside_parquet_are_unpacked_once(tmp_path):
    photos = [{"bytes": JPEG + bytes([i]), "path": f"../leaf{i}.jpg"} for i in range(3)]
    path = embedded(tmp_path / "train.parquet", image=photos, label=[1, 0, 1])
    with pytest.raises(TableError, match=r"Column 'image' of .* holds photos.* Name it with unpack_to="):
        read_table(path)
    table = read_table(path, unpack_to=tmp_path / "photos")
    assert table.class_names == ("well", "sick")
    assert table.labels.tolist() == [1, 0, 1]
    assert table.image_ids.tolist() == ["../leaf0.jpg", "../leaf1.jpg", "../leaf2.jpg"]
    assert [Path(p).read_bytes() for p in table.photo_paths()] == [photo["bytes"] for photo in photos]
    assert all(
        name.startswith(f"000000{row}-") and name.endswith(".jpg") for row, name in enumerate(table.paths)
    )
    first = Path(table.photo_paths()[0])
    kept, first_seen = Path(table.photo_paths()[1]).stat().st_mtime_ns, first.stat().st_ino
    first.write_bytes(b"changed")
    again = read_table(path, unpack_to=tmp_path / "photos")
    assert again.content_digest == table.content_digest
    assert first.read_bytes() == photos[0]["bytes"]
    assert first.stat().st_ino != first_seen
    assert Path(table.photo_paths()[1]).stat().st_mtime_ns == kept


def test_plain_binary_photos_get_ids_from_their_rows(tmp_path):
    path = embedded(tmp_path / "train.parquet", jpg=[JPEG, b"\x89PNG\r\n\x1a\n", b"?"], label=["a", "b", "a"])
    table = read_table(path, unpack_to=tmp_path / "photos", class_map=["a", "b"])
    assert table.image_ids.tolist() == ["row-0000000", "row-0000001", "row-0000002"]
    assert [Path(name).suffix for name in table.paths] == [".jpg", ".png", ".bin"]


def test_a_row_without_its_photo_inside_is_named(tmp_path):
    path = embedded(tmp_path / "train.parquet", image_id=["x", "y"], image=[JPEG, None], label=[0, 1])
    with pytest.raises(TableError, match=r"has photos that are not in .*\(no path\) row 2"):
        read_table(path, unpack_to=tmp_path / "photos")


def test_lists_in_a_parquet_column_are_named(tmp_path):
    pq.write_table(pa.table({"image_id": ["a", "b"], "label": [[0], [1, 2]]}), tmp_path / "train.parquet")
    with pytest.raises(TableError, match=r"Column 'label' of train.parquet holds lists or objects"):
        read_table(tmp_path / "train.parquet", allow_missing=True)
