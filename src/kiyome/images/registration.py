"""Two small grey pictures laid upon each other: the warp that fits best, and how well the details then agree.

n pairs, S = side, P = S * S pixels. Coordinates run from -1 to 1 over the pixel centers. A warp (2, 3) takes
a place (x, y, 1) of the fixed picture to the place of the moving picture that shows the same.

Warps are found by Gauss-Newton steps of the inverse compositional method (Baker and Matthews, 2004), from
smooth pictures to sharp ones. Each step fits brightness and contrast, too, so they never matter.
"""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]
Warps = NDArray[np.float32]

STEPS = 5
LONGEST_STEP = 0.15
DAMPING = 0.01
LEAST_OVERLAP = 0.3
RIM = 1 / 16
"""Part of a side that is not compared: blur brings in what lies beyond the edge, such as a frame."""
FINE, COARSE = 0.5, 1.5
"""Standard deviations in pixels of the two blurs whose difference holds the details."""
BLOCKS = 4
"""Details are compared in BLOCKS x BLOCKS parts of the picture, so that one edge or frame is not enough."""
GRAIN = 1.0
"""Grey levels; details as weak as this are noise and compression."""


def compare_pictures(moving: Numbers, fixed: Numbers, warps: Warps) -> NDArray[np.float32]:
    """Return (n,) the correlation of the pictures in their overlap; 0 where that is small."""
    seen, inside = warped(moving, warps)
    target = fixed.reshape(len(fixed), -1)
    count = np.maximum(inside.sum(1, keepdims=True), 1)
    one, other = ((part - (part * inside).sum(1, keepdims=True) / count) * inside for part in (seen, target))
    value = (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1) + 1e-6)
    return _where_they_overlap(value, inside)


def identity_warps(num_pairs: int) -> Warps:
    """Return (n, 2, 3) warps that move nothing."""
    return np.tile(np.eye(2, 3, dtype=np.float32), (num_pairs, 1, 1))


def inverse_warps(warps: Warps) -> Warps:
    """Return (n, 2, 3) warps that lead back."""
    return np.linalg.inv(_square(warps))[:, :2]


def fit_warps(moving: Numbers, fixed: Numbers, warps: Warps, *, blurs: tuple[float, ...]) -> Warps:
    """Return the (n, 2, 3) warps of (n, S, S) pictures that fit best, from the given warps on."""
    from scipy.ndimage import gaussian_filter

    for blur in blurs:
        sigma = (0, blur, blur)
        warps = _fit_at_one_blur(
            gaussian_filter(moving, sigma, mode="nearest"),
            gaussian_filter(fixed, sigma, mode="nearest"),
            warps,
        )
    return warps


def _fit_at_one_blur(moving: Numbers, fixed: Numbers, warps: Warps) -> Warps:
    num_pairs, side, _ = fixed.shape
    grid = _grid(side)
    across, down = np.gradient(fixed, axis=(2, 1))
    slopes = np.stack([across, down], axis=-1).reshape(num_pairs, -1, 2) * np.float32((side - 1) / 2)
    basis = (slopes[:, :, :, None] * grid.T[None, :, None, :]).reshape(num_pairs, -1, 6)
    target = fixed.reshape(num_pairs, -1)
    for _ in range(STEPS):
        seen, inside = warped(moving, warps)
        difference = _matched(seen, target, inside) - target
        masked = basis * inside[:, :, None]
        normal = masked.transpose(0, 2, 1) @ basis
        diagonal = np.arange(6)
        normal[:, diagonal, diagonal] *= 1 + DAMPING
        normal[:, diagonal, diagonal] += 1e-3
        step = np.linalg.solve(normal, masked.transpose(0, 2, 1) @ difference[:, :, None])
        bounded: Warps = np.clip(step, -LONGEST_STEP, LONGEST_STEP).astype(np.float32)
        warps = _without(warps, bounded.reshape(num_pairs, 2, 3))
    return warps


def compare_details(moving: Numbers, fixed: Numbers, warps: Warps) -> Numbers:
    """Return (n,) the mean correlation of the details within each block, strong details counting more."""
    side = fixed.shape[1]
    seen, inside = warped(details_of(moving), warps)
    details = details_of(fixed).reshape(len(fixed), -1)
    line = np.arange(side) * BLOCKS // side
    members = (np.add.outer(line * BLOCKS, line).reshape(-1, 1) == np.arange(BLOCKS**2)).astype(np.float32)
    counts = inside @ members
    sums = [(inside * one) @ members for one in (seen, details)]

    def covariance(one: int, other: int) -> Numbers:
        product = (inside * (seen, details)[one] * (seen, details)[other]) @ members
        value: Numbers = product - sums[one] * sums[other] / np.maximum(counts, 1)
        return value

    grain = counts * GRAIN**2
    of_seen, of_details = (np.maximum(covariance(one, one), 0) for one in (0, 1))
    within = covariance(0, 1) / np.sqrt((of_seen + grain) * (of_details + grain) + 1e-9)
    weights = (of_seen * of_details) ** 0.25 + 1e-9
    agreement = (within * weights).sum(axis=1) / weights.sum(axis=1)
    return _where_they_overlap(agreement, inside)


def _where_they_overlap(values: Numbers, inside: Numbers) -> Numbers:
    kept: Numbers = np.where(inside.mean(axis=1) >= LEAST_OVERLAP, values, 0).astype(np.float32)
    return kept


def details_of(pictures: Numbers) -> Numbers:
    """Return the pictures without what is smooth."""
    from scipy.ndimage import gaussian_filter

    fine, coarse = (gaussian_filter(pictures, (0, blur, blur), mode="nearest") for blur in (FINE, COARSE))
    details: Numbers = fine - coarse
    return details


def _grid(side: int) -> NDArray[np.float32]:
    """Return (3, P) places x, y, 1 of the pixels."""
    places = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = np.meshgrid(places, places)
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])


def warped(pictures: Numbers, warps: Warps) -> tuple[Numbers, Numbers]:
    """Return (n, P) pictures read where the warps lead, between pixels, and a mask of what can be compared.

    That lies inside of the moving picture, and not in the rim of the fixed one.
    """
    num_pairs, side, _ = pictures.shape
    x, y = ((warps @ _grid(side)) + 1).transpose(1, 0, 2) * ((side - 1) / 2)
    inside = (x >= 0) & (x <= side - 1) & (y >= 0) & (y <= side - 1) & _within_rim(side)
    x, y = np.clip(x, 0, side - 1.001), np.clip(y, 0, side - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    right, down = x - column, y - row
    corner = np.arange(num_pairs)[:, None] * side * side + row * side + column
    flat = pictures.reshape(-1)
    top = flat[corner] * (1 - right) + flat[corner + 1] * right
    bottom = flat[corner + side] * (1 - right) + flat[corner + side + 1] * right
    return top * (1 - down) + bottom * down, inside.astype(np.float32)


def _within_rim(side: int) -> NDArray[np.bool_]:
    """Return (P,) the pixels that are not in the rim."""
    line = np.arange(side)
    inner = np.minimum(line, side - 1 - line) >= round(RIM * side)
    return np.logical_and.outer(inner, inner).ravel()


def _matched(seen: Numbers, target: Numbers, inside: Numbers) -> Numbers:
    """Return (n, P) pixels with the brightness and contrast of the target, zero difference outside."""
    count = np.maximum(inside.sum(1, keepdims=True), 1)
    means = [(part * inside).sum(1, keepdims=True) / count for part in (seen, target)]
    deviations = [
        np.sqrt((((part - mean) * inside) ** 2).sum(1, keepdims=True) / count)
        for part, mean in zip((seen, target), means, strict=True)
    ]
    matched: Numbers = (seen - means[0]) * (deviations[1] / (deviations[0] + 1e-3)) + means[1]
    return matched


def _without(warps: Warps, step: Warps) -> Warps:
    """Return the warps after the inverse of a small step."""
    return (_square(warps) @ np.linalg.inv(_square(step + np.eye(2, 3, dtype=np.float32))))[:, :2]


def _square(warps: Warps) -> Warps:
    """Return (n, 3, 3) warps that can be multiplied and inverted."""
    last = np.tile(np.array([[0, 0, 1]], np.float32), (len(warps), 1, 1))
    return np.concatenate([warps, last], axis=1)
