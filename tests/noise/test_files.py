"""A table in many files is judged as one array, to the last bit, wherever its parts are read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kiyome.errors import InputError
from kiyome.executors import HERE, OnRay, Processes
from kiyome.noise import files as noise_files
from kiyome.noise import find_label_issues, find_label_issues_in_files
from kiyome.noise.label_issues import METHODS

N, K = 3000, 4


@pytest.fixture(scope="module")
def table():
    """Labels, a fifth of them wrong, and float32 predictions."""
    rng = np.random.default_rng(0)
    true = rng.integers(K, size=N)
    pred_probs = _predicted(true, rng)
    labels = np.where(rng.random(N) < 0.2, rng.integers(K, size=N), true)
    return labels.astype(np.int16), pred_probs


def _predicted(true, rng):
    logits = rng.normal(size=(N, K)) + 2.5 * np.eye(K)[true]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probs.astype(np.float32)


@pytest.fixture(scope="module")
def files(table, tmp_path_factory):
    """The table as files of unequal lengths: .npy, and Parquet with several row groups and class names."""
    folder, (labels, pred_probs) = tmp_path_factory.mktemp("files"), table
    edges = [0, 1, 700, 2400, N]
    for number, rows in enumerate(map(slice, edges[:-1], edges[1:])):
        np.save(folder / f"labels-{number}.npy", labels[rows])
        np.save(folder / f"probs-{number}.npy", pred_probs[rows])
        columns = {"label": pa.array([f"leaf {label}" for label in labels[rows]])}
        columns |= {f"p_leaf {k}": pa.array(np.ascontiguousarray(pred_probs[rows, k])) for k in range(K)}
        pq.write_table(
            pa.table({"image_id": columns["label"], **columns}),
            folder / f"{number}.parquet",
            row_group_size=300,
        )
    return folder


def npy(folder):
    return sorted(folder.glob("probs-*")), sorted(folder.glob("labels-*"))


@pytest.mark.parametrize("method", ["adaptive", *METHODS])
def test_small_parts_of_many_files_give_the_mask_of_one_array(table, files, method, monkeypatch):
    monkeypatch.setattr(noise_files, "PART_ENTRIES", 500 * K)
    whole = find_label_issues(*table, method=method)
    assert 50 < whole.sum() < N / 2
    assert np.array_equal(find_label_issues_in_files(*npy(files), method=method), whole)
    parquet = sorted(files.glob("*.parquet"))
    assert np.array_equal(find_label_issues_in_files(parquet, method=method), whole)


@pytest.mark.parametrize("method", ["adaptive", "prune_by_noise_rate"])
def test_processes_give_the_same_mask(table, files, method):
    whole = find_label_issues(*table, method=method)
    two = Processes(num=2)
    assert np.array_equal(find_label_issues_in_files(*npy(files), method=method, executor=two), whole)


def test_ray_gives_the_same_mask(table, files, ray):
    del ray
    whole = find_label_issues(*table, method="adaptive")
    parquet = sorted(files.glob("*.parquet"))
    assert np.array_equal(find_label_issues_in_files(parquet, executor=OnRay()), whole)


def test_urls_are_opened_by_fsspec(table):
    fsspec = pytest.importorskip("fsspec")
    labels, pred_probs = table
    for name, array in (("labels", labels), ("probs", pred_probs)):
        with fsspec.open(f"memory://table/{name}.npy", "wb") as file:
            np.save(file, array)
    found = find_label_issues_in_files(["memory://table/probs.npy"], ["memory://table/labels.npy"])
    assert np.array_equal(found, find_label_issues(labels, pred_probs))


def test_parts_are_as_large_as_they_may_be_and_cover_the_rows(files, monkeypatch):
    monkeypatch.setattr(noise_files, "PART_ENTRIES", 700 * K)
    for given in (npy(files), (sorted(files.glob("*.parquet")), None)):
        parts, first_rows = noise_files._parts_of_table(*given)
        assert first_rows[-1] + parts[-1].num_rows == N
        assert max(part.num_rows for part in parts) in (699, 700)


def save(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda folder: (folder / "probs-1.npy").write_bytes(b"no array"),
            r"probs-1.npy cannot be read: the magic string",
        ),
        (lambda folder: (folder / "probs-1.npy").unlink(), r"probs-1.npy cannot be read: .*No such file"),
        (lambda folder: cut(folder / "probs-2.npy"), r"probs-2.npy cannot be read: cut off"),
        (
            lambda folder: save(folder / "probs-1.npy", np.ones((699, 3), np.float32) / 3),
            r"3 classes of float32 and 4",
        ),
        (
            lambda folder: save(folder / "labels-1.npy", np.zeros(698, int)),
            r"have shape \(\d+, 4\), the labels of .* have \(698,\)\. Expected \(n, K\) and \(n,\)",
        ),
        (lambda folder: save(folder / "labels-3.npy", np.full(600, 9)), r"Label 9 in row 2400"),
        (
            lambda folder: save(folder / "probs-1.npy", np.asfortranarray(np.ones((699, 4), np.float32) / 4)),
            "columns first",
        ),
        (lambda folder: save(folder / "probs-1.npy", np.array([[None]])), "of type object"),
    ],
)
def test_files_that_cannot_be_used_are_named(files, tmp_path, spoil, said):
    for path in files.glob("*.npy"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path)
    with pytest.raises(InputError, match=said):
        find_label_issues_in_files(
            npy(files)[0][:1] + [tmp_path / f"probs-{i}.npy" for i in (1, 2, 3)],
            [tmp_path / f"labels-{i}.npy" for i in range(4)],
        )


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_parquet_without_labels_is_refused(tmp_path):
    pq.write_table(pa.table({"p_a": [0.5], "p_b": [0.5]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"has the columns 'p_a', 'p_b'\. Expected a column label"):
        find_label_issues_in_files([tmp_path / "a.parquet"])
    with pytest.raises(InputError, match=r"There are 0 files of labels and 1 files"):
        find_label_issues_in_files([tmp_path / "a.npy"], [])
    with pytest.raises(InputError, match="There is no part"):
        find_label_issues_in_files([], executor=HERE)
