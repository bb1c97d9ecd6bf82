"""Features of many photos by many workers: ranges of rows, each embedded into the cache by whoever takes it.

    paths ── ranges ── executor: extract_features of a range ── the cache ── extract_features finds all of it

A range may be done by any process, at any time, and again: it puts files of 1,024 rows into the cache, whole
or not at all, named by their content, and passes over photos that are there.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path

from kiyome.artifacts.storage import default_cache_folder
from kiyome.errors import StaleArtifact
from kiyome.executors import Executor, Here
from kiyome.features.cache import ROWS_PER_SHARD
from kiyome.features.extract import extract_features
from kiyome.models import Backbone, load_backbone
from kiyome.progress import Progress, no_progress

MOST_RANGES = 64
"""Each opens the cache, and reads what is in it."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Photos of consecutive rows, and what embeds them."""

    paths: tuple[str, ...]
    backbone: str
    weights: str | None
    fingerprint: str
    """Of the backbone: no other may come out of these names where the worker is."""
    cache_folder: str
    deep_bits: int


def embed_elsewhere(
    paths: Sequence[str | PathLike[str]],
    backbone: Backbone,
    *,
    executor: Executor,
    weights: str | PathLike[str] | None = None,
    cache_folder: str | PathLike[str] | None = None,
    on_progress: Progress = no_progress,
) -> None:
    """Put the features of all readable photos into the cache, where `extract_features` finds them.

    Bit for bit what one process puts there, for the same engine with the same settings. After a kill the same
    call goes on from the last 1,024 rows of each range.

    Parameters
    ----------
    paths, backbone, cache_folder
        As for `extract_features`; workers see the photos and the cache.
    executor
        Who embeds. Nothing is done for `Here`, as `extract_features` does it.
    weights
        The file that the backbone was loaded with, if any.
    on_progress
        Hears ``("embed in parts", done, total)`` of photos, when a range is done.

    Raises
    ------
    StaleArtifact
        Where a worker has other weights, or another version of the engine.
    """
    if isinstance(executor, Here):
        return
    size = max(ROWS_PER_SHARD, -(-len(paths) // MOST_RANGES))
    ranges = {
        f"photos {first + 1:,} to {min(first + size, len(paths)):,}": Range(
            paths=tuple(fspath(path) for path in paths[first : first + size]),
            backbone=backbone.name,
            weights=None if weights is None else fspath(weights),
            fingerprint=backbone.fingerprint,
            cache_folder=fspath(cache_folder or default_cache_folder()),
            deep_bits=backbone.deep_bits,
        )
        for first in range(0, len(paths), size)
    }
    num_done = 0
    with closing(executor.run(embed_range, ranges)) as done:
        for name, _ in done:
            num_done += len(ranges[name].paths)
            on_progress("embed in parts", num_done, len(paths))


def embed_range(photos: Range) -> int:
    """How many photos of the range were embedded, and not known before: the work of a unit."""
    backbone = replace(_loaded(photos.backbone, photos.weights), deep_bits=photos.deep_bits)
    if backbone.fingerprint != photos.fingerprint:
        raise StaleArtifact(
            f"A worker has another backbone: {backbone.name} from {backbone.source} under {backbone.engine}.",
            expected="All workers must embed with the same one.",
            remedy="Install the same versions on all machines, and let them see the same weights.",
        )
    return extract_features(photos.paths, backbone, cache_folder=Path(photos.cache_folder)).num_embedded


@lru_cache(maxsize=1)
def _loaded(name: str, weights: str | None) -> Backbone:
    return load_backbone(name, weights=weights)
