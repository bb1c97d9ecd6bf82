"""Arrays in `.npz` and folders of `save_to_disk`: the photos and labels come out, no object is unpickled."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from kiyome.errors import TableError
from kiyome.reading import copying
from kiyome.reading.converted import conversion_of
from kiyome.reading.elsewhere import bring_here, is_elsewhere
from kiyome.reading.read_table import read_table

rng = np.random.default_rng(0)
COLOR = rng.integers(0, 256, (6, 8, 9, 3), np.uint8)
GREY = COLOR[..., 1]
LABELS = np.array([0, 1, 1, 0, 1, 0])


def read(source: Path, tmp_path: Path):
    assert is_elsewhere(source)
    return read_table(bring_here(source, tmp_path / "cache"), unpack_to=tmp_path / "photos")


def pixels_of(table) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in table.photo_paths()])


def saved(tmp_path: Path, **arrays: object) -> Path:
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x", "y"), ("x_train", "y_train"), ("train_images", "train_labels")]
)
@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (COLOR, COLOR),
        (np.moveaxis(COLOR, 3, 1), COLOR),
        (GREY, GREY),
        (GREY[..., None], GREY),
        (GREY / 255, GREY),
        (GREY > 99, np.where(GREY > 99, 255, 0)),
        (GREY.astype(np.uint16) * 16, GREY.astype(np.uint16) * 16),
    ],
    ids=["color", "channels first", "grey", "one channel", "parts of one", "bits", "16 bits"],
)
def test_images_with_labels(tmp_path: Path, names, images, expected):
    table = read(saved(tmp_path, **dict(zip(names, (images, LABELS), strict=True))), tmp_path)
    assert np.array_equal(pixels_of(table), expected)
    assert table.given_labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("labels", "more", "names"),
    [
        (LABELS[:, None], {}, ("0", "1")),
        (np.eye(2)[LABELS], {}, ("0", "1")),
        (LABELS.astype(np.float32), {}, ("0", "1")),
        (np.array(["cat", "dog"])[LABELS], {}, ("cat", "dog")),
        (LABELS, {"class_names": np.array(["cat", "dog"])}, ("cat", "dog")),
        (np.array(["x", "y"])[LABELS], {"class_names": np.array(["cat", "dog"])}, ("x", "y")),
    ],
    ids=["column", "one-hot", "floats", "texts", "names", "texts and names"],
)
def test_forms_of_labels(tmp_path: Path, labels, more, names):
    table = read(saved(tmp_path, images=GREY, labels=labels, **more), tmp_path)
    assert (table.class_names, table.given_labels.tolist()) == (names, LABELS.tolist())


def test_a_label_of_minus_one_is_none(tmp_path: Path):
    labels = np.where(np.arange(6) == 5, -1, LABELS)
    for more in ({}, {"class_names": np.array(["cat", "dog"])}):
        table = read(saved(tmp_path, images=GREY, labels=labels, **more), tmp_path)
        assert table.given_labels.tolist() == LABELS[:5].tolist()


def test_splits_of_arrays_are_splits_of_the_table(tmp_path: Path):
    source = saved(
        tmp_path, x_train=GREY[:4], y_train=LABELS[:4], x_test=GREY[4:], y_test=LABELS[4:], x_mean=GREY
    )
    table = read(source, tmp_path)
    assert table.splits.tolist() == 4 * ["train"] + 2 * ["test"]
    assert np.array_equal(pixels_of(table), GREY)


BAD_ARRAYS = {
    "no labels": ({"images": GREY}, r"holds no images with labels: 'images' \(6, 8, 9\)"),
    "other counts": ({"images": GREY, "labels": LABELS[:5]}, "has 6 images and 5 labels"),
    "objects": ({"images": GREY, "labels": np.array([{}] * 6, object)}, r"pickled objects are not loaded"),
    "no images": ({"images": GREY[0], "labels": LABELS}, r"The array 'images' holds uint8 of shape \(8, 9\)"),
    "large numbers": ({"images": GREY * 2.0, "labels": LABELS}, r"'images' holds float64 .* as bytes"),
    "no pixels": ({"images": np.zeros((9**9, 0, 4), np.uint8), "labels": LABELS}, "holds uint8 of shape"),
    "several labels": ({"images": GREY, "labels": np.ones((6, 3))}, r"'labels' holds float64 of shape"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_arrays_that_are_no_data_are_named_and_nothing_stays(tmp_path: Path, arrays, message):
    with pytest.raises(TableError, match=message):
        read(saved(tmp_path, **arrays), tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_a_pickle_is_not_run_and_a_name_is_no_path(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "run",)  # type: ignore[return-value]

    with zipfile.ZipFile(saved(tmp_path, images=GREY, labels=LABELS), "a") as archive:
        archive.writestr("../../class_names.npy", pickle.dumps(Trap()))
    with pytest.raises(TableError, match="pickled objects are not loaded"):
        read(tmp_path / "data.npz", tmp_path)
    assert not (tmp_path / "run").exists()


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(copying, "RESERVE_BYTES", 2**60)
    with pytest.raises(TableError, match=r"data.npz takes 0.0 GiB, and .* set KIYOME_CACHE"):
        read(saved(tmp_path, images=GREY, labels=LABELS), tmp_path)


def save_to_disk(folder: Path, rows: range, *, is_stream: bool = True) -> None:
    """What `Dataset.save_to_disk` writes: Arrow streams and two JSON files."""
    folder.mkdir(parents=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    photos = [{"bytes": b"\xff\xd8\xff\xe0 photo %d" % row, "path": None} for row in rows]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    content = pa.table({"image": pa.array(photos, kind), "label": [int(LABELS[row]) for row in rows]})
    content = content.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = folder / "data-00000-of-00001.arrow"
    new_writer = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, new_writer(file, content.schema) as writer:
        writer.write_table(content, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "/etc/passwd"}]}))
    (folder / "dataset_info.json").write_text("{}")


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_saved_dataset_is_a_table(tmp_path: Path, is_stream):
    save_to_disk(tmp_path / "saved", range(6), is_stream=is_stream)
    table = read(tmp_path / "saved", tmp_path)
    assert (table.class_names, table.given_labels.tolist()) == (("cat", "dog"), LABELS.tolist())
    assert [path.read_bytes()[-1:] for path in map(Path, table.photo_paths())] == [
        b"%d" % n for n in range(6)
    ]


def test_of_a_saved_dataset_dict_each_split_is_a_shard(tmp_path: Path):
    save_to_disk(tmp_path / "saved/train", range(4))
    save_to_disk(tmp_path / "saved/test", range(4, 6))
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = bring_here(tmp_path / "saved", tmp_path / "cache")
    assert sorted(path.name for path in found.iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ]
    assert bring_here(tmp_path / "saved", tmp_path / "cache") == found
    assert sorted(read(tmp_path / "saved", tmp_path).splits) == 2 * ["test"] + 4 * ["train"]


def test_a_broken_saved_dataset_is_named_and_a_link_is_not_followed(tmp_path: Path):
    save_to_disk(tmp_path / "saved", range(6))
    path = tmp_path / "saved/data-00000-of-00001.arrow"
    (tmp_path / "saved/other.arrow").symlink_to(path)
    conversion = conversion_of(tmp_path / "saved")
    assert conversion is not None
    assert conversion.files == [path]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TableError, match=r"data-00000-of-00001.arrow is no whole Arrow file"):
        read(tmp_path / "saved", tmp_path)


def test_folders_that_no_data_set_was_saved_to_are_left_alone(tmp_path: Path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dataset_info.json").write_text("{}")
    assert conversion_of(tmp_path) is None
    assert conversion_of(tmp_path / "nothing.npz") is None
