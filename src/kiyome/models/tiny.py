"""A backbone without weights or dependencies, for tests and toy data."""

import numpy as np

from kiyome.models.backbone import Backbone, Pixels, Values

SIDE = 16


def load_tiny() -> Backbone:
    """Return a backbone whose features are the RGB means of 16 x 16 blocks of the photo's center square.

    >>> backbone = load_tiny()
    >>> photo = np.full((48, 64, 3), 51, np.uint8)
    >>> backbone.embed(backbone.prepare(photo)[None])[0, :3]
    array([0.2, 0.2, 0.2], dtype=float32)
    """
    return Backbone(
        name="tiny",
        source="no weights: block means",
        weights_sha256="",
        engine="numpy",
        size=SIDE,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation="box",
        crop_pct=1.0,
        num_features=SIDE * SIDE * 3,
        forward=_block_means,
    )


def _block_means(pixels: Pixels) -> Values:
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(
        255
    )  # the box filter took the means
