"""Photos of a folder, stored and ready to be learned, for what times our own loop."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kiyome.images.loader import Loader
from kiyome.images.pixel_cache import CachedPhotos, cache_photos, stored_size
from kiyome.models.compute import Compute
from kiyome.training.loop import Truth
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import Learner, new_learner


@dataclass(frozen=True, kw_only=True)
class LessonsAtHand:
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
            augment=recipe.training_views(),
            batch_size=recipe.batch_size,
            shuffle=True,
            num_threads=num_threads,
        )

    def truth(self, device: torch.device | str = "cpu") -> Truth:
        """One-hot targets of weight one."""
        labels = torch.from_numpy(self.labels.astype(np.int64)).to(device)
        targets = torch.eye(self.num_classes, device=device)[labels]
        return Truth(labels=labels, targets=targets, weights=torch.ones(len(labels), device=device))

    def learner(self, recipe: Recipe, compute: Compute, *, seed: int = 0) -> Learner:
        """One that has learned nothing yet."""
        return new_learner(
            recipe, num_classes=self.num_classes, num_rows=len(self.labels), seed=seed, compute=compute
        )


def lessons_at_hand(paths: list[Path], labels: np.ndarray, *, size: int, cache: Path) -> LessonsAtHand:
    """The photos stored for views of `size` pixels."""
    photos = cache_photos(paths, stored=stored_size(size), folder=cache)
    return LessonsAtHand(photos=photos, labels=labels, num_classes=int(labels.max()) + 1)
