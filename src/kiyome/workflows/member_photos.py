"""Photos as members see them: stored pixels for a network in training, features for a frozen one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kiyome.features import extract_features
from kiyome.images.photo_features import Features
from kiyome.images.pixel_cache import CachedPhotos, StoredSize, cache_photos
from kiyome.models import load_backbone
from kiyome.progress import Progress, no_progress
from kiyome.training.recipe import Recipe


class FrozenNetwork(NamedTuple):
    """The network of a frozen recipe."""

    architecture: str
    weights: str
    """A file; empty for the network's own."""


Source = StoredSize | FrozenNetwork
"""What recipes that see the same of a photo share."""
MemberPhotos = CachedPhotos | Features


def source_of(recipe: Recipe) -> Source:
    """Return what a recipe sees of a photo.

    >>> source_of(Recipe.of(architecture="lite0", frozen=True)), source_of(Recipe.of(image_size=96))
    (FrozenNetwork(architecture='lite0', weights=''), StoredSize(side=111, deep_bits=16, squash=False))
    """
    model = recipe.model
    return FrozenNetwork(model.architecture, model.weights) if model.frozen else recipe.data.stored_size


def read_member_photos(
    source: Source,
    paths: Sequence[str],
    *,
    deep_bits: int,
    cache_folder: Path,
    on_progress: Progress = no_progress,
) -> MemberPhotos:
    """Return all photos from the cache; what is new there is read once, `deep_bits` of 16 bits a channel."""
    if isinstance(source, StoredSize):
        stored = replace(source, deep_bits=deep_bits)
        return cache_photos(paths, stored=stored, folder=cache_folder, on_progress=on_progress)
    backbone = load_backbone(source.architecture, weights=source.weights or None)
    backbone = replace(backbone, deep_bits=deep_bits)
    return extract_features(paths, backbone, cache_folder=cache_folder, on_progress=on_progress)
