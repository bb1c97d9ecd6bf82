"""Transforms of torchvision as plug-ins: their own results, and the same ones for the same seed."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from kiyome.training.mixing import from_torchvision

TRANSFORMS = [
    v2.RandAugment(),
    v2.AugMix(),
    v2.TrivialAugmentWide(),
    v2.GaussianBlur(3),
    v2.RandomGrayscale(0.5),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_a_seed_decides_what_torchvision_does(transform: v2.Transform):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    plugin = from_torchvision(transform)
    before, state = pixels.copy(), torch.get_rng_state()
    views = [plugin(pixels, seed) for seed in range(8)]
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(pixels, before)
    for seed, view in enumerate(views):
        torch.manual_seed(seed)
        theirs = transform(torch.from_numpy(pixels).permute(2, 0, 1)).permute(1, 2, 0).numpy()
        assert view.dtype == np.uint8
        assert np.array_equal(view, theirs)
    assert len({view.tobytes() for view in views}) > 1
