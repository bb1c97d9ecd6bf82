"""Photos a second into training: our cache and loader, torchvision's ImageFolder + DataLoader, timm's loader.

    python benchmarks/loader.py

JPEGs of 800 x 600, quality 95, in 8 class folders: leaves of MangoLeafBD (10.17632/hxsnvwty3r.1) enlarged
from 224 pixels where the file lies beside the checkout (no part of the project), else photo-like noise.
Enlarged photos are smooth and decode fast, which favors the two that decode.

Same views for all: RandomResizedCrop and horizontal flip, bilinear, without and with color jitter of 0.4
(brightness, contrast, saturation). Same batches of 32, and 2 workers: processes of theirs that live from
epoch to epoch, threads of ours. uint8 is what goes to a GPU, which normalizes there: ours, and timm's before
its prefetcher normalizes. ImageFolder with ToTensor and Normalize gives float32; ours is also timed with
normalization on the caller's thread. A first round warms all and is not counted; then rounds in turn, of
whole epochs that take a second or more, so that other work on the machine hits all alike. Ratios are of
medians.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import ImageDataset, create_loader
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from kiyome.images.augment import Augment
from kiyome.images.loader import Loader
from kiyome.images.pixel_cache import cache_photos, estimate_bytes, stored_size
from measured import SHARED_DATA, show

NUM_PHOTOS, NUM_CLASSES, BATCH, WORKERS = 160, 8, 32, 2
ROUNDS, ROUND_SECONDS = 4, 1.0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Epoch = Callable[[int], int]
"""Runs one epoch and returns how many photos came."""


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        show(
            __file__,
            lines(Path(folder)),
            "numpy",
            "opencv-python-headless",
            "pillow",
            "timm",
            "torch",
            "torchvision",
        )


def lines(folder: Path) -> Iterator[str]:
    origin, paths = write_photos(folder / "photos")
    kilobytes = statistics.mean(path.stat().st_size for path in paths) / 1000
    yield f"{len(paths)} JPEGs of 800 x 600 ({origin}), {kilobytes:.0f} KB each; {ROUNDS} rounds of epochs"
    for size in (224, 512):
        stored = stored_size(size)
        started = time.perf_counter()
        num_bytes = estimate_bytes(paths, stored=stored, folder=folder)
        photos = cache_photos(paths, stored=stored, folder=folder, num_threads=WORKERS)
        seconds = time.perf_counter() - started
        yield f"\n{size} px; a cache of {num_bytes / 1e6:.0f} MB, made in {seconds:.1f} s"
        yield f"  {'views':<20}{'loader':<32}{'photos a second: median (range)'}"
        for jitter in (0.0, 0.4):
            ours = Loader(
                photos=photos,
                rows=np.arange(len(paths)),
                augment=Augment(
                    size=size, horizontal_flip=0.5, brightness=jitter, contrast=jitter, saturation=jitter
                ),
                batch_size=BATCH,
                shuffle=True,
                num_threads=WORKERS,
            )
            loaders: dict[str, Epoch] = {
                "kiyome, uint8": lambda epoch, ours=ours: sum(len(rows) for rows, _ in ours.epoch(epoch)),
                "kiyome, float32": lambda epoch, ours=ours: normalized_epoch(ours, epoch),
                "timm, uint8": theirs(timm_loader(folder / "photos", size, jitter)),
                "ImageFolder + DataLoader, float32": theirs(
                    torchvision_loader(folder / "photos", size, jitter)
                ),
            }
            yield from compared(loaders, "crop, flip, colors" if jitter else "crop, flip")


def compared(loaders: dict[str, Epoch], views: str) -> Iterator[str]:
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for epoch in range(1 + ROUNDS):
        for name, run in loaders.items():
            started, num_photos = time.perf_counter(), 0
            while (seconds := time.perf_counter() - started) < ROUND_SECONDS:
                num_photos += run(epoch)
            rates[name].append(num_photos / seconds)
    medians = {name: statistics.median(rate[1:]) for name, rate in rates.items()}
    for name, rate in rates.items():
        ratios = ", ".join(
            f"{medians[name] / medians[other]:.1f} x {other.split(',')[0]}"
            for other in list(rates)[2:]
            if name.startswith("kiyome")
        )
        spread = f"({min(rate[1:]):.0f} to {max(rate[1:]):.0f})"
        yield f"  {views:<20}{name:<34}{medians[name]:>6.0f} {spread:<16}{ratios}".rstrip()


def normalized_epoch(loader: Loader, epoch: int) -> int:
    size, num_photos = loader.augment.size, 0
    scale = (1 / (255 * torch.tensor(STD))).repeat(size)
    shift = (torch.tensor(MEAN) / torch.tensor(STD)).repeat(size)
    for _, pixels in loader.epoch(epoch):
        lines_of_photos = torch.from_numpy(pixels).view(-1, 3 * size)  # long rows: 4 times faster than (3,)
        images = lines_of_photos.float().mul_(scale).sub_(shift).view(-1, size, size, 3).permute(0, 3, 1, 2)
        num_photos += len(images)
    return num_photos


def theirs(loader: DataLoader) -> Epoch:
    return lambda _: sum(len(images) for images, _ in loader)


def torchvision_loader(root: Path, size: int, jitter: float) -> DataLoader:
    steps = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    steps += [transforms.ColorJitter(jitter, jitter, jitter)] if jitter else []
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return DataLoader(
        ImageFolder(root, transforms.Compose(steps)),
        batch_size=BATCH,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def timm_loader(root: Path, size: int, jitter: float) -> DataLoader:
    """The loader that timm's prefetcher takes batches from."""
    return create_loader(
        ImageDataset(str(root)),
        input_size=(3, size, size),
        batch_size=BATCH,
        is_training=True,
        color_jitter=jitter or None,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=WORKERS,
        persistent_workers=True,
        device=torch.device("cpu"),
        pin_memory=False,
    ).loader


def write_photos(folder: Path) -> tuple[str, list[Path]]:
    packed = SHARED_DATA / "mango_leaf" / "mango_leaf_224.npz"
    origin, images = ("mango leaves", leaves(packed)) if packed.exists() else ("noise", noise())
    paths = [folder / f"class{row % NUM_CLASSES}" / f"{row:03}.jpg" for row in range(NUM_PHOTOS)]
    for path, image in zip(paths, images, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.resize((800, 600), Image.Resampling.BICUBIC).save(path, quality=95)
    return origin, paths


def leaves(packed: Path) -> Iterator[Image.Image]:
    with np.load(packed) as stored:
        data, ends = stored["jpeg"], stored["offsets"]
    for row in np.linspace(0, len(ends) - 2, NUM_PHOTOS, dtype=int):
        yield Image.open(io.BytesIO(data[ends[row] : ends[row + 1]].tobytes())).convert("RGB")


def noise() -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    for _ in range(NUM_PHOTOS):
        layers = [
            Image.fromarray(rng.integers(0, 256, (3 * side, 4 * side, 3), np.uint8)) for side in (5, 40, 200)
        ]
        soft = [np.asarray(layer.resize((800, 600), Image.Resampling.BICUBIC), float) for layer in layers]
        yield Image.fromarray((0.6 * soft[0] + 0.25 * soft[1] + 0.15 * soft[2]).astype(np.uint8))


if __name__ == "__main__":
    main()
