"""Features of a frozen backbone, cached on disk, and cross-fitted heads upon them."""

from kiyome.features.extract import Features, extract_features
from kiyome.features.head import HeadFit, cross_fit_head
from kiyome.features.shards import embed_elsewhere

__all__ = ["Features", "HeadFit", "cross_fit_head", "embed_elsewhere", "extract_features"]
