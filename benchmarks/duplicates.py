"""Near duplicates: how many altered copies are found, what else is found, and how long 50,000 photos take.

    python benchmarks/duplicates.py [SHARED_DATA]

Solar cells come from the PyPI package elpv-dataset (the extra `demo`). SHARED_DATA, if given, holds
mango_leaf/mango_leaf_224.npz (MangoLeafBD, 10.17632/hxsnvwty3r.1) and cifar10/cifar10_jpeg.npz; neither is
part of the project. What is printed goes to benchmarks/results/duplicates.txt, too.

Recall: each tenth photo gets one altered copy that joins all originals; a copy counts as found when it lands
in the group of its original. No truth is given for the other pairs, but names and numbers tell a part of it:
- leaves: names hold the second of the shot; the two of a pair belong together when they share the set's own
  group or were shot within 20 seconds of each other;
- solar cells: cells 1735 to 1784 stand in the set twice, the second time as cells 2277 to 2326 on another,
  mostly blurred photo (each is its twin's nearest of 2,624; seen by eye, too), graded again.
  Pairs of close numbers are cells of one module; of polycrystalline cells often wafers cut one behind the
  other from one block, with the same grains.
"""

import hashlib
import io
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import chain, combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from kiyome.images.duplicates import DuplicateGroups, duplicate_groups, photo_signature

HERE = Path(__file__).parent
TWICE, DISTANCE = range(1734, 1784), 542  # rows, from 0


def compressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = int(image.width * factor), int(image.height * factor)
    return image.resize(size, Image.Resampling.LANCZOS)


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without `share` of each side length, more of it at the left and at the bottom."""
    width, height = image.size
    left, top = 0.7 * share * width, 0.3 * share * height
    return image.crop(
        (round(left), round(top), round(left + (1 - share) * width), round(top + (1 - share) * height))
    )


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda image: scaled(image, 0.5),
    "0.8 of the size, JPEG 75": lambda image: compressed(scaled(image, 0.8), 75),
    "JPEG 40": lambda image: compressed(image, 40),
    "brightness 1.2": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "brightness 0.8": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "contrast 1.3": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "blur, 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "squeezed to 256 x 256": lambda image: image.resize((256, 256), Image.Resampling.BICUBIC),
    "2 % cropped": lambda image: cropped(image, 0.02),
    "4 % cropped": lambda image: cropped(image, 0.04),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def signatures_of(images: Iterator[Image.Image]) -> np.ndarray:
    return np.stack([photo_signature(np.array(image)) for image in images])


def groups_of(signatures: np.ndarray) -> DuplicateGroups:
    """Groups by signature alone: every row counts as a picture of its own."""
    return duplicate_groups(signatures, [f"{row:x}" for row in range(len(signatures))])


def recalls(images: list[Image.Image], signatures: np.ndarray) -> Iterator[str]:
    originals = range(0, len(images), 10)
    for name, alter in ALTERED.items():
        copies = signatures_of(alter(images[row]) for row in originals)
        groups = groups_of(np.concatenate([signatures, copies])).groups
        copied = groups[len(images) :]
        found = (copied >= 0) & (copied == groups[: len(images)][::10])
        yield f"  found of {len(copies)} copies, {name:<26}{found.mean():7.3f}"


def pairs_of(found: DuplicateGroups) -> list[tuple[int, int]]:
    return [pair for members in members_of(found) for pair in combinations(members.tolist(), 2)]


def described(name: str, found: DuplicateGroups) -> str:
    sizes = np.bincount(found.groups[found.groups >= 0])
    photos = f"{len(sizes)} groups of {sizes.sum()} photos, largest {sizes.max()}"
    return f"{name}, n = {len(found.groups):,}: {photos}"


def members_of(found: DuplicateGroups) -> list[np.ndarray]:
    return [np.flatnonzero(found.groups == group) for group in range(found.groups.max() + 1)]


def solar_cells() -> Iterator[str]:
    import elpv_dataset

    data = Path(elpv_dataset.__path__[0]) / "data"
    table = [line.split() for line in (data / "labels.csv").read_text().splitlines()]
    images = [Image.open(data / path).convert("RGB") for path, _, _ in table]
    doubts, kinds = np.array([float(doubt) for _, doubt, _ in table]), [kind for _, _, kind in table]
    defect = doubts > 0.5
    signatures = signatures_of(iter(images))
    found = groups_of(signatures)
    pairs, groups = pairs_of(found), members_of(found)
    apart = np.array([second - first for first, second in pairs])
    twice = [(row, row + DISTANCE) for row in TWICE]
    same = [found.groups[first] == found.groups[second] >= 0 for first, second in twice]
    regraded = sum(doubts[first] != doubts[second] for first, second in twice)
    reclassed = sum(defect[first] != defect[second] for first, second in twice)
    yield described("solar cells", found)
    yield f"  cells photographed twice: {sum(same)} of {len(twice)} found"
    yield f"  of these {len(twice)}, {regraded} got another grade, {reclassed} another class (2/3 and above)"
    yield f"  {len(pairs)} pairs, {(apart <= 20).sum()} of them at most 20 numbers apart"
    mono = sum(kinds[first] == "mono" for first, _ in pairs)
    yield f"  {mono} pairs of the {kinds.count('mono')} monocrystalline cells"
    yield f"  {sum(len(set(doubts[rows])) > 1 for rows in groups)} groups carry more than one grade"
    yield f"  {sum(len(set(defect[rows])) > 1 for rows in groups)} groups carry both classes"
    yield from recalls(images, signatures)


def packed(stored: np.lib.npyio.NpzFile, prefix: str) -> list[Image.Image]:
    data, ends = stored[f"{prefix}jpeg"], stored[f"{prefix}offsets"]
    return [
        Image.open(io.BytesIO(data[ends[row] : ends[row + 1]].tobytes())).convert("RGB")
        for row in range(len(ends) - 1)
    ]


def second_of_shot(name: str) -> int:
    day, hour, minute, second = re.search(r"(\d{8})_(\d\d)(\d\d)(\d\d)", name).groups()
    return int(day) * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second)


def mango_leaves(shared: Path) -> Iterator[str]:
    with np.load(shared / "mango_leaf" / "mango_leaf_224.npz") as stored:
        images = packed(stored, "")
        shot = np.array([second_of_shot(name.decode()) for name in stored["name"]])
        own, labels = stored["group"], stored["label"]
    signatures = signatures_of(iter(images))
    found = groups_of(signatures)
    pairs = pairs_of(found)
    explained = [own[i] == own[j] or abs(shot[i] - shot[j]) <= 20 for i, j in pairs]
    yield described("mango leaves", found)
    yield f"  {np.mean(explained):.3f} of {len(pairs)} pairs share a group of the set or 20 seconds"
    chance = np.random.default_rng(0).integers(0, len(own), (100_000, 2))
    near = np.mean([own[i] == own[j] or abs(shot[i] - shot[j]) <= 20 for i, j in chance])
    yield f"  (of 100,000 pairs drawn at random {near:.4f})"
    conflicts = sum(len(set(labels[rows])) > 1 for rows in members_of(found))
    yield f"  {conflicts} groups carry different labels"
    yield from recalls(images, signatures)


def cifar(shared: Path) -> Iterator[str]:
    with np.load(shared / "cifar10" / "cifar10_jpeg.npz") as stored:
        images = packed(stored, "train_")
        labels = stored["train_label"]
    with np.load(shared / "cifar10" / "cifar10n_labels.npz") as stored:
        human = stored["random_label1"]
    signatures = signatures_of(iter(images))
    started = time.perf_counter()
    found = groups_of(signatures)
    seconds = time.perf_counter() - started
    groups = members_of(found)
    yield described("CIFAR-10, training photos", found) + f"; {seconds:.1f} s"
    yield f"  {sum(len(set(labels[rows])) > 1 for rows in groups)} groups carry different labels of the set"
    conflicts = sum(len(set(human[rows])) > 1 for rows in groups)
    yield f"  {conflicts} carry different labels of one person (CIFAR-10N)"
    yield from recalls(images[:5000], signatures[:5000])


def main() -> None:
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    machine = f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, pillow {version('pillow')}"
    said = [f"script sha256 {source}; {machine}, {versions}"]
    print(said[0])
    for line in chain(solar_cells(), *((mango_leaves(shared), cifar(shared)) if shared else ())):
        print(line, flush=True)
        said.append(line)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "duplicates.txt").write_text("\n".join(said) + "\n")


if __name__ == "__main__":
    main()
