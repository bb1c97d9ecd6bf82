"""Predictions in the forms that people have: what is read, what is said about it, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from kiyome.artifacts.table import Table
from kiyome.errors import InputError
from kiyome.reading.columns import some
from kiyome.reading.predictions import ReadPredictions, read_out_of_fold

CLASSES = ("blight", "healthy", "rust")
N = 60
LABELS = np.arange(N) % 3
IDS = [f"leaf_{row:03}.jpg" for row in range(N)]
RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.ones(3), N) * 0.3 + 0.7 * np.eye(3)[LABELS]


def table(num_classes: int = 3, **changes: object) -> Table:
    parts = {
        "root": Path(),
        "image_ids": IDS,
        "paths": [""] * N,
        "given_labels": LABELS % num_classes,
        "class_names": CLASSES[:num_classes],
    }
    return Table(**(parts | changes))  # type: ignore[arg-type]


def written(
    tmp_path: Path,
    header: list[str],
    probs: np.ndarray = PROBS,
    ids: list[str] = IDS,
    number: str = "{:.6f}",
    delimiter: str = ",",
) -> Path:
    rows = [
        delimiter.join([name, *map(number.format, row)])
        for name, row in zip(ids, probs.tolist(), strict=True)
    ]
    path = tmp_path / "oof.csv"
    path.write_text("\n".join([delimiter.join(header), *rows]) + "\n", "utf-8")
    return path


def test_an_array_of_one_split_is_matched_with_its_rows(tmp_path):
    splits = np.where(np.arange(N) % 4 == 0, "test", "train").astype(object)
    of, is_test = table(splits=splits), splits == "test"
    np.save(tmp_path / "net.npy", PROBS[is_test])
    found = read(tmp_path / "net.npy", of)
    assert found.table.image_ids.tolist() == of.image_ids[is_test].tolist()
    assert np.allclose(found.predictions.pred_probs, PROBS[is_test])
    assert found.notes[0] == "The 15 rows of net.npy are read as those of test, in order."
    np.save(tmp_path / "net.npy", np.stack([PROBS[is_test], PROBS[is_test]]))
    assert np.allclose(read(tmp_path / "net.npy", of).predictions.pred_probs, PROBS[is_test])
    halves = np.where(np.arange(N) % 2 == 0, "test", "train").astype(object)
    np.save(tmp_path / "net.npy", PROBS[::2])
    with pytest.raises(InputError, match=r"shape \(30, 3\).* Expected floats, 60 rows"):
        read(tmp_path / "net.npy", table(splits=halves))


def read(path: Path, of: Table | None = None, **options: str) -> ReadPredictions:
    return read_out_of_fold(path, of or table(), **options)


@pytest.mark.parametrize(
    "name",
    [
        *("{name}", "p_{name}", "prob_{name}", "{name}_prob", "prediction.{name}", "P({name})"),
        *("{NAME}", "class_{number}", "{number}", "p_{number}", "{number}_score", "Prediction_{number}"),
    ],
)
def test_columns_are_known_by_what_they_have_in_common(tmp_path: Path, name: str) -> None:
    order = [2, 0, 1]
    header = [name.format(name=CLASSES[k], NAME=CLASSES[k].upper(), number=k) for k in order]
    found = read(written(tmp_path, ["image_id", *header], PROBS[:, order]))
    assert np.allclose(found.predictions.pred_probs, PROBS, atol=1e-6)
    assert found.notes == ()


def test_a_class_too_many_is_named(tmp_path: Path) -> None:
    wide = np.hstack([PROBS, np.zeros((N, 1))])
    path = written(tmp_path, ["image_id", *(f"class_{number}" for number in range(4))], wide)
    with pytest.raises(
        InputError, match=r"does not have one column for each of 3 classes, but columns .*'class_3'"
    ):
        read(path)


@pytest.mark.parametrize("column", ["healthy", "p_healthy", "1", "probability", "Score"])
def test_one_column_is_the_second_of_two_classes(tmp_path: Path, column: str) -> None:
    second = PROBS[:, 1:2] / PROBS[:, :2].sum(axis=1, keepdims=True)
    labels = (second[:, 0] > 0.5).astype(int)
    of = table(2, given_labels=labels)
    found = read(written(tmp_path, ["image_id", column], second), of)
    assert np.allclose(found.predictions.pred_probs[:, 1:], second, atol=1e-6)
    assert found.notes == (f"Column {column!r} was read as the probability of 'healthy'.",)
    for array in (second, second[:, 0]):
        np.save(tmp_path / "oof.npy", array)
        assert np.allclose(read(tmp_path / "oof.npy", of).predictions.pred_probs[:, 1:], second)


@pytest.mark.parametrize("decimals", [2, 3])
def test_rounded_rows_are_scaled_and_it_is_said(tmp_path: Path, decimals: int) -> None:
    many = np.random.default_rng(1).dirichlet(np.full(40, 0.3), N)
    of = table(given_labels=many.argmax(axis=1), class_names=tuple(f"c{k}" for k in range(40)))
    header = ["image_id", *of.class_names]
    found = read(written(tmp_path, header, many, number=f"{{:.{decimals}f}}"), of)
    assert np.allclose(found.predictions.pred_probs.sum(axis=1), 1, atol=1e-6)
    assert found.notes == ("Rows of oof.csv sum to one but for rounding; they were divided by their sums.",)
    spoilt = many.copy()
    spoilt[3] *= 0.6
    with pytest.raises(InputError, match=r"oof\.csv has a sum of"):
        read(written(tmp_path, header, spoilt, number=f"{{:.{decimals}f}}"), of)


def test_percent_and_logits_are_offered_and_read_when_asked(tmp_path: Path) -> None:
    header = ["image_id", *CLASSES]
    with pytest.raises(InputError, match=r"look like percentages.* Add --pred-scale percent"):
        read(written(tmp_path, header, 100 * PROBS))
    found = read(written(tmp_path, header, 100 * PROBS), scale="percent")
    assert np.allclose(found.predictions.pred_probs, PROBS, atol=1e-6)
    logits = np.log(PROBS) + 5
    with pytest.raises(InputError, match=r"look like logits|Take the softmax|look like counts or logits"):
        read(written(tmp_path, header, logits))
    found = read(written(tmp_path, header, logits), scale="logits")
    assert np.allclose(found.predictions.pred_probs, PROBS, atol=1e-5)
    with pytest.raises(InputError, match="The scale 'odds' is unknown"):
        read(written(tmp_path, header), scale="odds")


def test_a_comma_may_be_the_decimal_mark(tmp_path: Path) -> None:
    path = written(tmp_path, ["image_id", *CLASSES], delimiter=";")
    path.write_text(path.read_text().replace(";0.", ";0,"))
    assert np.allclose(read(path).predictions.pred_probs, PROBS, atol=1e-6)


@pytest.mark.parametrize(
    ("rename", "way"),
    [
        (lambda name: name.removesuffix(".jpg"), "ending"),
        (lambda name: f"train/{name}", "folder"),
        (lambda name: name.upper(), "case"),
        (lambda name: f"D:\\data\\{name}", "folder"),
    ],
)
def test_ids_are_matched_one_to_one_and_it_is_said(tmp_path: Path, rename, way: str) -> None:
    shuffled = np.random.default_rng(2).permutation(N)
    ids = [rename(IDS[row]) for row in shuffled]
    found = read(written(tmp_path, ["image_id", *CLASSES], PROBS[shuffled], ids))
    assert np.allclose(found.predictions.pred_probs, PROBS, atol=1e-6)
    assert found.notes == (f"60 ids differ from those of the table and were matched: 60 by {way}.",)


def test_rows_too_many_and_too_few_are_counted_and_stop_nothing(tmp_path: Path) -> None:
    ids = [*IDS[:50], "other_1.jpg", "other_2.jpg"]
    found = read(written(tmp_path, ["image_id", *CLASSES], PROBS[:52], ids))
    assert found.table.image_ids.tolist() == IDS[:50]
    assert found.predictions.table_fingerprint == found.table.fingerprint
    assert found.notes == (
        "2 ids of oof.csv are not in the table: 'other_1.jpg', 'other_2.jpg'.",
        f"10 of 60 photos have no prediction in oof.csv and were left out: {some(IDS[50:])}.",
    )


def test_repeats_are_averaged(tmp_path: Path) -> None:
    other = np.roll(PROBS, 3, axis=0)
    found = read(written(tmp_path, ["image_id", *CLASSES], np.vstack([PROBS, other]), [*IDS, *IDS]))
    assert np.allclose(found.predictions.pred_probs, (PROBS + other) / 2, atol=1e-6)
    assert found.notes == ("60 photos have several predictions in oof.csv; their mean was taken.",)


@pytest.mark.parametrize("suffixes", [["_0", "_1"], ["_orig", "-flip", ".rot90"], ["", "_flip"]])
def test_predictions_of_changed_photos_are_averaged_and_it_is_said(
    tmp_path: Path, suffixes: list[str]
) -> None:
    many = [np.roll(PROBS, shift, axis=0) for shift in range(len(suffixes))]
    ids = [name.replace(".jpg", f"{suffix}.jpg") for suffix in suffixes for name in IDS]
    found = read(written(tmp_path, ["image_id", *CLASSES], np.vstack(many), ids))
    assert np.allclose(found.predictions.pred_probs, np.mean(many, axis=0), atol=1e-6)
    shown = some(sorted(filter(None, suffixes)))
    assert found.notes == (
        f"{60 * len(list(filter(None, suffixes)))} ids of oof.csv are ids of the table with {shown} behind.",
        "60 photos have several predictions in oof.csv; their mean was taken.",
    )


def test_ids_with_suffixes_that_not_all_photos_have_are_unknown(tmp_path: Path) -> None:
    ids = [*IDS, IDS[0].replace(".jpg", "_flip.jpg"), IDS[1].replace(".jpg", "_rot.jpg")]
    found = read(written(tmp_path, ["image_id", *CLASSES], np.vstack([PROBS, PROBS[:2]]), ids))
    assert np.allclose(found.predictions.pred_probs, PROBS, atol=1e-6)
    assert found.notes == (f"2 ids of oof.csv are not in the table: {some(sorted(ids[-2:]))}.",)


def test_an_array_in_an_archive_is_read_and_pickled_objects_are_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "oof.npz", PROBS)
    assert np.allclose(read(tmp_path / "oof.npz").predictions.pred_probs, PROBS)
    np.savez_compressed(tmp_path / "two.npz", oof=PROBS, test=PROBS)
    with pytest.raises(InputError, match=r"two.npz holds 2 arrays: 'oof', 'test'. .* with np.save"):
        read(tmp_path / "two.npz")
    np.savez(tmp_path / "objects.npz", np.array([{"a": 1}], object))
    with pytest.raises(
        InputError, match=r"objects.npz cannot be read as .npz .* pickled objects are not loaded"
    ):
        read(tmp_path / "objects.npz")
    (tmp_path / "broken.npz").write_bytes((tmp_path / "oof.npz").read_bytes()[:300])
    with pytest.raises(InputError, match=r"broken.npz cannot be read as .npz"):
        read(tmp_path / "broken.npz")


def test_repeats_of_an_array_are_averaged(tmp_path: Path) -> None:
    np.save(tmp_path / "oof.npy", np.stack([PROBS, np.roll(PROBS, 3, axis=0)]))
    found = read(tmp_path / "oof.npy")
    assert np.allclose(found.predictions.pred_probs, (PROBS + np.roll(PROBS, 3, axis=0)) / 2)
    assert found.notes == ("oof.npy holds 2 predictions of each photo; their mean was taken.",)


def test_contradictions_stop_before_any_work(tmp_path: Path) -> None:
    turned = PROBS[:, [1, 2, 0]]
    with pytest.raises(InputError, match=r"another order .* agree with 0\.0 % .* 100\.0 % if"):
        read(written(tmp_path, ["image_id", *CLASSES], turned))
    with pytest.raises(InputError, match=r"All 60 rows of oof\.csv hold the same probabilities"):
        read(written(tmp_path, ["image_id", *CLASSES], np.full((N, 3), 1 / 3), number="{:.9f}"))
    shifted = [*IDS[1:], IDS[0]]
    with pytest.raises(InputError, match=r"ids in oof\.csv probably belong to other rows"):
        read(written(tmp_path, ["image_id", *CLASSES], PROBS, shifted))
