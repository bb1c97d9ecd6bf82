"""Photos to probabilities: the only forward pass without gradients, for held-out, test and new photos.

Out-of-fold and test predictions take the same path, so they cannot drift apart. V views, n rows, K classes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kiyome.errors import KiyomeError
from kiyome.images.augment import Augment
from kiyome.images.loader import Loader
from kiyome.images.photo_features import Features
from kiyome.images.pixel_cache import CachedPhotos
from kiyome.models import Network
from kiyome.models.compute import Compute
from kiyome.progress import Progress, no_progress

Probs = NDArray[np.float32]


def predict(
    network: Network,
    photos: CachedPhotos | Features,
    rows: NDArray[np.int64],
    *,
    views: Sequence[Augment],
    compute: Compute,
    batch_size: int = 64,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> Probs:
    """Probabilities (n, K) of these rows: the mean over views of each view's own, by the network's link.

    `network` is best prepared by ``compute.ready(network.module)``; it is left in evaluation mode with its
    memory layout unchanged, since an optimizer may refer to it. `rows` are (n,) readable photos. Each of
    `views` is an Augment: the first plain, the others random, for test-time augmentation; `seed` decides the
    random ones. `on_progress` is called with ``("predict", done, total)`` after each batch. KiyomeError for
    outputs that are not finite.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from kiyome.images.pixel_cache import StoredSize, cache_photos
    >>> from kiyome.models import build_model
    >>> from kiyome.models.compute import choose_compute
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (40, 40), "red").save(folder / "red.png")
    >>> photos = cache_photos([folder / "red.png"], stored=StoredSize(side=32), folder=folder / "cache")
    >>> views = [Augment(size=32, crop="center"), Augment(size=32, horizontal_flip=0.5)]
    >>> network, compute = build_model("tiny", num_classes=3), choose_compute("float32")
    >>> pred_probs = predict(network, photos, np.array([0]), views=views, compute=compute)
    >>> pred_probs.shape, float(pred_probs.sum().round(4))
    ((1, 3), 1.0)
    """
    by_view = predict_views(
        network,
        photos,
        rows,
        views=views,
        compute=compute,
        batch_size=batch_size,
        seed=seed,
        on_progress=on_progress,
    )
    total = np.zeros((len(rows), 1))
    for probs in by_view:
        total = total + probs
    mean: Probs = (total / len(views)).astype(np.float32)
    return mean


def predict_views(
    network: Network,
    photos: CachedPhotos | Features,
    rows: NDArray[np.int64],
    *,
    views: Sequence[Augment],
    compute: Compute,
    batch_size: int = 64,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> Iterator[Probs]:
    """Yield the probabilities (n, K) of one view after another; arguments as for `predict`."""
    module = network.module.to(compute.device).eval()
    done, total = 0, len(views) * len(rows)
    for number, augment in enumerate(views):
        loader = Loader(photos=photos, rows=rows, augment=augment, batch_size=batch_size, seed=seed)
        parts = []
        for batch in loader.epoch(view=number):
            with torch.inference_mode(), compute.autocast():
                images = network.normalize(torch.from_numpy(batch.inputs).to(compute.device))
                parts.append(network.link(module(images).float()).cpu().numpy())
            done += len(batch.rows)
            on_progress("predict", done, total)
        probs: Probs = np.concatenate(parts)
        if not np.isfinite(probs).all():
            row = rows[np.flatnonzero(~np.isfinite(probs).all(axis=1))[0]]
            raise KiyomeError(
                f"The network gives numbers that are not finite for row {row}.",
                remedy="Predict with precision=float32, or train this member again.",
            )
        yield probs
