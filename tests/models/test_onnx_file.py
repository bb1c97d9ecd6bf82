"""ONNX Runtime says what torch says, for any number of photos, from the raw pixels."""

import numpy as np
import pytest

from kiyome.errors import KiyomeError, MissingExtra
from kiyome.losses import SOFTMAX, Link
from kiyome.models import build_model
from kiyome.models.onnx_file import PhotosToProbs, onnx_of, run_onnx, run_torch

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("name", "side", "link"),
    [
        ("tiny", 32, SOFTMAX),
        ("tiny", 32, Link("tempered_softmax", {"temperature": 2.0})),
        pytest.param("lite0", 96, SOFTMAX, marks=pytest.mark.slow),
    ],
)
def test_any_number_of_photos_gives_torchs_probabilities(name, side, link):
    network = build_model(name, num_classes=7, image_size=side).with_link(link)
    content = onnx_of(PhotosToProbs(network), image_size=side, name=name)
    photos = np.random.default_rng(0).integers(0, 256, (9, side, side, 3), dtype=np.uint8)
    expected = run_torch(PhotosToProbs(network), photos)
    for num in (1, 2, 9):
        np.testing.assert_allclose(run_onnx(content, photos[:num]), expected[:num], atol=1e-5)
    np.testing.assert_array_equal(run_onnx(content, photos[:4], photos[4:]).shape, (9, 7))
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-4  # photos differ, so the check could fail


def test_a_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtra, match=r"pip install 'kiyome\[onnx\]'"):
        onnx_of(PhotosToProbs(build_model("tiny", num_classes=2)), image_size=32, name="tiny")


def test_what_torch_cannot_write_is_told():
    network = build_model("tiny", num_classes=2)

    class Fickle(type(network.module)):
        def forward(self, images):
            return super().forward(images) if images.sum() > 0 else images

    network.module.__class__ = Fickle
    with pytest.raises(KiyomeError, match=r"torch cannot write kiyome_tiny as ONNX"):
        onnx_of(PhotosToProbs(network), image_size=32, name="kiyome_tiny")
