"""Photos a second of the one pass: bytes, sha256, strict decoding, facts and signature, crop of 224 pixels.

    python benchmarks/read_photos.py [MANGO_NPZ]

Solar cells: 2,624 PNGs of the PyPI package elpv-dataset (the extra `demo`). MANGO_NPZ, if given, holds 4,000
packed JPEGs of MangoLeafBD (10.17632/hxsnvwty3r.1); it is not part of the project. Photo-like JPEGs of
800 x 600 are made here. Each set is read 3 times with 1 and with 2 threads, warm. "a second" is wall time and
suffers from other work on the machine; "a core" counts the seconds that this process spent computing. What is
printed goes to benchmarks/results/read_photos.txt, too.
"""

import hashlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from kiyome.images.decode import Photo
from kiyome.images.reader import read_photos

HERE = Path(__file__).parent
SIZE, SHORT_SIDE, ROUNDS = 224, 256, 3


def prepare(photo: Photo) -> np.ndarray:
    """Center crop as backbones take it: 224 of a short side of 256, bicubic."""
    height, width = photo.pixels.shape[:2]
    half = min(height, width) * SIZE / SHORT_SIDE / 2
    box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    image = Image.fromarray(photo.pixels)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))


def solar_cells() -> list[Path]:
    import elpv_dataset

    return sorted((Path(elpv_dataset.__path__[0]) / "data" / "images").iterdir())


def mango_leaves(packed: Path, folder: Path) -> list[Path]:
    with np.load(packed) as stored:
        data, ends = stored["jpeg"], stored["offsets"]
    paths = [folder / f"leaf{row:04}.jpg" for row in range(len(ends) - 1)]
    for row, path in enumerate(paths):
        path.write_bytes(data[ends[row] : ends[row + 1]].tobytes())
    return paths


def large_photos(folder: Path, num_photos: int = 240) -> list[Path]:
    """Soft noise over a ramp: 800 x 600, quality 90."""
    rng = np.random.default_rng(0)
    paths = [folder / f"large{row:03}.jpg" for row in range(num_photos)]
    for path in paths:
        layers = [
            Image.fromarray(rng.integers(0, 256, (side * 3, side * 4, 3), np.uint8)) for side in (5, 40, 200)
        ]
        sizes = [np.asarray(layer.resize((800, 600), Image.Resampling.BICUBIC), float) for layer in layers]
        pixels = 0.6 * sizes[0] + 0.25 * sizes[1] + 0.15 * sizes[2]
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
    return paths


def rates(paths: list[Path], num_threads: int, shrink_to: int | None) -> Iterator[tuple[float, float]]:
    """Yield photos a second of wall time, and of computing time, of each round."""
    for _ in range(ROUNDS):
        wall, computing = time.perf_counter(), time.process_time()
        for record in read_photos(paths, prepare=prepare, shrink_to=shrink_to, num_threads=num_threads):
            assert record.prepared is not None
        yield (
            len(paths) / (time.perf_counter() - wall),
            len(paths) / (time.process_time() - computing),
        )


def spread(values: tuple[float, ...]) -> str:
    return f"{statistics.mean(values):8.0f} ({min(values):.0f} to {max(values):.0f})"


def lines(packed: Path | None, folder: Path) -> Iterator[str]:
    sets = {"solar cells, PNG 300 x 300": solar_cells()}
    if packed:
        sets["mango leaves, JPEG 299 x 224"] = mango_leaves(packed, folder)
    sets["photo-like JPEG 800 x 600"] = large_photos(folder)
    yield f"{'photos':<30}{'n':>5}{'KB':>5}{'threads':>9}{'shrink':>8}{'a second':>24}{'a core':>24}"
    for name, paths in sets.items():
        kilobytes = statistics.mean(path.stat().st_size for path in paths) / 1000
        for num_threads in (1, 2):
            for shrink_to in (None, SHORT_SIDE) if "800" in name else (SHORT_SIDE,):
                wall, computing = zip(*rates(paths, num_threads, shrink_to), strict=True)
                yield (
                    f"{name:<30}{len(paths):>5}{kilobytes:>5.0f}{num_threads:>9}{shrink_to or 'no':>8}"
                    f"{spread(wall):>24}{spread(computing):>24}"
                )


def main() -> None:
    packed = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    head = [
        f"benchmarks/read_photos.py, source {source}, {ROUNDS} rounds each",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("pillow", "simplejpeg", "numpy")),
    ]
    with tempfile.TemporaryDirectory() as folder:
        said = [*head]
        print(*head, sep="\n")
        for line in lines(packed, Path(folder)):
            print(line, flush=True)
            said.append(line)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "read_photos.txt").write_text("\n".join(said) + "\n")


if __name__ == "__main__":
    main()
