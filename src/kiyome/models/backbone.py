"""What a backbone is to the rest of kiyome: how a photo enters, and what comes out."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import ALL_BITS
from kiyome.errors import InputError

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A frozen network that turns crops of photos into feature vectors."""

    name: str
    """As the user gives it: `lite0`, `lite0@int8`, `tiny`, or a timm name, with `@224` for another size."""
    source: str
    """Where the weights come from, for people."""
    weights_sha256: str
    """Of the bytes of the weights file; empty without weights, the fingerprints of the parts if several."""
    engine: str
    """What computes, its version and its precision: `openvino 2026.4.1 bf16`."""
    size: int
    """Height and width in pixels of the crop that `embed` takes."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    """A resampling filter of Pillow, in lower case."""
    crop_pct: float
    """Side of the crop as a share of the photo's short side."""
    num_features: int
    forward: Callable[[Pixels], Values] = field(repr=False, compare=False)
    """(n, size, size, 3) -> (n, num_features); a photo's features do not depend on its neighbors."""
    deep_bits: int = ALL_BITS
    """Bits in use of 16 bits a channel in the photos that are embedded."""
    note: str = ""
    """A sentence for the user about this choice; empty if it is what they asked for."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides a photo's features: layers, weights, engine, precision, preparation."""
        parts = [self.name, self.weights_sha256, self.engine, self.num_features]
        parts += [self.size, self.mean, self.std, self.interpolation, self.crop_pct]
        parts += [] if self.deep_bits == ALL_BITS else [self.deep_bits]  # older caches stay valid
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def short_side(self) -> int:
        """Pixels of the short side below which a photo loses detail that the crop could show."""
        return math.ceil(self.size / self.crop_pct)

    def prepare(self, pixels: Pixels) -> Pixels:
        """Return the (size, size, 3) center crop of an (H, W, 3) photo, resampled in one step."""
        from PIL import Image

        height, width, _ = pixels.shape
        half = min(height, width) * self.crop_pct / 2
        box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
        resampling = Image.Resampling[self.interpolation.upper()]
        return np.asarray(Image.fromarray(pixels).resize((self.size, self.size), resampling, box=box))

    def embed(self, pixels: Pixels) -> Values:
        """Return the (n, num_features) float32 features of (n, size, size, 3) uint8 crops.

        Raises
        ------
        InputError
            If the crops have another type or shape.
        """
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (self.size, self.size, 3):
            raise InputError(
                f"The crops are {pixels.dtype} of shape {pixels.shape}.",
                expected=f"Expected uint8 of shape (n, {self.size}, {self.size}, 3).",
                remedy="Make them with backbone.prepare.",
            )
        return self.forward(pixels)


def concatenate(parts: Sequence[Backbone]) -> Backbone:
    """Return a backbone whose features are those of all parts, side by side.

    Photos are cropped once, as for the part with the largest crop; the others see that crop made smaller.
    """
    largest = max(parts, key=lambda part: part.size)

    def forward(pixels: Pixels) -> Values:
        return np.concatenate([part.embed(_resized(pixels, part)) for part in parts], axis=1)

    return replace(
        largest,
        name=",".join(part.name for part in parts),
        source=" and ".join(dict.fromkeys(part.source for part in parts)),
        weights_sha256=",".join(part.fingerprint for part in parts),
        engine=", ".join(dict.fromkeys(part.engine for part in parts)),
        num_features=sum(part.num_features for part in parts),
        forward=forward,
    )


def _resized(crops: Pixels, backbone: Backbone) -> Pixels:
    from PIL import Image

    if crops.shape[1] == backbone.size:
        return crops
    resampling = Image.Resampling[backbone.interpolation.upper()]
    side = (backbone.size, backbone.size)
    return np.stack([np.asarray(Image.fromarray(crop).resize(side, resampling)) for crop in crops])


def fixed_batches(pixels: Pixels, size: int) -> Iterator[tuple[int, Pixels]]:
    """Yield (start, batch) with every batch of one size, the last one padded with black crops.

    One shape means one path through the engine, so features do not depend on how many crops came along.
    """
    for start in range(0, len(pixels), size):
        batch = pixels[start : start + size]
        padding = [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)]
        yield start, batch if len(batch) == size else np.pad(batch, padding)
