"""Nearest rows against a plain scan, and their speed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.reviewing.neighbors import Neighbors


def scanned(features: np.ndarray, row: int) -> np.ndarray:
    """Cosines of a row with all rows, of standardized features within 4 deviations; -2 for itself."""
    wide = features.astype(np.float64)
    deviation = wide.std(axis=0)
    wide = ((wide - wide.mean(axis=0)) / np.where(deviation < 1e-6, 1, deviation)).clip(-4, 4)
    norms = np.maximum(np.linalg.norm(wide, axis=1), 1e-12)
    cosines = wide @ wide[row] / (norms * norms[row])
    cosines[row] = -2
    return cosines


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    num_rows=st.integers(1, 400),
    num_features=st.sampled_from([1, 3, 80, 400]),
    kind=st.sampled_from([np.float16, np.float32, np.float64]),
    k=st.integers(1, 100),
)
def test_the_nearest_are_those_of_a_scan(seed: int, num_rows: int, num_features: int, kind, k: int) -> None:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(5, num_features))
    features = (centers[rng.integers(5, size=num_rows)] + rng.normal(size=(num_rows, num_features))).astype(
        kind
    )
    features[:: num_rows // 3 + 1] = features[0]  # rows of the same photo
    near = Neighbors(features).of(row := int(rng.integers(num_rows)), k=k)
    cosines = scanned(features, row)
    assert len(near.rows) == len(set(near.rows.tolist()) - {row}) == min(k, num_rows - 1)
    assert near.similarities == pytest.approx(np.sort(cosines)[::-1][: len(near.rows)], abs=2e-5)
    assert near.similarities == pytest.approx(cosines[near.rows], abs=2e-5)


def test_rows_without_features_are_near_to_nobody() -> None:
    features = np.vstack([np.zeros((3, 4)), np.eye(4)])
    near = Neighbors(features).of(0, k=6)
    assert near.similarities.tolist() == [0] * 6


@pytest.mark.parametrize(("row", "k"), [(-1, 1), (3, 1), (0, 0)])
def test_rows_that_are_not_there(row: int, k: int) -> None:
    with pytest.raises(InputError, match=rf"There are no {k} neighbors of row {row}\. Expected a row"):
        Neighbors(np.eye(3)).of(row, k=k)


def test_few_whole_features_are_read(tmp_path) -> None:
    rng = np.random.default_rng(0)
    spread = 1 / np.arange(1, 321)  # most of a vector lies in few directions, as of a network's features
    np.save(tmp_path / "features.npy", (rng.normal(size=(20_000, 320)) * spread).astype(np.float16))
    neighbors = Neighbors(np.load(tmp_path / "features.npy", mmap_mode="r"))
    neighbors.features = counting = Counting(neighbors.features)
    for row in range(20):
        neighbors.of(row, k=12)
    assert counting.num_read / 20 < 0.05 * 20_000


class Counting:
    """Features that count how many of their rows are read."""

    def __init__(self, features: np.ndarray) -> None:
        self.features, self.num_read = features, 0

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: object) -> np.ndarray:
        read = self.features[rows]
        self.num_read += np.size(rows)
        return read
