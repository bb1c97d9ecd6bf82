"""Random views of photos in uint8: crop, flip, color, cutout.

    Augment (what) + shapes, seed, epoch, rows, view ── draw_views ──► Views (numbers only)
    photo + Views ── render ──► (S, S, 3) pixels, written into a given array

Numbers are drawn for a whole batch at once and depend on (seed, epoch, row, view) and nothing else. They have
the distribution of torchvision's v2 transforms.

All color steps are one 3 x 4 matrix, applied once where ColorJitter passes over a photo four times. Each
step, on a pixel x of a view with mean pixel m (w are the weights of grey):

    brightness b   b x
    contrast c     c x + (1 - c) w.m 1        the one step that depends on the whole view
    saturation s   s x + (1 - s) w.x 1
    hue h          R x                        a turn by h of the plane of equal grey (YIQ)

All are linear in (x, m), so their product in any order is x -> M x + Q m.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError, MissingExtra, choose
from kiyome.images.draws import COLOR, CROP, CUTOUT, FLIP, random_uniform

Floats = NDArray[np.float64]

GREY = np.array([0.299, 0.587, 0.114])
"""Weights of ITU-R BT.601, those of Pillow and torchvision."""
YIQ = np.array([GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""NTSC 1953; red, yellow, green, blue follow each other against the sense of (I, Q)."""


def color_matrices(draws: Floats, strengths: Sequence[float]) -> tuple[Floats, Floats]:
    """Return M and Q, (B, 3, 3) each, of B random color changes in a random order of the four steps.

    `draws` are (B, 8) uniform numbers: four factors, four for the order; `strengths` those of brightness,
    contrast, saturation and hue. The distribution is that of torchvision's ``v2.ColorJitter`` with two
    differences: values are clipped once, at the end, not after each step; and hue turns the YIQ plane, which
    keeps perceived brightness, where HSV keeps the largest of R, G and B.

    >>> own, of_mean = color_matrices(np.full((1, 8), 0.5), [0.4, 0.4, 0.4, 0.1])
    >>> np.allclose(own, np.eye(3)), np.allclose(of_mean, 0)
    (True, True)
    """
    own_steps, mean_steps = color_steps(color_factors(draws[:, :4], strengths))
    order = np.argsort(draws[:, 4:], axis=1)
    own, of_mean = np.broadcast_to(np.eye(3), (len(draws), 3, 3)), np.zeros((len(draws), 3, 3))
    every = np.arange(len(draws))
    for step in order.T:
        next_own, next_mean = own_steps[step, every], mean_steps[step, every]
        of_mean = next_own @ of_mean + next_mean @ (own + of_mean)
        own = next_own @ own
    return own, of_mean


def color_factors(draws: Floats, strengths: Sequence[float]) -> Floats:
    """Return (B, 4) factors of brightness, contrast, saturation (1 changes nothing) and the turn of hue (0).

    >>> color_factors(np.array([[0.0, 0.5, 1.0, 0.0]]), [0.4, 0.4, 2.0, 0.1])
    array([[ 0.6,  1. ,  3. , -0.1]])
    """
    middle = np.array([1, 1, 1, 0])
    least = np.maximum(middle - strengths, [0, 0, 0, -np.inf])
    return least + draws * (middle + strengths - least)


def color_steps(factors: Floats) -> tuple[Floats, Floats]:
    """Return the factors of pixel and mean pixel in the four steps: (4, B, 3, 3) each."""
    brightness, contrast, saturation, _ = np.moveaxis(factors, 1, 0)[:, :, None, None]
    same = np.broadcast_to(np.eye(3), (len(factors), 3, 3))
    to_grey = np.broadcast_to(np.ones((3, 1)) * GREY, same.shape)
    nothing = np.zeros_like(same)
    own = [brightness * same, contrast * same, saturation * same + (1 - saturation) * to_grey]
    own.append(hue_turns(factors[:, 3]))
    return np.stack(own), np.stack([nothing, (1 - contrast) * to_grey, nothing, nothing])


def hue_turns(shares: Floats) -> Floats:
    """Return (B, 3, 3) matrices that turn colors by shares of a circle, from red over yellow to green.

    >>> hue_turns(np.array([0.25])).sum(axis=2).round(9)  # grey stays grey
    array([[1., 1., 1.]])
    """
    angle = -2 * np.pi * shares
    turn = np.zeros((len(shares), 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 2, 1] = np.sin(angle)
    turn[:, 1, 2] = -turn[:, 2, 1]
    return np.linalg.solve(YIQ, turn @ YIQ)


Pixels = NDArray[np.uint8]
Integers = NDArray[np.int64]
Plugin = Callable[[Pixels, int], Pixels]
"""(S, S, 3) pixels and a seed -> (S, S, 3) pixels; `training.mixing.from_torchvision` makes one."""

CROPS = ("random", "center", "whole")
TRIALS = 10
"""Random boxes that are tried before the center of the photo is taken, as in torchvision."""
FLIP_CODES = {(True, False): 1, (False, True): 0, (True, True): -1}
"""(horizontal, vertical) -> code of cv2.flip."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """The distribution of views; by default a RandomResizedCrop and nothing else."""

    size: int
    """Height and width of a view in pixels."""
    crop: str = "random"
    """`random` is RandomResizedCrop; `center` a square in the middle; `whole` the photo made square."""
    crop_pct: float = 0.875
    """Side of the center crop as a fraction of the photo's short side."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest fraction of the photo's area in a random crop."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of a random crop."""
    horizontal_flip: float = 0.0
    """Probability."""
    vertical_flip: float = 0.0
    """Probability."""
    brightness: float = 0.0
    """The factor is from 1 - value to 1 + value, as in ColorJitter; likewise for the next two."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """Largest turn of colors, as a share of the full circle; at most 0.5."""
    cutout: float = 0.0
    """Probability of a hidden box, as in RandomErasing."""
    cutout_scale: tuple[float, float] = (0.02, 0.33)
    """Smallest and largest fraction of the view in the box."""
    cutout_ratio: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest height / width of the box."""
    cutout_color: tuple[int, int, int] = (124, 116, 104)
    """RGB of the box; ImageNet's mean, so about zero after normalization."""
    plugin: Plugin | None = None
    """One more step after all others, in the thread that takes the batches."""

    def __post_init__(self) -> None:
        _check(self.size >= 1, "size", self.size, "Expected at least one pixel.")
        choose("crop", self.crop, CROPS)
        fractions = ("crop_pct", "horizontal_flip", "vertical_flip", "cutout")
        for name in (*fractions, "brightness", "contrast", "saturation", "hue"):
            most = 1 if name in fractions else 0.5 if name == "hue" else np.inf
            value = getattr(self, name)
            _check(0 <= value <= most, name, value, f"Expected a number from 0 to {most}.")
        for name in ("scale", "ratio", "cutout_scale", "cutout_ratio"):
            least, largest = value = getattr(self, name)
            top = 1 if "scale" in name else np.inf
            expected = f"Expected two rising numbers, above 0 and at most {top}."
            _check(0 < least <= largest <= top, name, value, expected)


@dataclass(frozen=True, kw_only=True)
class Views:
    """The numbers of B views."""

    boxes: Integers
    """(B, 4) top, left, height, width of the crop in the stored photo."""
    flips: NDArray[np.bool_]
    """(B, 2) horizontal, vertical."""
    colors: tuple[Floats, Floats] | None
    """(B, 3, 3) M and Q: a pixel becomes M @ pixel + Q @ mean pixel of the view. None keeps colors."""
    hidden: Integers
    """(B, 4) top, left, height, width of the hidden box in the view; height 0 where there is none."""
    hidden_color: tuple[int, int, int]


def draw_views(
    augment: Augment, shapes: Integers, *, seed: int, epoch: int, rows: Integers, view: int = 0
) -> Views:
    """Return the numbers of one view of each of B photos; each depends on its own row, not on its neighbors.

    `shapes` are (B, 2) height and width of the photos as stored, `rows` (B,) rows of the table.

    >>> augment = Augment(size=8, crop="center", crop_pct=0.5)
    >>> draw_views(augment, np.array([[20, 40]]), seed=0, epoch=0, rows=np.array([5])).boxes
    array([[ 5, 15, 10, 10]])
    """

    def draw(purpose: int, count: int) -> Floats:
        return random_uniform(purpose, seed, epoch, rows, view, count=count)

    likely = np.array([augment.horizontal_flip, augment.vertical_flip])
    strengths = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    return Views(
        boxes=_crops(augment, shapes, draw),
        flips=draw(FLIP, 2) < likely,
        colors=color_matrices(draw(COLOR, 8), strengths) if any(strengths) else None,
        hidden=_hidden_boxes(augment, len(rows), draw),
        hidden_color=augment.cutout_color,
    )


def render(photo: Pixels, views: Views, index: int, out: Pixels) -> None:
    """Write view number `index` of a photo into `out`, an (S, S, 3) C-contiguous part of a batch.

    Bilinear, except for crops of at least twice the size in both directions, whose pixels are averaged.
    """
    cv2 = load_cv2()
    top, left, height, width = views.boxes[index].tolist()
    size = out.shape[0]
    shrinks = min(height, width) >= 2 * size
    crop = photo[top : top + height, left : left + width]
    cv2.resize(crop, (size, size), dst=out, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    horizontal, vertical = views.flips[index].tolist()
    if horizontal or vertical:
        cv2.flip(out, FLIP_CODES[horizontal, vertical], dst=out)
    if views.colors:
        own, of_mean = views.colors
        offset = of_mean[index] @ cv2.mean(out)[:3]
        cv2.transform(out, np.column_stack([own[index], offset]), dst=out)
    top, left, height, width = views.hidden[index].tolist()
    out[top : top + height, left : left + width] = views.hidden_color


def load_cv2() -> Any:
    """Return the module cv2; MissingExtra if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("Augmentation", extra="torch") from error
    return cv2


def _crops(augment: Augment, shapes: Integers, draw: Callable[[int, int], Floats]) -> Integers:
    if augment.crop == "random":
        draws = draw(CROP, 2 * TRIALS + 2)
        boxes, fits = _random_boxes(draws, shapes, shapes, scale=augment.scale, ratio=augment.ratio)
        return np.where(fits[:, None], boxes, _central_boxes(shapes, augment.ratio))
    if augment.crop == "center":
        side = np.maximum(np.rint(augment.crop_pct * shapes.min(axis=1)), 1)
        return _centered(np.column_stack([side, side]), shapes)
    return _centered(shapes, shapes)


def _hidden_boxes(augment: Augment, num_views: int, draw: Callable[[int, int], Floats]) -> Integers:
    if not augment.cutout:
        return np.zeros((num_views, 4), np.int64)
    draws = draw(CUTOUT, 2 * TRIALS + 3)
    sides = np.full((num_views, 2), augment.size)
    least, largest = augment.cutout_ratio
    ratio = 1 / largest, 1 / least  # of width to height
    boxes, fits = _random_boxes(draws, sides, sides - 1, scale=augment.cutout_scale, ratio=ratio)
    fits &= draws[:, -1] < augment.cutout
    return np.where(fits[:, None], boxes, 0)


def _random_boxes(
    draws: Floats, sides: Integers, largest: Integers, *, scale: Sequence[float], ratio: Sequence[float]
) -> tuple[Integers, NDArray[np.bool_]]:
    """Return (B, 4) boxes, the first of ten trials that is at most `largest`; and whether there was one."""
    shares = scale[0] + draws[:, :TRIALS] * (scale[1] - scale[0])
    low, high = np.log(ratio)
    root = np.exp((low + draws[:, TRIALS : 2 * TRIALS] * (high - low)) / 2)
    root_area = np.sqrt(shares * sides.prod(axis=1, keepdims=True))
    trials = np.rint(np.stack([root_area / root, root_area * root], axis=2)).astype(np.int64)
    fits = ((trials > 0) & (trials <= largest[:, None])).all(axis=2)
    chosen = trials[np.arange(len(trials)), fits.argmax(axis=1)]
    corners = draws[:, 2 * TRIALS : 2 * TRIALS + 2] * (sides - chosen + 1)
    return np.hstack([np.floor(corners).astype(np.int64), chosen]), fits.any(axis=1)


def _central_boxes(shapes: Integers, ratio: Sequence[float]) -> Integers:
    """Return (B, 4) the largest boxes in the middle with an allowed shape."""
    height, width = shapes.T
    widest, highest = np.rint(height * max(ratio)), np.rint(width / min(ratio))
    return _centered(np.column_stack([np.minimum(height, highest), np.minimum(width, widest)]), shapes)


def _centered(boxes: NDArray[Any], shapes: Integers) -> Integers:
    return np.hstack([(shapes - boxes) // 2, boxes]).astype(np.int64)


def _check(sound: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001
    if not sound:
        raise InputError(
            f"{name}={value!r} is out of range.", expected=expected, remedy=f"Correct {name} in the recipe."
        )
