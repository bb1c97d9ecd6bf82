import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kiyome.artifacts.predictions import Predictions, write_out_of_fold
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, KiyomeError, StaleArtifact, TableError
from kiyome.reading.predictions import read_out_of_fold

PROBS = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], np.float32)
IDS = ["001", "1", "=x", 'é,"']


def table(**changes):
    columns = {
        "root": Path(),
        "image_ids": IDS,
        "paths": [""] * 4,
        "given_labels": [0, 1, 2, 0],
        "class_names": ("cat", "dog", "=cow"),
    }
    return Table(**columns | changes)


def predictions(of=None):
    made_for = (of or table()).fingerprint
    return Predictions(pred_probs=PROBS, kind="out_of_fold", source="a test", table_fingerprint=made_for)


def read_pred_probs(path, of):
    return read_out_of_fold(path, of).predictions


def is_memory_mapped(array):
    return isinstance(array, np.memmap) or (array.base is not None and is_memory_mapped(array.base))


def test_saved_predictions_come_back_memory_mapped(tmp_path):
    predictions().save(tmp_path / "oof")
    loaded = Predictions.load(tmp_path / "oof", table())
    assert is_memory_mapped(loaded.pred_probs)
    assert np.array_equal(loaded.pred_probs, PROBS)
    assert (loaded.kind, loaded.source) == ("out_of_fold", "a test")
    with pytest.raises(ValueError, match=r"read-only"):
        loaded.pred_probs[0] = 0


@pytest.mark.parametrize(
    "changes",
    [{"image_ids": IDS[::-1]}, {"image_ids": [*IDS[:3], "other"]}, {"class_names": ("dog", "cat", "=cow")}],
)
def test_predictions_of_another_table_are_stale(tmp_path, changes):
    predictions().save(tmp_path)
    with pytest.raises(StaleArtifact, match=r"The predictions have the fingerprint .*Predict again"):
        Predictions.load(tmp_path, table(**changes))
    with pytest.raises(StaleArtifact, match=r"Both need the same ids, order and class names"):
        write_out_of_fold(predictions(), table(**changes), tmp_path)


def test_corrected_labels_do_not_make_predictions_stale(tmp_path):
    predictions().save(tmp_path)
    loaded = Predictions.load(tmp_path, table().with_labels([1, 1, 1, 1]))
    assert loaded.pred_probs.tolist() == predictions().pred_probs.tolist()


def test_any_flipped_bit_is_noticed(tmp_path):
    predictions().save(tmp_path)
    path = tmp_path / "pred_probs.npy"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(StaleArtifact, match=r"pred_probs.npy has other bytes than were written"):
            Predictions.load(tmp_path, table())


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.unlink(), lambda path: path.write_text("{"), lambda path: path.write_text("[]")],
)
def test_lost_facts_are_named(tmp_path, damage):
    predictions().save(tmp_path)
    damage(tmp_path / "predictions.json")
    with pytest.raises(StaleArtifact, match=r"predictions.json or pred_probs.npy cannot be read"):
        Predictions.load(tmp_path, table())


def test_out_of_fold_files_read_back_by_id(tmp_path):
    with_folds = table(folds=[0, 1, 0, 1])
    write_out_of_fold(predictions(), with_folds, tmp_path)
    with (tmp_path / "oof.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image_id", "label", "fold", "p_cat", "p_dog", "p_=cow", "pred"]
    assert rows[3] == ["=x", "=cow", "0", "0.0", "0.0", "1.0", "=cow"]
    assert pq.read_table(tmp_path / "oof.parquet").column_names == rows[0]
    for name in ("oof.csv", "oof.parquet"):
        back = read_pred_probs(tmp_path / name, with_folds)
        assert np.array_equal(back.pred_probs, PROBS)
        turned = table(image_ids=IDS[::-1])
        assert np.array_equal(read_pred_probs(tmp_path / name, turned).pred_probs, PROBS[::-1])


def test_the_folds_of_a_file_come_with_its_predictions_and_fit_the_table(tmp_path):
    write_out_of_fold(predictions(), table(folds=[0, 1, 0, 1]), tmp_path)
    for name in ("oof.csv", "oof.parquet"):
        turned = read_out_of_fold(tmp_path / name, table(image_ids=IDS[::-1])).table
        assert turned.folds.tolist() == [1, 0, 1, 0]
        with pytest.raises(
            InputError,
            match=rf"2 predictions were made on other folds than the table's, such as .*: 1 in {name}, 0 in",
        ):
            read_out_of_fold(tmp_path / name, table(folds=[0, 0, 1, 1]))
    text = (tmp_path / "oof.csv").read_text("utf-8")
    (tmp_path / "bad.csv").write_text(text.replace(",1,", ",first,"), "utf-8")
    with pytest.raises(InputError, match=r"bad\.csv has folds that are not whole numbers from 0: 'first'"):
        read_out_of_fold(tmp_path / "bad.csv", table())
    write_out_of_fold(predictions(), table(), tmp_path)
    assert read_out_of_fold(tmp_path / "oof.csv", table()).table.folds is None


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(2**-20, 1, width=32), min_size=12, max_size=12))
def test_single_precision_survives_the_csv(tmp_path_factory, values):
    probs = np.array(values, np.float32).reshape(4, 3)
    probs /= probs.sum(axis=1, keepdims=True)
    assume(np.ptp(probs, axis=0).max() > 1e-5)
    of = table()
    made = Predictions(pred_probs=probs, kind="out_of_fold", source="", table_fingerprint=of.fingerprint)
    folder = tmp_path_factory.mktemp("oof")
    write_out_of_fold(made, of, folder)
    assert np.array_equal(read_pred_probs(folder / "oof.csv", of).pred_probs, probs)


def csv_of(tmp_path, header, ids=IDS, probs=PROBS):
    path = tmp_path / "oof.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([image_id, *row] for image_id, row in zip(ids, probs.tolist(), strict=True))
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog", "=cow"),
        ("=cow", "dog", "cat"),
        ("p_cat", "p_dog", "p_=cow"),
        ("0", "1", "2"),
        ("p_2", "p_1", "p_0"),
    ],
)
def test_columns_are_found_by_class_or_number(tmp_path, names):
    back = read_pred_probs(csv_of(tmp_path, ["id", *names]), table())
    first_is_last = names[0] in ("=cow", "p_2")
    assert np.array_equal(back.pred_probs, PROBS[:, ::-1] if first_is_last else PROBS)


def test_class_names_that_are_numbers_go_before_places(tmp_path):
    back = read_pred_probs(csv_of(tmp_path, ["id", "0", "1", "2"]), table(class_names=("2", "1", "0")))
    assert np.array_equal(back.pred_probs, PROBS[:, ::-1])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            ["id", "p_0", "p_1", "x"],
            r"one column for each of 3 classes, but columns 'id', 'p_0'.* Expected p_cat, p_dog, p_=cow",
        ),
        (["id", "cat", "dog", "cow"], "one column for each of 3 classes"),
    ],
)
def test_missing_class_columns_are_named(tmp_path, header, message):
    with pytest.raises(InputError, match=message):
        read_pred_probs(csv_of(tmp_path, header), table())


def test_an_id_column_is_known_by_its_cells(tmp_path):
    path = csv_of(tmp_path, ["photograph", "cat", "dog", "=cow"])
    assert np.array_equal(read_pred_probs(path, table(image_ids=IDS[::-1])).pred_probs, PROBS[::-1])


def test_ids_that_were_written_as_bytes_are_ids(tmp_path):
    columns = {"image_id": [i.encode() for i in IDS], **{f"p_{k}": PROBS[:, k] for k in range(3)}}
    pq.write_table(pa.table(columns), tmp_path / "oof.parquet")
    back = read_pred_probs(tmp_path / "oof.parquet", table(image_ids=IDS[::-1]))
    assert np.array_equal(back.pred_probs, PROBS[::-1])


def test_without_ids_rows_stand_in_order_and_are_counted(tmp_path):
    path = csv_of(tmp_path, ["note", "cat", "dog", "=cow"], ids=["", "", "", "a"])
    assert np.array_equal(read_pred_probs(path, table()).pred_probs, PROBS)
    with pytest.raises(
        InputError, match=r"has 4 rows and no id column .* expected 3 rows in the table's order"
    ):
        read_pred_probs(path, table().take([0, 1, 2]))


def test_ids_that_do_not_match_are_named(tmp_path):
    path = csv_of(tmp_path, ["image_id", "cat", "dog", "=cow"], ["w", "x", "y", "z"])
    message = (
        r"do not match the table: 4 ids without a row \('001', '1', '=x', 'é,\"'\);"
        r" 4 ids not in the table \('w', 'x', 'y', 'z'\)"
    )
    with pytest.raises(InputError, match=message):
        read_pred_probs(path, table())


def changed(row, values):
    probs = PROBS.astype(float)
    probs[row] = values
    return probs


BAD_ROWS = [
    (changed(2, [0.5, np.nan, 0.5]), "a missing or infinite value in {}"),
    (changed(2, [0.5, np.inf, 0.5]), "a missing or infinite value in {}"),
    (changed(2, [-3.0, 1.0, 7.0]), "values from -3 to 7; these look like logits.* Add --pred-scale logits"),
    (changed(2, [3.0, 1.0, 7.0]), "values up to 7; these look like counts or logits"),
    (PROBS * 100, "a sum of 100 in .*; these look like percentages.* Add --pred-scale percent"),
    (
        changed(2, [0.9, 0.8, 0.1]),
        "a sum of 1.8 in {}. Rows must be probabilities that sum to one. Give a column for every class",
    ),
    (changed(2, [0.1, 0.1, 0.1]), "a sum of 0.3 in {}"),
]


@pytest.mark.parametrize(("probs", "message"), BAD_ROWS)
def test_rows_that_are_no_distribution_are_named(tmp_path, probs, message):
    with pytest.raises(InputError, match="oof.csv has " + message.format("line 4")):
        read_pred_probs(csv_of(tmp_path, ["id", "cat", "dog", "=cow"], probs=probs), table())
    np.save(tmp_path / "oof.npy", probs)
    with pytest.raises(InputError, match="oof.npy has " + message.format("row 2")):
        read_pred_probs(tmp_path / "oof.npy", table())
    with pytest.raises(InputError, match="pred_probs has " + message.format("row 2")):
        Predictions(pred_probs=probs, kind="test", source="", table_fingerprint="")


def test_text_for_a_probability_is_named(tmp_path):
    path = tmp_path / "oof.csv"
    path.write_text('image_id,cat,dog,=cow\n001,1,0,0\n1,high,0,0\n"=x",1,0,0\n"é,""",1,0,0\n')
    with pytest.raises(InputError, match=r"a missing or infinite value in line 3"):
        read_pred_probs(path, table())


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_arrays_are_taken_by_position(tmp_path, kind):
    probs = np.random.default_rng(0).dirichlet(np.ones(3), 4).astype(kind)
    np.save(tmp_path / "oof.npy", probs)
    back = read_pred_probs(tmp_path / "oof.npy", table()).pred_probs
    assert back.dtype == np.float32
    assert np.allclose(back, probs, atol=1e-3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (PROBS[:3], r"has shape \(3, 3\) .* Expected floats, 4 rows and 3 columns like the table"),
        (PROBS[:, :2], r"has shape \(4, 2\)"),
        (np.ones((4, 3), int), "has shape .*int64"),
        (
            np.array([["a"]], dtype=object),
            r"oof.npy is no whole .npy file of numbers \(",
        ),
    ],
)
def test_arrays_of_another_shape_are_named(tmp_path, array, message):
    np.save(tmp_path / "oof.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        read_pred_probs(tmp_path / "oof.npy", table())


def test_a_cut_array_and_no_file_are_named(tmp_path):
    (tmp_path / "oof.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"whole .npy file of numbers"):
        read_pred_probs(tmp_path / "oof.npy", table())
    with pytest.raises(InputError, match=r"There is no file of predictions at"):
        read_pred_probs(tmp_path / "none.csv", table())
    (tmp_path / "oof.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match=r"whole Parquet file"):
        read_pred_probs(tmp_path / "oof.parquet", table())


def test_a_class_column_may_have_the_name_of_an_id_column(tmp_path):
    path = csv_of(tmp_path, ["image_id", "id", "file", "image"])
    back = read_pred_probs(path, table(class_names=("id", "file", "image")))
    assert np.array_equal(back.pred_probs, PROBS)


def test_kinds_are_two():
    with pytest.raises(InputError, match=r"The kind 'train' is unknown. Expected one of out_of_fold, test"):
        Predictions(pred_probs=PROBS, kind="train", source="", table_fingerprint="")


def test_facts_are_plain_json(tmp_path):
    predictions().save(tmp_path)
    facts = json.loads((tmp_path / "predictions.json").read_text())
    assert facts["shape"] == [4, 3]
    assert facts["table_fingerprint"] == table().fingerprint
    assert issubclass(StaleArtifact, KiyomeError)


def test_cassava_predictions_match_their_table_by_id(shared_data, tmp_path):
    from kiyome.reading.read_table import read_table

    stored = np.load(shared_data / "cassava" / "cassava_oof.npz")
    shuffled = np.random.default_rng(0).permutation(len(stored["image_id"]))
    columns = {"image_id": pa.array(stored["image_id"][shuffled].tolist())}
    columns |= {f"p_{k}": stored["probs"][shuffled, k] for k in range(5)}
    pq.write_table(pa.table(columns), tmp_path / "oof.parquet")
    table = read_table(shared_data / "cassava" / "train.csv", allow_missing=True)
    probs = read_pred_probs(tmp_path / "oof.parquet", table).pred_probs
    assert (probs.argmax(axis=1) == table.labels).mean() == pytest.approx(0.9050, abs=5e-5)
