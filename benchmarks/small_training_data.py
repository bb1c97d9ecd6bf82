"""Photos of a folder, stored and ready to be learned, for what times our own loop."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kiyome.images.loader import Loader
from kiyome.images.pixel_cache import CachedPhotos, cache_photos, stored_size
from kiyome.models.compute import Compute
from kiyome.training.loop import Targets
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import TrainState, new_train_state


@dataclass(frozen=True, kw_only=True)
class SmallTrainingData:
    """Photos, each of which has a class."""

    photos: CachedPhotos
    labels: np.ndarray
    """(N,)"""
    num_classes: int

    def loader(self, recipe: Recipe, *, rows: np.ndarray | None = None, num_threads: int = 2) -> Loader:
        """Shuffled batches of training views, of all photos or some."""
        return Loader(
            photos=self.photos,
            rows=np.arange(len(self.labels)) if rows is None else rows,
            augment=recipe.data.training_view(),
            batch_size=recipe.optimizer.batch_size,
            shuffle=True,
            num_threads=num_threads,
        )

    def targets(self, device: torch.device | str = "cpu") -> Targets:
        """One-hot targets of weight one."""
        labels = torch.from_numpy(self.labels.astype(np.int64)).to(device)
        probs = torch.eye(self.num_classes, device=device)[labels]
        return Targets(labels=labels, probs=probs, weights=torch.ones(len(labels), device=device))

    def train_state(self, recipe: Recipe, compute: Compute, *, seed: int = 0) -> TrainState:
        """One that has learned nothing yet."""
        return new_train_state(
            recipe, num_classes=self.num_classes, num_rows=len(self.labels), seed=seed, compute=compute
        )


def small_training_data(
    paths: list[Path], labels: np.ndarray, *, size: int, cache: Path
) -> SmallTrainingData:
    """The photos stored for views of `size` pixels."""
    photos = cache_photos(paths, stored=stored_size(size), folder=cache)
    return SmallTrainingData(photos=photos, labels=labels, num_classes=int(labels.max()) + 1)
