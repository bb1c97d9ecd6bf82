"""Features and photo facts on disk, so that no photo is decoded or embedded twice.

A cache is a folder a backbone, named by its fingerprint. It holds shards: Arrow files whose rows are a
photo's sha256, its facts and its features, and whose name is the sha256 of the file itself. A shard is
written whole or not at all and never changed, so a kill loses only what was not yet written, two processes
may write at once, and a file that does not fit its name is known to be damaged.
"""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import cache_errors, is_temporary, sha256_of_file, write_bytes
from kiyome.errors import KiyomeError
from kiyome.images.reader import PhotoFacts

LAYOUT = 1
"""Raise it when photos are decoded or facts are made in another way: older caches are then left alone."""

ROWS_PER_SHARD = 1024
DAY = 86_400.0

Halves = NDArray[np.float16]


class Shard(NamedTuple):
    """A part of the cache as it lies on disk, mapped and not read."""

    keys: list[str]
    facts: Any
    """pyarrow.Table with the fields of PhotoFacts."""
    values: Halves


@dataclass
class FeatureCache:
    """What is known of photos under one backbone; keys are the sha256 of photo bytes."""

    folder: Path
    num_features: int
    shards: list[Shard] = field(default_factory=list)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Key -> (shard, row); shard -1 is `pending`."""
    pending: list[tuple[str, PhotoFacts, Halves]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def facts(self, key: str) -> PhotoFacts | None:
        """Return what is known of a photo, or None; safe to call from many threads while one adds."""
        shard, row = self.places.get(key, (-1, -1))
        if shard < 0:
            return None
        known = self.shards[shard].facts.slice(row, 1).to_pylist()[0]
        findings, signature = tuple(known.pop("findings")), np.frombuffer(known.pop("signature"), np.uint8)
        return PhotoFacts(findings=findings, signature=signature, **known)

    def add(self, keys: Sequence[str], facts: Sequence[PhotoFacts], values: NDArray[np.float32]) -> None:
        """Remember new photos, and write a shard when there are enough of them."""
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.isfinite(halves).all():
            raise KiyomeError(
                "The backbone gives features that are not finite, or beyond 65,504.",
                remedy="Check its weights file, or take another backbone.",
            )
        for key, fact, half in zip(keys, facts, halves, strict=True):
            if key not in self.places:
                self.places[key] = (-1, len(self.pending))
                self.pending.append((key, fact, half))
        if len(self.pending) >= ROWS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one shard."""
        if not self.pending:
            return
        content = _shard_bytes(self.pending, self.num_features)
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}.arrow"
        with cache_errors(self.folder):
            write_bytes(path, content)
        self.pending = []
        self.attach(path)

    def attach(self, path: Path) -> None:
        """Take a shard on disk into account."""
        shard = _map_shard(path, self.num_features)
        number = len(self.shards)
        self.shards.append(shard)
        self.places.update({key: (number, row) for row, key in enumerate(shard.keys)})

    def gather(self, keys: Sequence[str]) -> Halves:
        """Return the (len(keys), D) features in the order of `keys`, mapped from a file without a name."""
        if not keys:
            return np.empty((0, self.num_features), np.float16)
        with cache_errors(self.folder), tempfile.TemporaryFile(dir=self.folder) as file:
            values = np.memmap(file, np.float16, "w+", shape=(len(keys), self.num_features))
        places = np.array([self.places[key] for key in keys])
        for number in np.unique(places[:, 0]):
            mine = places[:, 0] == number
            values[mine] = self.shards[number].values[places[mine, 1]]
        values.flags.writeable = False
        return values


def open_cache(folder: Path, *, fingerprint: str, num_features: int) -> FeatureCache:
    """Return the cache of the backbone with this fingerprint; damaged shards are removed and noted.

    Raises
    ------
    KiyomeError
        If the folder cannot be made or read.
    """
    own = folder / f"features-{hashlib.sha256(f'{LAYOUT} {fingerprint}'.encode()).hexdigest()[:16]}"
    cache = FeatureCache(own, num_features)
    with cache_errors(own):
        own.mkdir(parents=True, exist_ok=True)
        for path in sorted(own.iterdir()):
            if path.suffix == ".arrow" and sha256_of_file(path) == path.stem:
                cache.attach(path)
            elif path.suffix == ".arrow":
                path.unlink(missing_ok=True)
                cache.notes.append(f"a damaged part of the feature cache was removed: {path.name[:12]}")
            elif is_temporary(path) and path.stat().st_mtime < time.time() - DAY:
                path.unlink(missing_ok=True)  # left behind by a kill
    return cache


def _shard_bytes(rows: Sequence[tuple[str, PhotoFacts, Halves]], num_features: int) -> bytes:
    import pyarrow as pa

    keys, facts, values = zip(*rows, strict=True)
    fields = {
        "width": pa.int32(),
        "height": pa.int32(),
        "format": pa.string(),
        "findings": pa.list_(pa.string()),
        "pixels_sha256": pa.string(),
        "signature": pa.binary(),
    }
    plain = [vars(fact) | {"signature": fact.signature.tobytes()} for fact in facts]
    table = pa.Table.from_pylist(plain, pa.schema(fields)).append_column("sha256", pa.array(keys))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(values)), num_features)
    table = table.append_column("values", vectors)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _map_shard(path: Path, num_features: int) -> Shard:
    import pyarrow as pa

    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    values = table.column("values").chunk(0).flatten().to_numpy().reshape(-1, num_features)
    return Shard(table.column("sha256").to_pylist(), table.drop_columns(["sha256", "values"]), values)
