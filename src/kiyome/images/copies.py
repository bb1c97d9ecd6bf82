"""Copies across splits: pairs of photos made from one shot, resized, recolored, cropped, mirrored or turned.

No fixed distance tells a copy from a photo that is merely alike. So a pair has to pass three tests:
1. neighbors: near by signature in one of eight turns, or near by features of a network, if given;
2. screen: the signatures correlate (MIN_SCREEN) once one is shifted, scaled and tilted to fit the other;
3. details: thumbnails fitted in the same way agree in their details nearly everywhere (MIN_AGREEMENT), the
   more so the farther one is shifted (SHIFT_COST), without a strong tilt, and far better (CLOSER) than the
   CROWD-th look-alike of the same photo does, unless they agree very well (SURE). Coarse photos have to agree
   very well (COARSE_AGREEMENT).
Only the third test needs pixels, those of few photos.

N photos, n pairs, S = SIGNATURE_BYTES, T = THUMBNAIL_SIDE, D features. Time grows with the product of the
sizes of two splits, but slowly; memory grows with N. benchmarks/leaks.py measures recall, precision and time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.leaks import SAME_PIXELS
from kiyome.errors import InputError
from kiyome.images.directions import components, directions, most_alike, projected, whitened
from kiyome.images.duplicates import MIN_CONTRAST, SIGNATURE_SIDE
from kiyome.images.reader import read_photos
from kiyome.images.registration import (
    Numbers,
    Warps,
    compare_details,
    compare_pictures,
    details_of,
    fit_warps,
    identity_warps,
    inverse_warps,
    warped,
)
from kiyome.progress import Progress, no_progress

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]
Matrix = NDArray[Any]

MIRRORED = 4
"""The first of the turns of a mirrored photo; see `turned`."""
NEIGHBORS = (10, 1, 1, 1, 3, 1, 1, 1)
"""Neighbors by signature that are looked at in each turn."""
NEIGHBORS_BY_FEATURES = 5
DIMENSIONS, FEATURE_DIMENSIONS = 32, 128
"""Principal components that neighbors are searched in."""

SCREEN_BLURS, BLURS = (1.0, 0.5), (2.0, 1.0, 0.5)
MIN_SCREEN = 0.88
THUMBNAIL_SIDE = 32
MIN_AGREEMENT, SHIFT_COST = 0.79, 0.3
"""The farther the corners had to move, the more easily photos that are merely alike agree."""
CLOSER, CROWD, SURE = 0.3, 10, 0.92
"""Details that agree as well as SURE do so in any crowd."""
MAX_STRETCH, MAX_TILT, MAX_TURN = 1.3, 0.06, 0.12
"""A turn tilts both axes, in opposite directions; what tilts otherwise is hardly a copy."""
LONGEST_SIDES = 2.0
"""Of the longer to the shorter side of a photo: squeezed to a square, a turn tilts its axes unequally."""
COARSE_SIDE, COARSE_SHARE, COARSE_AGREEMENT = 8, 0.8, 0.95
"""Photos whose details are those of 8 x 8 pixels are too coarse to tell apart, unless nearly all agrees."""

MIN_SHIFT = 0.06
"""In halves of the picture; corners that move farther tell a crop."""
MIN_RECOLOR = 10.0
"""Grey levels of 255, averaged over pixels and channels."""

BLOCK_ROWS, BLOCK_PAIRS = 64, 256
STAGE = "find copies"


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """n pairs of photos in two splits that show one shot, the most certain first."""

    first: Rows
    """(n,) row of the photo in the split of the higher number."""
    second: Rows
    """(n,) row of the photo in the other split."""
    similarity: NDArray[np.float32]
    """(n,) agreement of the details; 1 for the same pixels."""
    kinds: tuple[str, ...]
    """n texts such as `same pixels`, `nearly the same` or `mirrored, cropped`."""


def find_copies(
    signatures: Pixels,
    pixels_sha256: Sequence[str | None],
    splits: NDArray[np.integer[Any]],
    thumbnails: Callable[[Rows], Pixels],
    *,
    features: NDArray[np.floating[Any]] | None = None,
    on_progress: Progress = no_progress,
) -> Copies:
    """Return the pairs of photos in different splits that show one shot.

    Parameters
    ----------
    signatures : (N, SIGNATURE_BYTES) uint8
        From `kiyome.images.duplicates.photo_signature`.
    pixels_sha256 : sequence of N
        Digest of the pixels; None for an unreadable photo, ignored.
    splits : (N,) int
        Number of each photo's split. The first photo of a pair is of the split with the higher number.
    thumbnails : callable
        Returns the (m, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3) `thumbnail` of m rows, each asked for once.
    features : (N, D) float, optional
        Features of a network, which also find copies that lost more than a tenth of a side.
    on_progress : callable
        Called with ``("find copies", done, total)``.

    Raises
    ------
    InputError
        If the arrays differ in length.

    Examples
    --------
    >>> from kiyome.images.duplicates import photo_signature
    >>> noise = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3), np.uint8)
    >>> photos = np.kron(noise, np.ones((1, 8, 8, 1), np.uint8))
    >>> photos[2] = photos[0, :, ::-1]
    >>> copies = find_copies(np.stack([photo_signature(photo) for photo in photos]), ["a", "b", "c"],
    ...     np.array([0, 0, 1]), lambda rows: np.stack([thumbnail(photos[row]) for row in rows]))
    >>> copies.first, copies.second, copies.kinds
    (array([2]), array([0]), ('mirrored',))
    """
    lengths = [
        len(signatures),
        len(pixels_sha256),
        len(splits),
        *([] if features is None else [len(features)]),
    ]
    if len(set(lengths)) > 1:
        raise InputError(
            f"Signatures, hashes, splits and features are of {', '.join(map(str, lengths))} photos.",
            expected="Expected one of each for every photo, in the same order.",
            remedy="Pass arrays of the same photos.",
        )
    by_split = _rows_by_split(splits, pixels_sha256)
    same = _same_pixels(by_split, pixels_sha256)
    found = [_compare(signatures, later, earlier, features, on_progress) for later, earlier in by_split]
    pairs = _without_same_pixels(_joined(found), pixels_sha256)
    return _with_same_pixels(same, _verify(pairs, thumbnails, on_progress))


def thumbnail(pixels: Pixels) -> Pixels:
    """Return upright (H, W, 3) pixels resized to (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3).

    >>> thumbnail(np.zeros((50, 60, 3), np.uint8)).shape
    (32, 32, 3)
    """
    from PIL import Image

    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.HAMMING))


def read_thumbnails(
    paths: Sequence[str | PathLike[str]],
    *,
    shrink_to: int,
    deep_bits: int,
    on_progress: Progress = no_progress,
) -> Pixels:
    """Return the (N, T, T, 3) thumbnails of photos; black where one cannot be read."""
    thumbnails = np.zeros((len(paths), THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), np.uint8)
    for record in read_photos(
        paths,
        prepare=lambda photo: thumbnail(photo.pixels),
        shrink_to=shrink_to,
        deep_bits=deep_bits,
        on_progress=lambda _, done, total: on_progress("look at likely copies", done, total),
    ):
        if record.prepared is not None:
            thumbnails[record.row] = record.prepared
    return thumbnails


def turned(pictures: Matrix, turn: int) -> Matrix:
    """Return (n, S, S, ...) pictures, mirrored if `turn` is MIRRORED or more, turned left `turn` % 4 times.

    >>> turned(np.array([[[1, 2], [3, 4]]]), 4).tolist()
    [[[2, 1], [4, 3]]]
    """
    upright = pictures[:, :, ::-1] if turn >= MIRRORED else pictures
    return np.rot90(upright, turn % MIRRORED, axes=(1, 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """n pairs of rows, the turn of the first photo, and the warp that lays it upon the second."""

    first: Rows
    second: Rows
    turn: Rows
    warps: Warps

    def take(self, chosen: Any) -> "_Pairs":
        return _Pairs(
            first=self.first[chosen],
            second=self.second[chosen],
            turn=self.turn[chosen],
            warps=self.warps[chosen],
        )


def _joined(parts: Sequence[_Pairs]) -> _Pairs:
    empty = np.empty(0, np.int64)
    none = _Pairs(first=empty, second=empty, turn=empty, warps=identity_warps(0))
    every = [none, *parts]
    return _Pairs(
        first=np.concatenate([part.first for part in every]),
        second=np.concatenate([part.second for part in every]),
        turn=np.concatenate([part.turn for part in every]),
        warps=np.concatenate([part.warps for part in every]),
    )


def _rows_by_split(
    splits: NDArray[np.integer[Any]], pixels_sha256: Sequence[str | None]
) -> list[tuple[Rows, Rows]]:
    """Return the readable rows of each split but the first, each with those of all lower splits."""
    readable = np.flatnonzero([sha is not None for sha in pixels_sha256])
    of_row = splits[readable]
    return [(readable[of_row == later], readable[of_row < later]) for later in np.unique(of_row)[1:]]


def _same_pixels(
    by_split: list[tuple[Rows, Rows]], pixels_sha256: Sequence[str | None]
) -> list[tuple[int, int]]:
    """Return each row that has the pixels of a row in the other split, in one pair only."""
    pairs = []
    for later, earlier in by_split:
        first_later = {pixels_sha256[row]: row for row in later[::-1].tolist()}
        first_earlier = {pixels_sha256[row]: row for row in earlier[::-1].tolist()}
        pairs += [
            (row, first_earlier[sha])
            for row in later.tolist()
            if (sha := pixels_sha256[row]) in first_earlier
        ]
        pairs += [
            (first_later[sha], row) for row in earlier.tolist() if (sha := pixels_sha256[row]) in first_later
        ]
    return list(dict.fromkeys(pairs))


def _without_same_pixels(pairs: _Pairs, pixels_sha256: Sequence[str | None]) -> _Pairs:
    both = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    return pairs.take(np.array([pixels_sha256[one] != pixels_sha256[other] for one, other in both], bool))


def _compare(
    signatures: Pixels, later: Rows, earlier: Rows, features: Matrix | None, on_progress: Progress
) -> _Pairs:
    """Return the pairs that pass the first two tests."""
    visible = signatures.std(axis=1, dtype=np.float32) >= MIN_CONTRAST
    later, earlier = later[visible[later]], earlier[visible[earlier]]
    if not (len(later) and len(earlier)):
        return _joined([])
    pictures = signatures.reshape(-1, SIGNATURE_SIDE, SIGNATURE_SIDE)
    project = components(lambda rows: directions(pictures[rows]), earlier, DIMENSIONS)
    known = projected(lambda rows: project(directions(pictures[rows])), earlier)
    network = None if features is None else whitened(features, later, earlier, FEATURE_DIMENSIONS)
    parts = []
    for start in range(0, len(later), BLOCK_ROWS):
        rows = later[start : start + BLOCK_ROWS]
        near = [
            _Neighbors(turn, most_alike(project(directions(turned(pictures[rows], turn))) @ known.T, most))
            for turn, most in enumerate(NEIGHBORS)
        ]
        if network is not None:
            alike = most_alike(network[0][start : start + BLOCK_ROWS] @ network[1].T, NEIGHBORS_BY_FEATURES)
            near += [_Neighbors(turn, alike) for turn in (0, MIRRORED)]
        parts.append(_screened(pictures, _distinct(rows, earlier, near)))
        on_progress(STAGE, start + len(rows), len(later))
    return _joined(parts)


@dataclass(frozen=True)
class _Neighbors:
    """Columns (b, k) of the nearest of each of b rows in one turn."""

    turn: int
    columns: Rows


def _distinct(rows: Rows, others: Rows, near: Sequence[_Neighbors]) -> _Pairs:
    """Return each pair of row, other and turn once."""
    triples = np.concatenate(
        [
            np.stack(
                [
                    np.repeat(rows, part.columns.shape[1]),
                    others[part.columns.ravel()],
                    np.full(part.columns.size, part.turn),
                ]
            )
            for part in near
        ],
        axis=1,
    )
    first, second, turn = np.unique(triples, axis=1)
    return _Pairs(first=first, second=second, turn=turn, warps=identity_warps(len(first)))


def _screened(pictures: Pixels, pairs: _Pairs) -> _Pairs:
    """Return the pairs whose signatures correlate once fitted, with their warps."""
    moving, fixed = _turned_each(pictures[pairs.first], pairs.turn), pictures[pairs.second].astype(np.float32)
    warps = fit_warps(moving, fixed, pairs.warps, blurs=SCREEN_BLURS)
    pairs = _Pairs(first=pairs.first, second=pairs.second, turn=pairs.turn, warps=warps)
    return pairs.take(compare_pictures(moving, fixed, warps) >= MIN_SCREEN)


def _verify(pairs: _Pairs, thumbnails: Callable[[Rows], Pixels], on_progress: Progress) -> Copies:
    """Return the pairs that pass the third test, the best turn of each."""
    rows = np.unique(np.concatenate([pairs.first, pairs.second]))
    colored = thumbnails(rows) if len(rows) else np.zeros((0, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), np.uint8)
    first, second = np.searchsorted(rows, pairs.first), np.searchsorted(rows, pairs.second)
    num_pairs = len(pairs.first)
    warps, similarity = np.empty_like(pairs.warps), np.empty(num_pairs, np.float32)
    for start in range(0, num_pairs, BLOCK_PAIRS):
        part = slice(start, start + BLOCK_PAIRS)
        moving = _turned_each(_grey(colored[first[part]]), pairs.turn[part])
        fixed = _grey(colored[second[part]])
        warps[part] = fit_warps(moving, fixed, pairs.warps[part], blurs=BLURS)
        similarity[part] = compare_details(moving, fixed, warps[part])
        on_progress("compare details", min(start + BLOCK_PAIRS, num_pairs), num_pairs)
    coarse = _is_coarse(_grey(colored))
    enough = (similarity >= COARSE_AGREEMENT) | ~(coarse[first] | coarse[second])
    kept = _is_copy(pairs.first, similarity, warps)
    kept = kept[enough[kept]]
    kept = kept[_best_of_each(pairs.first[kept], pairs.second[kept], similarity[kept])]
    kinds = [
        _kind(colored[first[pair]], colored[second[pair]], int(pairs.turn[pair]), warps[pair])
        for pair in kept
    ]
    return Copies(
        first=pairs.first[kept], second=pairs.second[kept], similarity=similarity[kept], kinds=tuple(kinds)
    )


def _is_copy(first: Rows, similarity: Numbers, warps: Warps) -> Rows:
    """Return the pairs that agree for their shift, with little tilt, and better than the crowd does."""
    by_row = np.lexsort((-similarity, first))
    _, starts, counts = np.unique(first[by_row], return_index=True, return_counts=True)
    crowded = counts > CROWD
    crowd = np.zeros(len(starts), np.float32)
    crowd[crowded] = similarity[by_row[starts[crowded] + CROWD]]
    closer = np.empty(len(first), np.float32)
    closer[by_row] = np.minimum(SURE, 1 - CLOSER * (1 - np.repeat(crowd, counts)))
    limit = np.maximum(MIN_AGREEMENT + SHIFT_COST * _shift(warps), closer)
    stretch = np.linalg.svd(warps[:, :, :2], compute_uv=False)
    straight = (stretch[:, 0] <= MAX_STRETCH * stretch[:, 1]) & _is_upright(warps)
    return np.flatnonzero((similarity >= limit) & straight)


def _is_coarse(pictures: Numbers) -> NDArray[np.bool_]:
    """Return (n,) whether nearly all details of (n, T, T) pictures are left at COARSE_SIDE pixels."""
    from PIL import Image

    side = pictures.shape[1]
    small = Image.fromarray(np.eye(side, dtype=np.float32)).resize(
        (side, COARSE_SIDE), Image.Resampling.HAMMING
    )
    there_and_back = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    details, left = (
        details_of(each).reshape(len(pictures), side**2)
        for each in (pictures, there_and_back @ pictures @ there_and_back.T)
    )
    squares = (details**2).sum(axis=1) * (left**2).sum(axis=1)
    coarse: NDArray[np.bool_] = (details * left).sum(axis=1) ** 2 > COARSE_SHARE * squares
    return coarse


def _is_upright(warps: Warps) -> NDArray[np.bool_]:
    """Return (n,) whether the warps turn little, even a picture squeezed to a square, or tilt less."""
    tilts = warps[:, [0, 1], [1, 0]] / np.abs(warps[:, [0, 1], [0, 1]]).clip(1e-6)
    turn = np.sqrt(np.maximum(-tilts.prod(axis=1), 0))
    most = np.maximum(MAX_TILT, LONGEST_SIDES * turn)
    upright: NDArray[np.bool_] = (turn <= MAX_TURN) & (np.abs(tilts).max(axis=1, initial=0) <= most)
    return upright


def _shift(warps: Warps) -> Numbers:
    """Return (n,) how far a corner of one photo moves at most in the other, in halves of the picture.

    That is the smaller of both directions: a crop moves less in its original than that moves around the crop.
    """
    corners = np.array([[-1, -1, 1, 1], [-1, 1, -1, 1], [1, 1, 1, 1]], np.float32)
    moved = [np.abs(each @ corners - corners[:2]).max(axis=(1, 2)) for each in (warps, inverse_warps(warps))]
    smaller: Numbers = np.minimum(*moved)
    return smaller


def _best_of_each(first: Rows, second: Rows, similarity: Numbers) -> Rows:
    """Return the index of the best turn of each pair, the most similar pair first."""
    order = np.lexsort((second, first, -similarity))
    _, best = np.unique(np.stack([first[order], second[order]]), axis=1, return_index=True)
    chosen: Rows = order[np.sort(best)]
    return chosen


def _with_same_pixels(same: list[tuple[int, int]], copies: Copies) -> Copies:
    first, second = np.array(same, np.int64).reshape(-1, 2).T
    return Copies(
        first=np.concatenate([first, copies.first]),
        second=np.concatenate([second, copies.second]),
        similarity=np.concatenate([np.ones(len(first), np.float32), copies.similarity]),
        kinds=(SAME_PIXELS,) * len(first) + copies.kinds,
    )


def _kind(first: Pixels, second: Pixels, turn: int, warp: Warps) -> str:
    """Return in words how the first photo differs from the second."""
    words = {0: [], 2: ["turned"], 4: ["mirrored"], 6: ["mirrored"]}.get(
        turn, ["turned"] if turn < MIRRORED else ["mirrored", "turned"]
    )
    if _shift(warp[None])[0] > MIN_SHIFT:
        words = [*words, "cropped"]
    upright = turned(first[None], turn).astype(np.float32)
    seen = [warped(upright[..., channel], warp[None]) for channel in range(3)]
    inside = seen[0][1][0] > 0
    change = [
        np.abs(pixels[0] - second[..., channel].ravel())[inside].mean()
        for channel, (pixels, _) in enumerate(seen)
    ]
    if np.mean(change) > MIN_RECOLOR:
        words = [*words, "recolored"]
    return ", ".join(words) or "nearly the same"


def _grey(pictures: Pixels) -> Numbers:
    """Return (n, T, T, 3) pixels as float grey levels."""
    grey: Numbers = pictures.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey


def _turned_each(pictures: Matrix, turns: Rows) -> Numbers:
    """Return each picture in its own turn."""
    result = np.empty(pictures.shape, np.float32)
    for turn in np.unique(turns).tolist():
        result[turns == turn] = turned(pictures[turns == turn], turn)
    return result
