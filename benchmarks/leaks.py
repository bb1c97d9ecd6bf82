"""Copies across splits: how many are found, what else is listed, what they do to scores, and the time.

    python benchmarks/leaks.py SHARED_DATA [FEATURES]

SHARED_DATA holds cifar10/ and mango_leaf/ (see benchmarks/duplicates.py); neither is part of the project.
FEATURES is a folder that keeps the features of lite0; without it 65,500 photos are embedded anew.
What is printed goes to benchmarks/results/leaks.txt, too.

CIFAR-10: people judged test photos that lie in the training set (ciFAIR, Barz and Denzler 2020; here the
pairs whose test index is even, judged 0 or 1: one camera shot). Recall is the share of these test photos that
are listed. Others listed count as further ones; many are copies that the search of 2020 missed.
Mango leaves: a random fifth is the test set. Groups of the set hold resized copies, names the second of
the shot. Altered copies of training photos join the test set, to measure recall for each kind of change.
"""

import csv
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from duplicates import compressed, cropped, packed, scaled, second_of_shot
from kiyome.estimates import proportion
from kiyome.evaluation.leaks import scores_without_leaks
from kiyome.images.copies import Copies, find_copies, thumbnail
from kiyome.images.duplicates import photo_signature
from kiyome.models import load_backbone
from measured import show

NUM_ALTERED = 150
ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size, JPEG 40": lambda image: compressed(scaled(image, 0.5), 40),
    "recolored": lambda image: ImageEnhance.Color(
        ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(1.15)).enhance(1.3)
    ).enhance(0.5),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by a quarter": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "10 % cropped": partial(cropped, share=0.1),
    "20 % cropped": partial(cropped, share=0.2),
    "30 % cropped": partial(cropped, share=0.3),
    "mirrored, 10 % cropped, JPEG 40": lambda image: compressed(
        cropped(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.1), 40
    ),
    "turned by 3 degrees": lambda image: image.rotate(3, Image.Resampling.BICUBIC),
}


def features_of(images: list[Image.Image], kept: Path | None, name: str) -> np.ndarray:
    """Return the features of lite0, from the folder where they were kept."""
    file = None if kept is None else kept / f"{name}_lite0.npy"
    if file is not None and file.is_file():
        return np.load(file, mmap_mode="r")
    backbone = load_backbone("lite0")
    parts = [
        backbone.embed(np.stack([backbone.prepare(np.array(image)) for image in images[start : start + 512]]))
        for start in range(0, len(images), 512)
    ]
    features = np.concatenate(parts).astype(np.float16)
    if file is not None:
        np.save(file, features)
    return features


def copies_of(
    images: list[Image.Image], splits: np.ndarray, features: np.ndarray | None
) -> tuple[Copies, float, int]:
    """Return the copies across splits, the seconds that it took, and the number of photos looked at again."""
    signatures = np.stack([photo_signature(np.array(image)) for image in images])
    looked_at = []

    def thumbnails(rows: np.ndarray) -> np.ndarray:
        looked_at.append(len(rows))
        return np.stack([thumbnail(np.array(images[row])) for row in rows])

    started = time.process_time()
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    copies = find_copies(signatures, hashes, splits, thumbnails, features=features)
    return copies, time.process_time() - started, sum(looked_at)


def cifar(shared: Path, kept: Path | None) -> Iterator[str]:
    with np.load(shared / "cifar10" / "cifar10_jpeg.npz") as stored:
        train, test = packed(stored, "train_"), packed(stored, "test_")
        labels = np.concatenate([stored["train_label"], stored["test_label"]])
    with (shared / "cifar10" / "cifair_train_pairs_half.csv").open() as file:
        rows = [(int(row["test_index"]), int(row["judgment"])) for row in csv.DictReader(file)]
    judged = {row for row, _ in rows}
    near = {row for row, judgment in rows if judgment < 2}
    images, splits = train + test, np.repeat([0, 1], [len(train), len(test)])
    features = np.concatenate(
        [features_of(train, kept, "cifar_train"), features_of(test, kept, "cifar_test")]
    )
    for name, given in (("signatures alone", None), ("signatures and features", features)):
        copies, seconds, looked_at = copies_of(images, splits, given)
        listed = set((copies.first - len(train)).tolist())
        even = {row for row in listed if row % 2 == 0}
        conflicts = labels[copies.first] != labels[copies.second]
        yield f"CIFAR-10, 10,000 test and 50,000 training photos, {name}: {seconds:.0f} s of CPU"
        yield f"  {len(listed)} test photos in {len(copies.first)} pairs; {looked_at:,} photos read again"
        yield f"  judged near duplicates listed: {proportion(len(near & listed), len(near)).as_percent()}"
        yield f"  judged very similar listed: {len((judged - near) & listed)} of {len(judged - near)}"
        yield f"  of the 5,000 even test photos, listed beside the judged: {len(even - judged)}"
        yield f"  pairs with two labels: {conflicts.sum()}"
        yield f"  kinds: {dict(Counter(copies.kinds).most_common(8))}"
    leaked = np.isin(np.arange(len(test)), list(listed))
    other = np.isin(np.arange(len(test)), copies.first[conflicts] - len(train))
    with np.load(shared / "cifar10" / "cifar10_test_logits_8models.npz") as stored:
        for network in stored.files:
            right = stored[network].argmax(axis=1) == labels[len(train) :]
            yield f"  {network}: {scores_without_leaks(right, leaked, other & leaked).describe()}"


def mango_leaves(shared: Path, kept: Path | None) -> Iterator[str]:
    with np.load(shared / "mango_leaf" / "mango_leaf_224.npz") as stored:
        images = packed(stored, "")
        shot = np.array([second_of_shot(name.decode()) for name in stored["name"]])
        own, labels = stored["group"], stored["label"]
    rng = np.random.default_rng(0)
    is_test = rng.random(len(images)) < 0.2
    altered = rng.choice(np.flatnonzero(~is_test), NUM_ALTERED, replace=False)
    changed = [alter(images[row]) for alter in ALTERED.values() for row in altered]
    splits = np.concatenate([is_test, np.ones(len(changed), bool)]).astype(int)
    every = images + changed
    features = features_of(every, kept, "mango_altered")
    size = f"{is_test.sum()} test photos drawn, {len(changed)} altered"
    for name, given in (("signatures alone", None), ("signatures and features", features)):
        copies, seconds, _ = copies_of(every, splits, given)
        first, second = copies.first, copies.second
        yield f"mango leaves, {size}, {name}: {seconds:.0f} s of CPU"
        one, other = (rows[first < len(images)] for rows in (first, second))
        same = own[one] == own[other]
        near = same | (np.abs(shot[one] - shot[other]) <= 20)
        twins = np.flatnonzero(is_test & np.isin(own, own[~is_test]))
        listed = proportion(int(np.isin(twins, one[same]).sum()), len(twins))
        yield f"  test photos with a resized copy in train, listed: {listed.as_percent()}"
        explained = proportion(int(near.sum()), len(one))
        yield f"  pairs of one group or within 20 seconds: {explained.as_percent()}"
        yield f"  pairs with two labels: {(labels[one] != labels[other]).sum()}"
        for number, kind in enumerate(ALTERED):
            rows = len(images) + number * NUM_ALTERED + np.arange(NUM_ALTERED)
            pairs = set(zip(first.tolist(), second.tolist(), strict=True))
            found = sum(pair in pairs for pair in zip(rows.tolist(), altered.tolist(), strict=True))
            words = Counter(word for row, word in zip(first, copies.kinds, strict=True) if row in rows)
            said = ", ".join(f"{word} ({count})" for word, count in words.most_common(2))
            yield f"  found, {kind:<32}{proportion(found, NUM_ALTERED).as_percent()}: {said}"


def main() -> None:
    shared, *rest = map(Path, sys.argv[1:])
    kept = rest[0] if rest else None
    show(__file__, chain(mango_leaves(shared, kept), cifar(shared, kept)), "numpy", "pillow", "openvino")


if __name__ == "__main__":
    main()
