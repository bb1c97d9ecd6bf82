"""Colors in one matrix, against torchvision's four functions one after the other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from kiyome.images.augment import GREY, color_factors, color_matrices, color_steps, hue_turns

STRENGTHS = [0.4, 0.4, 0.4, 0.1]
THEIRS = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]


@pytest.fixture(scope="module")
def mild(china: np.ndarray) -> np.ndarray:
    """The photo between 0.4 and 0.55, so that nothing is clipped; (H, W, 3) floats."""
    return 0.4 + 0.15 * china.astype(np.float64) / 255


def applied(own: np.ndarray, of_mean: np.ndarray, photo: np.ndarray) -> np.ndarray:
    return photo @ own.T + of_mean @ photo.mean((0, 1))


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_brightness_contrast_saturation_equals_torchvision(mild: np.ndarray, seed: int):
    draws = np.random.default_rng(seed).random((4, 8))
    own, of_mean = color_matrices(draws, [0.4, 0.4, 0.4, 0])
    factors = color_factors(draws[:, :4], [0.4, 0.4, 0.4, 0])
    for view in range(4):
        theirs = torch.from_numpy(mild).permute(2, 0, 1)
        for step in np.argsort(draws[view, 4:]):
            if step < 3:
                theirs = THEIRS[step](theirs, float(factors[view, step]))
        ours = applied(own[view], of_mean[view], mild)
        assert ours.min() > 0
        assert ours.max() < 1
        # torchvision's weights of grey have four digits of which the last is rounded down.
        assert np.abs(ours - theirs.permute(1, 2, 0).numpy()).max() < 2e-4


def test_orders_are_equally_likely_and_factors_those_of_torchvision():
    from scipy.stats import kstest

    draws = np.random.default_rng(0).random((24_000, 8))
    _, counts = np.unique(np.argsort(draws[:, 4:], axis=1), axis=0, return_counts=True)
    assert len(counts) == 24
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)
    factors = color_factors(draws[:, :4], [0.4, 0.4, 3.0, 0.1])
    for column, (least, largest) in enumerate([(0.6, 1.4), (0.6, 1.4), (0.0, 4.0), (-0.1, 0.1)]):
        assert kstest(factors[:, column], "uniform", (least, largest - least)).pvalue > 1e-3


@settings(derandomize=True, deadline=None)
@given(st.floats(-0.5, 0.5), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_hue_keeps_grey_and_brightness_and_turns_back(share: float, color: list[float]):
    there, back = hue_turns(np.array([share, -share]))
    turned = there @ color
    assert turned @ GREY == pytest.approx(np.dot(GREY, color), abs=1e-9)
    assert back @ turned == pytest.approx(color, abs=1e-9)
    assert there @ [0.3, 0.3, 0.3] == pytest.approx([0.3] * 3, abs=1e-9)


@pytest.mark.parametrize("share", [-0.3, -0.1, 0.1, 0.3])
def test_hue_turns_the_way_of_torchvision(mild: np.ndarray, share: float):
    """Hue in HSV is another angle, so the two agree in sense and roughly in size, not in each pixel."""
    colors = np.array([[[0.6, 0.4, 0.4], [0.4, 0.6, 0.4], [0.4, 0.4, 0.6]]])
    ours = colors @ hue_turns(np.array([share]))[0].T
    theirs = functional.adjust_hue(torch.from_numpy(colors).permute(2, 0, 1), share).permute(1, 2, 0).numpy()
    grey = GREY[:, None]
    for our, their in zip((ours - ours @ grey)[0], (theirs - theirs @ grey)[0], strict=True):
        assert our @ their / np.linalg.norm(our) / np.linalg.norm(their) > 0.85


def test_contrast_looks_at_the_mean_after_the_steps_before_it():
    own, of_mean = color_steps(np.array([[1.0, 0.0, 1.0, 0.0]]))
    view = np.array([[[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]])
    flat = applied(own[1, 0], of_mean[1, 0], view)
    assert flat == pytest.approx(np.full((1, 2, 3), 0.5), abs=1e-12)
