"""One pass over the photos: features of all that can be read, and the facts that a check wants."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from kiyome.artifacts.storage import default_cache_folder
from kiyome.features.cache import FeatureCache, open_cache
from kiyome.images.photo_features import Features
from kiyome.images.reader import PhotoRecord, read_photos
from kiyome.models.backbone import Backbone, Pixels
from kiyome.progress import Progress, no_progress

CROPS_AT_ONCE = 64


def extract_features(
    paths: Sequence[str | PathLike[str]],
    backbone: Backbone,
    *,
    cache_folder: str | PathLike[str] | None = None,
    num_threads: int | None = None,
    on_progress: Progress = no_progress,
) -> Features:
    """Return the features of all readable photos and the records of all photos, from the cache where known.

    A photo is known by the sha256 of its bytes, whatever its name. What is new is decoded by threads,
    embedded, and cached a shard at a time: after a kill the same call goes on from the last shard, and ends
    with the same bits.

    Parameters
    ----------
    paths : sequence of paths
        N photos, in the order of the table. Unreadable ones become records with a reason and no features.
    backbone : Backbone
        From `load_backbone`.
    cache_folder : path, optional
        Where features are kept; KIYOME_CACHE, else the user's cache folder, if not given.
    num_threads : int, optional
        Threads that read and decode; one for each core that this process may use if not given.
    on_progress : callable
        Hears ``("embed photos", done, total)`` after each photo.

    Raises
    ------
    KiyomeError
        If the cache folder cannot be written, or the backbone gives features that are not finite.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from kiyome.models import load_backbone
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (40, 30), "red").save(folder / "red.png")
    >>> paths = [folder / "red.png", folder / "missing.png"]
    >>> features = extract_features(paths, load_backbone("tiny"), cache_folder=folder / "cache")
    >>> features.values.shape, features.readable, features.records[1].reason
    ((1, 768), array([ True, False]), 'no such file')
    """
    folder = Path(cache_folder) if cache_folder else default_cache_folder()
    cache = open_cache(folder, fingerprint=backbone.fingerprint, num_features=backbone.num_features)
    pass_over_photos = read_photos(
        paths,
        prepare=lambda photo: backbone.prepare(photo.pixels),
        known=cache.facts,
        shrink_to=backbone.short_side,
        deep_bits=backbone.deep_bits,
        num_threads=num_threads,
    )
    records: list[PhotoRecord[Pixels]] = []
    num_embedded = 0
    fresh: dict[str, PhotoRecord[Pixels]] = {}
    try:
        for record in pass_over_photos:
            if record.sha256 and record.prepared is not None and record.sha256 not in cache.places:
                fresh[record.sha256] = record
            records.append(replace(record, prepared=None))
            if len(fresh) == CROPS_AT_ONCE or len(records) == len(paths):
                num_embedded += _embed(fresh, backbone, cache)
                fresh = {}
            on_progress("embed photos", len(records), len(paths))
    finally:
        cache.flush()  # also when the user stops it: what is done need not be done again
    keys = [record.sha256 for record in records if record.facts and record.sha256]
    return Features(
        values=cache.gather(keys), records=tuple(records), num_embedded=num_embedded, notes=tuple(cache.notes)
    )


def _embed(fresh: dict[str, PhotoRecord[Pixels]], backbone: Backbone, cache: FeatureCache) -> int:
    """Send crops through the backbone into the cache; return how many."""
    crops = [record.prepared for record in fresh.values() if record.prepared is not None]
    facts = [record.facts for record in fresh.values() if record.facts is not None]
    if crops:
        cache.add(list(fresh), facts, backbone.embed(np.stack(crops)))
    return len(crops)
