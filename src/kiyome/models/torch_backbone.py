"""A frozen backbone as a torch module: the same features as its engine's, for export."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kiyome.errors import InputError
from kiyome.models.backbone import Backbone
from kiyome.models.build import Network
from kiyome.models.efficientnet_lite import LITE0, LITE2, NUM_DESCRIBED_STAGES, weights_file
from kiyome.models.timm_backbone import import_timm, timm_network, trained_model

LITES = {lite.name: lite for lite in (LITE0, LITE2)}


class _Pixels(nn.Module):  # type: ignore[misc]
    """The backbone tiny."""

    def forward(self, photos: Tensor) -> Tensor:
        return photos.flatten(1).float() / 255


class _Lite(nn.Module):  # type: ignore[misc]
    """EfficientNet-Lite, with means and deviations of its last stages."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, photos: Tensor) -> Tensor:
        x = self.model.bn1(self.model.conv_stem(photos.permute(0, 3, 1, 2).float() / 127.5 - 1))
        described = []
        for number, stage in enumerate(self.model.blocks):
            x = stage(x)
            if number >= len(self.model.blocks) - NUM_DESCRIBED_STAGES:
                pixels = x.flatten(2)
                described += [pixels.mean(2), pixels.var(2, correction=0).sqrt()]
        last = self.model.bn2(self.model.conv_head(x)).mean((2, 3))
        return torch.cat([last, *described], 1)


class MemberOnBackbone(nn.Module):  # type: ignore[misc]
    """From crops (n, size, size, 3) uint8 to the probabilities (n, K) of a frozen recipe's member."""

    def __init__(self, backbone: nn.Module, head: Network) -> None:
        super().__init__()
        self.backbone, self.head, self.link = backbone, head.module, head.link

    def forward(self, photos: Tensor) -> Tensor:
        """The probabilities (n, K) of photos (n, S, S, 3)."""
        logits: Tensor = self.head(self.backbone(photos))
        return self.link(logits.float())


def torch_backbone(backbone: Backbone, *, weights: str | Path | None = None) -> nn.Module:
    """Return the module from crops (n, size, size, 3) uint8 to features (n, num_features) float32.

    Parameters
    ----------
    backbone
        From `load_backbone`.
    weights
        The file that it was loaded with, if any.

    Raises
    ------
    InputError
        For several backbones side by side.
    """
    timm = import_timm()
    if "," in backbone.name:
        raise InputError(
            f"The backbones {backbone.name} cannot be written as one network: each takes crops of its own.",
            remedy="Run `kiyome find` with one backbone.",
        )
    if backbone.name == "tiny":
        return _Pixels()
    lite = LITES.get(backbone.name.partition("@")[0])
    if lite is not None:
        model = trained_model(timm, f"tf_efficientnet_{lite.name}", weights_file(lite))
        return _Lite(model).eval()
    module: nn.Module = timm_network(backbone.name, weights=weights).module.float()
    return module
