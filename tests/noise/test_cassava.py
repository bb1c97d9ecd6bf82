"""Golden numbers of the cassava leaves, as benchmarks/cassava_noise.py measures them."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from kiyome.noise import find_label_issues, noise_rate, posterior_matrix, transition_matrix

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

NUM_FLAGGED = {
    "prune_by_noise_rate": 1532,
    "prune_by_class": 1533,
    "both": 1409,
    "confident_learning": 1328,
    "predicted_neq_given": 2033,
}


@pytest.fixture(scope="module")
def cassava(shared_data):
    return shared_data / "cassava"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return runpy.run_path(str(BENCHMARKS / "cassava_noise.py"))


@pytest.fixture(scope="module")
def arrays(benchmark, cassava):
    _, labels, pred_probs = benchmark["read_predictions"](cassava)
    return labels, pred_probs


@pytest.mark.parametrize("method", NUM_FLAGGED)
def test_number_of_flagged_rows(arrays, method):
    assert find_label_issues(*arrays, method=method).sum() == NUM_FLAGGED[method]


def test_matrices(arrays):
    T, posterior = transition_matrix(*arrays), posterior_matrix(*arrays)
    np.testing.assert_array_equal(T.diagonal().round(3), [0.734, 0.911, 0.906, 0.970, 0.832])
    # true cbb called healthy, and the other way round
    np.testing.assert_array_equal([T[0, 4].round(3), T[4, 0].round(3)], [0.155, 0.058])
    np.testing.assert_allclose(T.sum(axis=1), 1)
    np.testing.assert_allclose(posterior.sum(axis=1), 1)


def test_noise_rate(arrays):
    rate = noise_rate(*arrays, method="confident_joint")
    assert rate.value == pytest.approx(0.072, abs=0.0005)
    assert 0.065 < rate.low < rate.value < rate.high < 0.08


def test_share_of_duplicate_pairs_flagged(benchmark, cassava, arrays):
    """The 2020 row is flagged in nearly half of the pairs whose labels differ, else hardly ever."""
    shares = benchmark["flagged_pairs"](cassava, find_label_issues(*arrays, method="prune_by_noise_rate"))
    assert shares == {False: (31, 68), True: (4, 594)}
