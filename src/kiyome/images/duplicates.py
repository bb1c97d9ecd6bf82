"""Photos that show the same picture: exactly, or nearly so.

Photos with the same pixels are exact duplicates. Near duplicates are found by their signatures, taken as
directions: distance = 1 - correlation of two tiny grey pictures, which brightness and contrast do not change.
No single distance fits all collections: two different solar cells correlate more than two copies of a leaf
with different brightness. So a pair must be close (NEAR), and also far closer (CLOSER) than the photos around
it are to each other, measured by the distance to the CROWD-th neighbor; VERY_NEAR is close enough anywhere.

N photos, U distinct pictures, S = SIGNATURE_BYTES. Memory grows with U, never with its square.
benchmarks/duplicates.py measures the recall on altered copies and shows the other pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.progress import Progress, no_progress

SIGNATURE_SIDE = 16
SIGNATURE_BYTES = SIGNATURE_SIDE**2


def photo_signature(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return upright (H, W, 3) pixels in grey, resized to 16 x 16 and flattened: (SIGNATURE_BYTES,) uint8.

    The Hamming filter matters: with plain averages, sampling alone moves a copy at half size as far from its
    original as the nearest other photo is among 2,624 solar cells.

    >>> photo_signature(np.full((30, 40, 3), 200, np.uint8))[:3]
    array([200, 200, 200], dtype=uint8)
    """
    from PIL import Image

    grey = Image.fromarray(pixels).convert("L")
    tiny = grey.resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.HAMMING)
    return np.asarray(tiny).reshape(-1)


NEAR = 0.02
VERY_NEAR = 0.0005
CLOSER = 0.07
CROWD = 20
WIDEST = 2 * NEAR
"""Largest distance of a photo from the first of its group, so that groups cannot grow by chains."""
SEARCH_DIMENSIONS = 16
MIN_CONTRAST = 2.0
"""Grey levels; flatter pictures have no meaningful direction."""
BLOCK_ROWS = 2048

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DuplicateGroups:
    """Rows that show the same picture."""

    groups: Rows
    """(N,) group of each row, numbered by first row; -1 for a row that is alone or unreadable."""
    exact: NDArray[np.bool_]
    """(N,) whether another row has the very same pixels."""
    near: NDArray[np.bool_]
    """(N,) whether the row's group holds other pixels, too."""


def duplicate_groups(
    signatures: NDArray[np.uint8],
    pixels_sha256: Sequence[str | None],
    *,
    on_progress: Progress = no_progress,
) -> DuplicateGroups:
    """Return the groups of rows that show the same picture, exactly or nearly.

    Finds copies that were resized, compressed again, slightly blurred, or changed in brightness and contrast,
    and shots of one scene within a moment. Does not find mirrored or turned copies, and few copies that lost
    more than 2 % at the border; more than `CROWD` variants of one picture may be taken for look-alikes.

    `signatures` (N, SIGNATURE_BYTES) come from `photo_signature`, `pixels_sha256` is None for an unreadable
    photo, ignored. `on_progress` is called with ``("find duplicates", done, total)``.

    >>> signatures = np.random.default_rng(0).integers(0, 255, (3, 256), np.uint8)
    >>> duplicate_groups(signatures[[0, 1, 0, 2]], ["a", "b", "a", None]).groups
    array([ 0, -1,  0, -1])
    """
    if signatures.shape != (len(pixels_sha256), SIGNATURE_BYTES) or signatures.dtype != np.uint8:
        raise InputError(
            f"Signatures are {signatures.dtype} of shape {signatures.shape}.",
            expected=f"Expected uint8 of shape ({len(pixels_sha256)}, {SIGNATURE_BYTES}), one row a hash.",
            remedy="Make them with kiyome.images.duplicates.photo_signature.",
        )
    first_row: dict[str, int] = {}
    picture = np.array(
        [-1 if sha is None else first_row.setdefault(sha, row) for row, sha in enumerate(pixels_sha256)],
        np.int64,
    )
    firsts = np.array(list(first_row.values()), np.int64)
    clusters = _near_clusters(signatures[firsts], on_progress)
    cluster_of_row = np.full(len(picture), -1, np.int64)
    cluster_of_row[firsts] = clusters
    cluster_of_row[picture >= 0] = cluster_of_row[picture[picture >= 0]]
    return _groups_of_clusters(cluster_of_row, picture)


def _groups_of_clusters(cluster: Rows, picture: Rows) -> DuplicateGroups:
    """Return the clusters of two rows or more, numbered, with the kind of each row's duplicates."""
    readable = picture >= 0
    rows_in_cluster = np.bincount(cluster[readable], minlength=len(cluster))
    same_pixels = np.bincount(picture[readable], minlength=len(picture))
    in_group = readable & (rows_in_cluster[cluster] > 1)
    groups = np.full(len(cluster), -1, np.int64)
    _, first, number = np.unique(cluster[in_group], return_index=True, return_inverse=True)
    groups[in_group] = np.argsort(np.argsort(first))[number]
    exact = readable & (same_pixels[picture] > 1)
    near = in_group & (rows_in_cluster[cluster] > same_pixels[picture])
    return DuplicateGroups(groups=groups, exact=exact, near=near)


def _near_clusters(signatures: NDArray[np.uint8], on_progress: Progress) -> Rows:
    """Return (U,) a cluster number of each distinct picture, its own if it is alone."""
    clusters = np.arange(len(signatures))
    contrast = signatures.std(axis=1, dtype=np.float32)
    visible = np.flatnonzero(contrast >= MIN_CONTRAST)
    if len(visible) > 1:
        vectors = _directions(signatures[visible])
        pairs = _near_pairs(vectors, on_progress)
        clusters[visible] = visible[_compact_clusters(vectors, pairs)]
    return clusters


def _directions(signatures: NDArray[np.uint8]) -> Vectors:
    """Return signatures centered and scaled to length one, so that dot products are correlations."""
    vectors = signatures.astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _near_pairs(vectors: Vectors, on_progress: Progress) -> Rows:
    """Return (P, 2) pairs that are close, and far closer than the crowd around either of them."""
    from scipy.spatial import cKDTree

    # distances in the leading principal components are lower bounds
    _, components = np.linalg.eigh(vectors.T @ vectors)
    tree = cKDTree(vectors @ components[:, -SEARCH_DIMENSIONS:])
    everyone = np.arange(len(vectors))
    neighbors, distances = _nearest(tree, vectors, everyone, reach=NEAR, on_progress=on_progress)
    row, column = np.nonzero(distances <= NEAR)
    other, distance = neighbors[row, column], distances[row, column]
    involved = np.union1d(row, other)  # few rows need the wider search
    _, distances = _nearest(tree, vectors, involved, reach=NEAR / CLOSER)
    crowd = np.full(len(vectors), np.inf, np.float32)
    crowd[involved] = np.sort(distances, axis=1)[:, CROWD - 1]
    limit = np.clip(CLOSER * np.minimum(crowd[row], crowd[other]), VERY_NEAR, NEAR)
    return np.stack([row, other], axis=1)[distance <= limit]


def _nearest(
    tree: Any, vectors: Vectors, rows: Rows, *, reach: float, on_progress: Progress = no_progress
) -> tuple[Rows, Vectors]:
    """Return the CROWD nearest of each of `rows`, and their distances: inf where fewer are within reach."""
    neighbors = np.empty((len(rows), CROWD + 1), np.int64)
    distances = np.empty(neighbors.shape, np.float32)
    length = (2 * reach) ** 0.5  # of the difference of two directions
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        part = slice(start, start + len(block))
        _, found = tree.query(tree.data[block], k=CROWD + 1, distance_upper_bound=length, workers=-1)
        missing = (found == len(vectors)) | (found == block[:, None])
        neighbors[part] = np.where(missing, 0, found)
        distances[part] = 1 - np.einsum("bs,bks->bk", vectors[block], vectors[neighbors[part]])
        distances[part][missing] = np.inf
        on_progress("find duplicates", start + len(block), len(rows))
    return neighbors, distances


def _compact_clusters(vectors: Vectors, pairs: Rows) -> Rows:
    """Return (U,) the first row of each row's cluster: linked by pairs, within WIDEST of that row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    num_rows = len(vectors)
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(num_rows, num_rows))
    num_chains, chain = connected_components(links, directed=False)
    clusters = np.arange(num_rows)
    by_chain = np.argsort(chain, kind="stable")
    for members in np.split(by_chain, np.cumsum(np.bincount(chain, minlength=num_chains))[:-1]):
        left = members
        while len(left) > 1:
            close = 1 - vectors[left] @ vectors[left[0]] <= WIDEST
            close[0] = True
            clusters[left[close]] = left[0]
            left = left[~close]
    return clusters
