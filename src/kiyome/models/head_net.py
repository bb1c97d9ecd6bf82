"""A head on features of a frozen network, that timm knows by name: linear, or with one hidden layer."""

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

CLIP = 4.0
"""Deviations from the mean. Without it, a feature that fires in one photo of N lies sqrt(N) away."""

default_cfgs = generate_default_cfgs(
    {"kiyome_head.untrained": {"input_size": (3, 8, 8), "crop_pct": 1.0, "num_classes": 1000}}
)
"""Under the name that timm looks for in this file; sizes of images mean nothing here."""


class KiyomeHead(nn.Module):  # type: ignore[misc]
    """Features (n, D), standardized and clipped at 4 deviations, to logits (n, K).

    >>> KiyomeHead(num_classes=5, num_features=7, hidden=3)(torch.zeros(2, 7)).shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        num_classes: int = 1000,
        num_features: int = 1,
        hidden: int = 0,
        drop_rate: float = 0.0,
        in_chans: int = 3,  # noqa: ARG002  (timm gives it to every network)
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, num_features
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))
        inner = [nn.Linear(num_features, hidden), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(
            *inner, nn.Dropout(drop_rate), nn.Linear(hidden or num_features, num_classes)
        )

    def forward(self, features: Tensor) -> Tensor:
        """The logits (n, K) of features (n, D)."""
        standardized = (features.float() - self.mean) / self.deviation
        logits: Tensor = self.layers(standardized.clamp(-CLIP, CLIP))
        return logits


@register_model  # type: ignore[untyped-decorator]
def kiyome_head(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: FBT001, FBT002
    """The head as ``timm.create_model("kiyome_head", num_features=D)`` gives it, without trained weights."""
    model: nn.Module = build_model_with_cfg(KiyomeHead, "kiyome_head", pretrained, **options)
    return model


__all__ = ["KiyomeHead", "kiyome_head"]
