"""Features of a frozen backbone, cached on disk, and cross-fitted heads upon them."""

from kiyome.features.extract import extract_features
from kiyome.features.head import HeadFit, cross_fit_head
from kiyome.features.readings import Heads
from kiyome.features.shards import embed_elsewhere
from kiyome.features.stored_heads import HeadFacts, has_heads, load_heads, save_heads
from kiyome.images.photo_features import Features

__all__ = [
    "Features",
    "HeadFacts",
    "HeadFit",
    "Heads",
    "cross_fit_head",
    "embed_elsewhere",
    "extract_features",
    "has_heads",
    "load_heads",
    "save_heads",
]
