"""Embeddings of the user, of any modality: no photo, no backbone."""

from pathlib import Path

import numpy as np
import pytest

from kiyome.decisions.items import read_items
from kiyome.errors import InputError
from kiyome.workflows.find import find
from kiyome.workflows.predict import predict
from kiyome.workflows.scored_table import equal_rows

N, K, D = 300, 3, 8
rng = np.random.default_rng(0)
TRUE = np.arange(N) % K
GIVEN = np.where(rng.random(N) < 0.1, (TRUE + 1) % K, TRUE)
FEATURES = (rng.normal(size=(N, D)) + 4 * np.eye(K, D)[TRUE]).astype(np.float32)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A table of texts, none of which is a file."""
    rows = [f"review {row},{'abc'[label]}" for row, label in enumerate(GIVEN.tolist())]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["image_id,label", *rows, ""]))
    return path


def saved(path: Path, features: np.ndarray) -> Path:
    np.save(path, features)
    return path


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_wrong_labels_are_found_without_a_photo(texts: Path, tmp_path: Path, kind: type) -> None:
    file = saved(tmp_path / "embeddings.npy", FEATURES.astype(kind))
    result = find(texts, features=file, output=tmp_path / "run")
    flagged, wrong = result.is_label_issue, GIVEN != TRUE
    assert wrong[flagged].mean() > 0.9
    assert flagged[wrong].mean() > 0.8
    assert dict(result.scored.facts)["features"] == "embeddings.npy, 8 a row"
    assert read_items(result.folder).features.shape == (N, D)
    assert np.array_equal(find(texts, features=file, output=tmp_path / "run").ranking, result.ranking)
    with pytest.raises(InputError, match="has no models"):
        predict(result.folder, tmp_path, output=None)


def test_rows_with_equal_features_stay_in_one_fold(texts: Path, tmp_path: Path) -> None:
    features = FEATURES.copy()
    features[150:] = features[:150]
    result = find(texts, features=saved(tmp_path / "twice.npy", features), output=tmp_path / "run")
    folds = np.asarray(result.table.folds)
    assert np.array_equal(folds[150:], folds[:150])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_equal_rows_are_those_with_the_same_bytes(kind: type) -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(-2, 3, (9_000, 3)).astype(kind)  # 125 different rows
    features[::2] = rng.normal(size=(4_500, 3))
    features[5_000:5_004] = features[[2, 2, 4, 7]] * np.array([[1], [-1], [-1], [-1]])  # signs count
    first: dict[bytes, int] = {}
    expected = np.array([first.setdefault(each.tobytes(), row) for row, each in enumerate(features)])
    alone = np.bincount(expected, minlength=len(expected))[expected] == 1
    assert np.array_equal(equal_rows(features), np.where(alone, -1, expected))
    assert np.array_equal(equal_rows(features[:1]), [-1])


def test_other_features_are_another_run(texts: Path, tmp_path: Path) -> None:
    find(texts, features=saved(tmp_path / "a.npy", FEATURES), output=tmp_path / "run")
    with pytest.raises(InputError, match="features_sha256"):
        find(texts, features=saved(tmp_path / "b.npy", FEATURES + 1), output=tmp_path / "run")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (FEATURES[:-1], r"has 299 rows, but the table has 300\. Expected one row for each row of the table"),
        (FEATURES[:, 0], r"holds float32 of shape \(300,\)\. Expected floating-point numbers"),
        (FEATURES.astype(np.int64), r"holds int64 of shape \(300, 8\)"),
        (FEATURES[:, :0], r"holds float32 of shape \(300, 0\)"),
        (
            np.where(np.arange(N)[:, None] == 7, np.nan, FEATURES),
            r"has NaN or infinity in 1 of 300 rows, such as row 7\.",
        ),
    ],
)
def test_other_arrays_are_refused(texts: Path, tmp_path: Path, features: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(texts, features=saved(tmp_path / "bad.npy", features), output=tmp_path / "run")


def test_a_file_that_is_no_array_and_two_sources_are_refused(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(InputError, match=r"cannot be read as features .* Save them with numpy\.save"):
        find(texts, features=tmp_path / "text.npy", output=tmp_path / "run")
    file = saved(tmp_path / "embeddings.npy", FEATURES)
    for other, together in (
        ({"backbone": "tiny"}, "--features is given together with --backbone or --weights"),
        ({"pred_probs": file}, "--pred-probs is given together with --features"),
    ):
        with pytest.raises(InputError, match=together):
            find(texts, features=file, output=tmp_path / "run", **other)


IDS = np.array([f"review {row}" for row in range(N)])
SHUFFLED = rng.permutation(N)


@pytest.mark.parametrize(
    ("arrays", "note"),
    [
        ({"arr_0": FEATURES}, None),
        ({"embeddings": FEATURES, "labels": GIVEN, "texts": np.full(N, "review 1")}, None),
        (
            {"x": FEATURES[SHUFFLED], "ids": IDS[SHUFFLED]},
            "Rows of 'x' in e.npz belong to the ids in 'ids'.",
        ),
        (
            {"x": np.vstack([FEATURES[:1], FEATURES])[::-1], "names": np.append("other", IDS)[::-1]},
            "Rows of 'x' in e.npz belong to the ids in 'names'. 1 further ones were left out.",
        ),
    ],
    ids=["alone", "others beside", "ids", "more ids"],
)
def test_features_in_npz(texts: Path, tmp_path: Path, arrays: dict, note: str | None) -> None:
    np.savez(tmp_path / "e.npz", **arrays)
    result = find(texts, features=tmp_path / "e.npz", output=tmp_path / "run")
    assert np.array_equal(result.scored.features, FEATURES)
    assert (note in result.summary()["notes"]) == (note is not None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": FEATURES, "b": FEATURES}, r"holds 2 arrays of features: 'a' \(300, 8\), 'b' \(300, 8\)"),
        ({"labels": GIVEN}, r"holds 0 arrays of features: 'labels' \(300,\)"),
        (
            {"x": FEATURES, "ids": np.append(IDS[1:], "other")},
            "no features of 1 of 300 rows by 'ids'.*review 0",
        ),
        ({"x": FEATURES[:-1]}, "has 299 rows, but the table has 300"),
        ({"x": FEATURES, "y": np.array([{}])}, "pickled objects are not loaded"),
    ],
)
def test_npz_without_the_features_of_all_rows_is_refused(
    texts: Path, tmp_path: Path, arrays: dict, message: str
) -> None:
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(InputError, match=message):
        find(texts, features=tmp_path / "e.npz", output=tmp_path / "run")


@pytest.mark.parametrize("option", ["--features", "--pred-probs"])
def test_a_file_that_is_not_there_is_named_with_its_option(tmp_path: Path, option: str) -> None:
    (tmp_path / "train.csv").write_text("image_id,label\n" + "".join(f"{n}.jpg,{n % 2}\n" for n in range(20)))
    keyword = option.removeprefix("--").replace("-", "_")
    with pytest.raises(InputError) as caught:
        find(tmp_path / "train.csv", output=tmp_path / "run", **{keyword: tmp_path / "none.npy"})
    assert str(caught.value) == f"There is no file '{tmp_path / 'none.npy'}'. Correct the path in {option}."
    assert not (tmp_path / "run").exists()
