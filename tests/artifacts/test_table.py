import dataclasses
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.artifacts.escapes import path_of_text, text_of_path
from kiyome.artifacts.table import COLUMN_TYPES, SPLITS, Table
from kiyome.artifacts.table_files import load_table, write_table
from kiyome.errors import InputError, StaleArtifact, TableError
from kiyome.reading.read_table import read_table

HOSTILE = [
    *[
        "007",
        "1e5",
        "NA",
        "None",
        "true",
        "-1",
        '"',
        "''",
        "a,b",
        "a\nb",
        "a\r\nb",
        "\r",
        " x ",
        "=1+1",
        "@cmd",
    ],
    *["é", "日本", "😀", "\u2028", "%41", "100%", "\ufeffx", "{}", "\\N", "1.0", ";", "\t"],
]
words = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8),
)
file_names = st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"-"))


def small(**changes):
    columns = {
        "root": Path("photos"),
        "image_ids": ["a", "b", "c"],
        "paths": ["a.jpg", "b.jpg", "c.jpg"],
        "given_labels": [0, 1, 0],
        "class_names": ("cat", "dog"),
    }
    return Table(**columns | changes)


@st.composite
def tables(draw):
    ids = draw(st.lists(words, min_size=2, max_size=8, unique=True))
    names = draw(st.lists(words, min_size=2, max_size=5, unique=True))
    n, labels = len(ids), st.integers(0, len(names) - 1)

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    optional = {
        "true_labels": st.integers(-1, len(names) - 1),
        "weights": st.floats(0, 1e6, width=32),
        "groups": st.one_of(st.just(""), words),
        "folds": st.integers(0, 4),
    }
    chosen = {name: np.array(column(v)) for name, v in optional.items() if draw(st.booleans())}
    if draw(st.booleans()):
        texts = st.lists(words, min_size=len(names), max_size=len(names), unique=True)
        chosen["label_texts"] = tuple(draw(texts))
    given, current = np.array([0, 1, *column(labels)[2:]]), np.array(column(labels))
    if draw(st.booleans()):
        chosen["splits"] = np.array(["train", "train", *column(st.sampled_from(SPLITS))[2:]], object)
        given[chosen["splits"] == "unlabeled"] = current[chosen["splits"] == "unlabeled"] = -1
        if "folds" in chosen:
            chosen["folds"][chosen["splits"] != "train"] = -1
    return Table(
        root=Path("nowhere"),
        image_ids=ids,
        paths=[""] * n,
        given_labels=given,
        labels=current,
        class_names=tuple(names),
        **chosen,
    )


def assert_equal(one, other):
    assert (one.class_names, one.label_texts) == (other.class_names, other.label_texts)
    for name in COLUMN_TYPES:
        mine, yours = getattr(one, name), getattr(other, name)
        assert (mine is None) == (yours is None), name
        assert mine is None or (mine.dtype == yours.dtype and mine.tolist() == yours.tolist()), name
    assert (one.fingerprint, one.content_digest) == (other.fingerprint, other.content_digest)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@settings(derandomize=True, deadline=None, max_examples=80)
@given(tables())
def test_a_written_table_reads_back_equal(suffix, table):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        write_table(table, path)
        assert_equal(table, read_table(path, allow_missing=True))
        if suffix == ".parquet":
            assert_equal(table, load_table(path))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(file_names)
def test_any_file_name_has_a_text_that_leads_back(raw):
    name = raw.decode("utf-8", "surrogateescape")
    text = text_of_path(name)
    assert text.encode().decode() == text
    assert path_of_text(text) == name


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text("%4E9e1zé\udce9\udcff", max_size=6), st.text("%4E9e1zé\udce9\udcff", max_size=6))
def test_different_file_names_have_different_texts(one, other):
    one, other = (os_name(name) for name in (one, other))
    assert (text_of_path(one) == text_of_path(other)) == (one == other)


def os_name(name):
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_with_names_that_are_not_utf8_are_found_again(tmp_path, suffix):
    for name in (b"cat/caf\xe9.png", b"cat/100%.png", b"cat/a%41.png", b"dog/new\nline.png", b"dog/=1.png"):
        path = tmp_path / "photos" / Path(name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    table = read_table(tmp_path / "photos")
    assert table.image_ids[2] == "cat/caf%E9.png"
    write_table(table, tmp_path / f"table{suffix}")
    again = read_table(tmp_path / f"table{suffix}", images=tmp_path / "photos")
    assert_equal(table, again)
    assert [
        Path(path).read_bytes().decode("utf-8", "surrogateescape") for path in again.photo_paths()
    ] == list(again.paths)


def test_an_escaped_name_that_is_also_a_file_is_not_guessed(tmp_path):
    for folder, name in (("cat", b"caf\xe9.png"), ("cat", b"caf%E9.png"), ("dog", b"1.png")):
        path = tmp_path / folder / name.decode("utf-8", "surrogateescape")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    table = read_table(tmp_path)
    assert sorted(table.image_ids) == ["cat/caf%25E9.png", "cat/caf%E9.png", "dog/1.png"]
    write_table(table, tmp_path / "table.csv")
    again = read_table(tmp_path / "table.csv", images=tmp_path)
    assert len(again) < len(table)
    assert any("no photo: ambiguous: files" in entry.reason for entry in again.skipped)


def test_a_table_does_not_change_under_its_reader():
    labels = np.array([0, 1, 0])
    table = small(given_labels=labels)
    labels[0] = 1
    assert table.given_labels.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="read-only"):
        table.labels[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.root = Path()


def test_rows_are_taken_by_mask_and_by_index():
    table = small(weights=np.array([1.0, 2.0, 3.0]), groups=["x", "", "x"])
    assert table.take([True, False, True]).image_ids.tolist() == ["a", "c"]
    taken = table.take([2, 0])
    assert taken.image_ids.tolist() == ["c", "a"]
    assert taken.weights.tolist() == [3.0, 1.0]
    with pytest.raises(InputError, match=r"The mask has shape .*, but the table has 3 rows"):
        table.take([True])
    with pytest.raises(TableError, match="The table has no rows"):
        table.take([])


def test_new_labels_and_folds_leave_the_old_table_alone():
    table = small()
    other = table.with_labels([1, 1, 1]).with_folds([0, 1, 0])
    assert other.labels.tolist() == [1, 1, 1]
    assert other.given_labels.tolist() == table.labels.tolist() == [0, 1, 0]
    assert other.folds.dtype == np.int16
    assert table.folds is None
    assert other.fingerprint == table.fingerprint
    assert other.content_digest != table.content_digest


@pytest.mark.parametrize(
    "changes",
    [
        {"image_ids": ["b", "a", "c"]},
        {"image_ids": ["a", "b", "cc"]},
        {"class_names": ("dog", "cat")},
        {"class_names": ("cat", "dog", "cow")},
    ],
)
def test_the_fingerprint_follows_ids_order_and_class_names(changes):
    assert small(**changes).fingerprint != small().fingerprint


def test_the_fingerprint_is_the_same_today_and_tomorrow():
    assert small().fingerprint[:16] == "92d467a9cb284241"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_ids": [], "paths": [], "given_labels": []}, "The table has no rows"),
        ({"image_ids": ["a", "a", "c"]}, "The image id 'a' occurs 2 times"),
        ({"image_ids": ["a", "", "c"]}, "The image id of row 1 is ''. Expected text"),
        ({"image_ids": ["a", "b\0", "c"]}, r"image id of row 1 is 'b\\x00'. Expected text"),
        ({"image_ids": ["a", "b\udce9", "c"]}, r"image id of row 1 is 'b\\udce9'. Expected text"),
        ({"image_ids": ["a", 7, "c"]}, "The image id of row 1 is 7. Expected text"),
        (
            {"paths": ["a", "/etc/passwd", "c"]},
            "The path '/etc/passwd' in row 1 leads out of the data folder",
        ),
        ({"paths": ["a", "x/../../b", "c"]}, r"The path 'x/../../b' in row 1 leads out of the data folder"),
        ({"paths": ["a", "b"]}, r"paths has shape \(2,\), but there are 3 rows"),
        ({"given_labels": [0, 1, 2]}, r"given_labels has 2 in row 2, outside 0\.\.1"),
        ({"given_labels": [0, 1, -100]}, r"given_labels has -100 in row 2, outside 0\.\.1"),
        ({"given_labels": [0, 1, 2**40]}, "given_labels has 1099511627776 in row 2"),
        (
            {"given_labels": [0.0, 1.0, float("nan")]},
            "given_labels has the type float64. Expected whole numbers",
        ),
        ({"true_labels": [0, 1, -2]}, r"true_labels has -2 in row 2, outside -1..1"),
        ({"folds": [0, 1, -1]}, r"folds has -1 in row 2, outside 0..32767"),
        ({"folds": [0, 1, 65536]}, "folds has 65536 in row 2"),
        ({"weights": [1, 1, float("nan")]}, "The weight in row 2 is nan"),
        ({"weights": [1, -1, 1]}, "The weight in row 1 is -1.0. Weights must be finite and not negative"),
        ({"class_names": ("cat", "cat")}, "The class name 'cat' occurs twice"),
        ({"class_names": ("cat", "")}, "A class name is ''. Expected text"),
        ({"label_texts": ("0",)}, "There are 1 different label texts for 2 classes"),
        ({"label_texts": ("0", "0")}, "There are 1 different label texts for 2 classes"),
        ({"label_texts": ("0", "1\0")}, "A label text is .* Expected text"),
    ],
)
def test_what_a_table_refuses(changes, message):
    with pytest.raises(TableError, match=message):
        small(**changes)


def test_a_table_is_not_written_under_another_ending(tmp_path):
    with pytest.raises(InputError, match=r"'table.xlsx' ends neither in .csv nor in .parquet"):
        write_table(small(), tmp_path / "table.xlsx")


def test_how_labels_are_written_changes_no_digest():
    written = small(label_texts=("0", "1"))
    assert written.label_texts == ("0", "1")
    assert small().label_texts == ("cat", "dog")
    assert written.content_digest == small().content_digest


def test_moving_the_photos_changes_no_digest(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "one" / name).mkdir(parents=True)
        (tmp_path / "one" / name / "1.jpg").write_bytes(b"")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    assert_equal(read_table(tmp_path / "one"), read_table(tmp_path / "other"))


def test_what_kiyome_did_not_write_is_not_loaded_as_its_own(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image_id": ["a", "b"], "label": ["cat", "dog"]}), tmp_path / "theirs.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    table = Table(
        root=tmp_path, image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1], class_names=("cat", "dog")
    )
    write_table(table, tmp_path / "ours.parquet")
    content = pq.read_table(tmp_path / "ours.parquet")
    other = content.set_column(2, "given_label", pa.array(["cat", "owl"]))
    pq.write_table(other, tmp_path / "changed.parquet")
    for name in ("theirs", "text", "changed"):
        with pytest.raises(StaleArtifact, match=rf"{name}\.parquet is no table that kiyome wrote"):
            load_table(tmp_path / f"{name}.parquet")


def test_a_table_whose_rows_are_all_train_is_one_without_splits(tmp_path):
    plain, split = small(), small(splits=["train"] * 3)
    assert split.splits is None
    assert split.content_digest == plain.content_digest
    write_table(plain, tmp_path / "plain.parquet")
    write_table(split, tmp_path / "split.parquet")
    assert (tmp_path / "plain.parquet").read_bytes() == (tmp_path / "split.parquet").read_bytes()


def test_splits_are_told_apart_and_kept_by_take():
    table = small(splits=["train", "test", "unlabeled"], given_labels=[0, 1, -1], folds=[0, -1, -1])
    assert table.splits_in_use == ("train", "test", "unlabeled")
    assert table.in_split("test", "unlabeled").tolist() == [False, True, True]
    assert table.is_labeled.tolist() == [True, True, False]
    assert table.given_names.tolist() == ["cat", "dog", ""]
    assert table.fold_numbers.tolist() == [0]
    assert table.take([2, 1]).split_names.tolist() == ["unlabeled", "test"]
    assert table.take([0]).splits is None
    assert table.fingerprint == small().fingerprint
    assert table.content_digest != small().content_digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"splits": ["train", "hidden", "test"]},
            "The split in row 1 is 'hidden'. Expected one of train, val, test, unlabeled.",
        ),
        ({"splits": ["train", "test", "test"], "given_labels": [0, -1, 1]}, "given_labels has -1 in row 1"),
        (
            {"splits": ["train", "unlabeled", "test"]},
            "given_labels has 1 in row 1, whose split is 'unlabeled'.",
        ),
        (
            {"splits": ["train", "test", "test"], "folds": [0, 1, -1]},
            "folds has 1 in row 1, which is not of the split 'train'. Expected -1 there.",
        ),
        ({"splits": ["train", "test", "test"], "folds": [-1, -1, -1]}, "folds has -1 in row 0"),
        ({"splits": ["train"]}, "splits has shape (1,), but there are 3 rows."),
    ],
)
def test_splits_that_contradict_labels_or_folds_are_refused(changes, message):
    with pytest.raises(TableError) as raised:
        small(**changes)
    assert message in str(raised.value)


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(InputError, match=r"The split .tests. is unknown.*Did you mean test"):
        small().in_split("tests")
