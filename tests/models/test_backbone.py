"""How photos enter a backbone, and what its fingerprint covers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.models import load_backbone
from kiyome.models.backbone import fixed_batches

TINY = load_backbone("tiny")


def test_tiny_takes_block_means_of_the_center_square():
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    features = TINY.embed(TINY.prepare(photo)[None])
    means = photo[:, 16:80].reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(features[0], means.ravel() / 255, atol=1.01 / 255)  # rounded once a direction
    assert features.dtype == np.float32


@settings(derandomize=True, deadline=None, max_examples=30)
@given(height=st.integers(1, 90), width=st.integers(1, 90), crop_pct=st.floats(0.5, 1))
def test_a_crop_is_centered_whatever_the_shape(height, width, crop_pct):
    backbone = replace(TINY, size=8, crop_pct=crop_pct, interpolation="bicubic")
    photo = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), np.uint8)
    crop = backbone.prepare(photo)
    assert crop.shape == (8, 8, 3)
    turned = backbone.prepare(np.ascontiguousarray(photo[::-1, ::-1]))
    assert np.abs(turned[::-1, ::-1].astype(int) - crop).max() <= 1


def test_the_short_side_is_what_the_crop_can_show():
    assert replace(TINY, size=224, crop_pct=0.875).short_side == 256
    assert replace(TINY, size=224, crop_pct=0.95).short_side == 236


@pytest.mark.parametrize("pixels", [np.zeros((2, 16, 16, 3), np.float32), np.zeros((2, 15, 16, 3), np.uint8)])
def test_other_crops_are_refused(pixels):
    with pytest.raises(InputError, match=r"Expected uint8 of shape \(n, 16, 16, 3\)."):
        TINY.embed(pixels)


def test_whatever_decides_the_features_is_in_the_fingerprint():
    changes = {
        "name": "other",
        "weights_sha256": "0",
        "engine": "numpy f64",
        "size": 32,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "num_features": 3,
    }
    prints = {replace(TINY, **{field: value}).fingerprint for field, value in changes.items()}
    assert len(prints | {TINY.fingerprint}) == len(changes) + 1
    assert replace(TINY, source="elsewhere", note="hello").fingerprint == TINY.fingerprint


@given(num_crops=st.integers(0, 20), size=st.integers(1, 7))
@settings(derandomize=True, deadline=None)
def test_batches_have_one_size_and_lose_nothing(num_crops, size):
    pixels = np.random.default_rng(num_crops).integers(1, 256, (num_crops, 2, 2, 3), np.uint8)
    batches = list(fixed_batches(pixels, size))
    assert [start for start, _ in batches] == list(range(0, num_crops, size))
    assert all(batch.shape == (size, 2, 2, 3) for _, batch in batches)
    together = np.concatenate([pixels[:0], *[batch for _, batch in batches]])
    assert np.array_equal(together[:num_crops], pixels)
    assert not together[num_crops:].any()


@pytest.mark.parametrize("arguments", [{"weights": "w.safetensors"}, {"engine": "torch"}])
@pytest.mark.parametrize("name", ["tiny", "lite0"])
def test_own_backbones_bring_their_own_weights_and_engine(name, arguments):
    with pytest.raises(InputError, match=f"{name} brings its own weights and engine"):
        load_backbone(name, **arguments)


def test_several_backbones_see_the_same_photo_side_by_side():
    both = load_backbone("tiny,lite0")
    parts = [TINY, load_backbone("lite0")]
    photo = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    crop = both.prepare(photo)
    assert (both.name, both.size, both.num_features) == ("tiny,lite0", 224, 768 + 2688)
    features = both.embed(crop[None])[0]
    np.testing.assert_array_equal(features[768:], parts[1].embed(parts[1].prepare(photo)[None])[0])
    np.testing.assert_allclose(features[:768], TINY.embed(TINY.prepare(crop)[None])[0], atol=1.01 / 255)
    assert both.fingerprint not in {part.fingerprint for part in parts}


def test_several_backbones_take_no_weights():
    with pytest.raises(InputError, match=r"tiny,lite0 cannot take weights=w\.safetensors"):
        load_backbone("tiny,lite0", weights="w.safetensors")


def test_weights_need_a_name():
    with pytest.raises(InputError, match="Add --backbone NAME"):
        load_backbone(weights="w.safetensors")
