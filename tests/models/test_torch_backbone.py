"""Frozen backbones as torch modules give the features of their engines."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.models import load_backbone

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from kiyome.models.efficientnet_lite import LITE0, load_lite  # noqa: E402
from kiyome.models.onnx_file import run_torch  # noqa: E402
from kiyome.models.torch_backbone import torch_backbone  # noqa: E402


def test_lite0_and_tiny_equal_their_engines(cells):
    lite0, tiny = load_lite(LITE0, precision="f32"), load_backbone("tiny")
    np.testing.assert_allclose(run_torch(torch_backbone(lite0), cells), lite0.embed(cells), atol=1e-4)
    few = cells[:, :16, :16]
    np.testing.assert_allclose(run_torch(torch_backbone(tiny), few), tiny.embed(few), atol=1e-6)


def test_timm_with_weights_from_a_file(tmp_path):
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "model.pth")
    backbone = load_backbone("test_efficientnet", weights=tmp_path / "model.pth", engine="torch")
    crops = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), np.uint8)
    features = run_torch(torch_backbone(backbone, weights=tmp_path / "model.pth"), crops)
    assert np.linalg.norm(features - backbone.embed(crops)) < 0.03 * np.linalg.norm(features)


def test_several_backbones_are_refused():
    with pytest.raises(InputError, match="tiny,tiny cannot be written as one network"):
        torch_backbone(load_backbone("tiny,tiny"))
