"""The heads of all folds as a torch module, for export."""

import numpy as np
import torch
from torch import Tensor, nn

from kiyome.artifacts.predictions import LEAST_PROBABILITY
from kiyome.features.inputs import CLIP
from kiyome.features.readings import LEAST_SCORE, Heads


class HeadsModule(nn.Module):  # type: ignore[misc]
    """From photos to the calibrated mean of all folds' heads; ``heads.pred_probs`` is what it must equal."""

    def __init__(self, backbone: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.backbone, self.power, self.scale = backbone, heads.power, heads.input_map.scale
        folds = heads.of_folds
        arrays = {
            "mean": heads.input_map.mean,
            "deviation": heads.input_map.deviation,
            "directions": heads.input_map.directions,
            "landmarks": heads.input_map.landmarks.T,
            "logistic": np.stack([head.logistic for head in folds]),
            "ridge": np.stack([head.ridge.coefficients for head in folds]),
            "shares": np.stack([head.ridge.shares for head in folds])[:, None],
            "sharpness": np.array([head.sharpness for head in folds], np.float32)[:, :, None, None],
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)))

    def forward(self, photos: Tensor) -> Tensor:
        """(n, S, S, 3) uint8 to (n, K); F folds stand before the photos on the way."""
        clipped = ((self.backbone(photos).float() - self.mean) / self.deviation).clamp(-CLIP, CLIP)
        components = nn.functional.pad(clipped @ self.directions, (0, 1), value=1.0)
        units = clipped / clipped.norm(dim=1, keepdim=True).clamp_min(1e-30)
        likeness = ((units @ self.landmarks - 1) * self.scale).exp()
        scores = likeness @ self.ridge + self.shares  # (F, n, K)
        logs = scores.clamp_min(LEAST_SCORE / scores.shape[-1]).log()
        first, second, third = self.sharpness.unbind(1)
        logits = (first * (components @ self.logistic) + second * logs + third * scores) / 3
        logits = logits.masked_fill(self.shares == 0, -torch.inf)
        mean = logits.softmax(-1).mean(0)
        probs: Tensor = (self.power * mean.clamp_min(LEAST_PROBABILITY).log()).softmax(-1)
        return probs
