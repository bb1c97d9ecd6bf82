"""A convolutional network of 2,000 weights that timm knows by name, for tests and toy data.

It has what real ones have, so that tests meet it: BatchNorm, a depthwise convolution, dropout, a head.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

SIDE = 32
default_cfgs = generate_default_cfgs(
    {
        "kiyome_tiny.untrained": {
            "input_size": (3, SIDE, SIDE),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "num_classes": 1000,
            "first_conv": "stem.0",
            "classifier": "head",
        }
    }
)
"""Under the name that timm looks for in this file."""


class KiyomeTiny(nn.Module):  # type: ignore[misc]
    """Stem, depthwise and pointwise convolution, mean, head; ``forward_features`` is (n, 32, side/8, side/8).

    >>> import torch
    >>> KiyomeTiny(num_classes=5)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 5])
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_classes, self.num_features, self.drop_rate = num_classes, 32, drop_rate
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, 16, 4, stride=4, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The head, as timm's models give it."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:  # noqa: ARG002
        """Take another head, as timm's models do."""
        self.num_classes = num_classes
        self.head = nn.Linear(32, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """The feature map."""
        features: Tensor = self.blocks(self.stem(images))
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:  # noqa: FBT001, FBT002
        """The logits of a feature map, or the pooled features before the head."""
        pooled = nn.functional.dropout(features.mean((2, 3)), self.drop_rate, self.training)
        logits: Tensor = pooled if pre_logits else self.head(pooled)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """The logits (n, K) of images (n, 3, height, width)."""
        return self.forward_head(self.forward_features(images))


@register_model  # type: ignore[untyped-decorator]
def kiyome_tiny(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: FBT001, FBT002
    """The network as ``timm.create_model("kiyome_tiny")`` gives it; it has no trained weights."""
    model: nn.Module = build_model_with_cfg(KiyomeTiny, "kiyome_tiny", pretrained, **options)
    return model


__all__ = ["KiyomeTiny", "kiyome_tiny"]
