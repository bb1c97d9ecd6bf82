"""Copies share a group, look-alikes do not, and neither memory nor groups grow without bound."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from kiyome.errors import InputError
from kiyome.images.decode import decode_photo
from kiyome.images.duplicates import (
    CLOSER,
    CROWD,
    NEAR,
    SIGNATURE_BYTES,
    VERY_NEAR,
    WIDEST,
    duplicate_groups,
    photo_signature,
)
from kiyome.images.reader import photo_facts


def directions(signatures: np.ndarray) -> np.ndarray:
    centered = signatures - signatures.mean(axis=1, keepdims=True, dtype=float)
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)


def near_pairs_by_plain_loops(signatures: np.ndarray) -> set[tuple[int, int]]:
    """The rule as the module states it, over all pairs."""
    distance = 1 - directions(signatures) @ directions(signatures).T
    np.fill_diagonal(distance, np.inf)
    pairs = set()
    for i in range(len(signatures)):
        for j in range(i + 1, len(signatures)):
            crowds = [np.sort(distance[row])[CROWD - 1] for row in (i, j)]
            crowds = [crowd if crowd <= NEAR / CLOSER else np.inf for crowd in crowds]
            if distance[i, j] <= np.clip(CLOSER * min(crowds), VERY_NEAR, NEAR):
                pairs.add((i, j))
    return pairs


def photo_like(rng: np.random.Generator, num_photos: int) -> np.ndarray:
    """Signatures of unrelated soft pictures."""
    noise = rng.normal(size=(num_photos, 16, 16)).cumsum(axis=1).cumsum(axis=2)
    low, high = noise.min(axis=(1, 2), keepdims=True), noise.max(axis=(1, 2), keepdims=True)
    return ((noise - low) * 255 / (high - low)).astype(np.uint8).reshape(num_photos, -1)


def shaken(rng: np.random.Generator, signatures: np.ndarray, sigma: float) -> np.ndarray:
    return np.clip(signatures + rng.normal(0, sigma, signatures.shape), 0, 255).astype(np.uint8)


def names(num: int) -> list[str | None]:
    return [f"{row:064x}" for row in range(num)]


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(0, 2**32), st.floats(0.3, 8))
def test_groups_equal_those_of_the_plain_rule(seed: int, sigma: float):
    """While groups are small, they are the connected parts of the pairs of the plain loops."""
    rng = np.random.default_rng(seed)
    originals = photo_like(rng, 40)
    signatures = np.concatenate([originals, shaken(rng, originals[:12], sigma)])
    groups = duplicate_groups(signatures, names(len(signatures))).groups
    together = {(i, j) for i in range(52) for j in range(i + 1, 52) if groups[i] == groups[j] >= 0}
    assert together == near_pairs_by_plain_loops(signatures)


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(0, 2**32))
def test_order_of_rows_does_not_matter(seed: int):
    rng = np.random.default_rng(seed)
    originals = photo_like(rng, 60)
    signatures = np.concatenate([originals, shaken(rng, originals[:20], 2)])
    hashes = names(80)
    signatures[70], hashes[70] = signatures[3], hashes[3]
    order = rng.permutation(80)
    plain = duplicate_groups(signatures, hashes)
    mixed = duplicate_groups(signatures[order], [hashes[row] for row in order])
    assert (plain.exact[order] == mixed.exact).all()
    same_plain = (plain.groups[order][:, None] == plain.groups[order]) & (plain.groups[order] >= 0)
    assert (same_plain == ((mixed.groups[:, None] == mixed.groups) & (mixed.groups >= 0))).all()


def test_exact_near_alone_and_unreadable_are_distinguished():
    rng = np.random.default_rng(1)
    signatures = photo_like(rng, 8)
    signatures[4] = shaken(rng, signatures[1:2], 1)[0]
    signatures[5] = signatures[1]
    signatures[7] = signatures[2]
    hashes = ["a", "b", "c", None, "e", "b", None, "c"]
    found = duplicate_groups(signatures, hashes)
    assert found.groups.tolist() == [-1, 0, 1, -1, 0, 0, -1, 1]
    assert found.exact.tolist() == [False, True, True, False, False, True, False, True]
    assert found.near.tolist() == [False, True, False, False, True, True, False, False]


def test_flat_photos_are_never_near_duplicates():
    """Copies of one picture so faint that a few grey levels are all there is of it."""
    rng = np.random.default_rng(2)
    faint = np.repeat(photo_like(rng, 1) // 64, 5, axis=0)
    faint[np.arange(5), np.arange(5)] += 1
    assert (duplicate_groups(faint, names(5)).groups == -1).all()
    assert (duplicate_groups(faint * 20, names(5)).groups == 0).all()


@pytest.mark.parametrize("num_photos", [0, 1, 2, 3])
def test_few_photos_work(num_photos: int):
    signatures = photo_like(np.random.default_rng(3), max(num_photos, 1))[[0] * num_photos]
    signatures = signatures.reshape(num_photos, SIGNATURE_BYTES)
    groups = duplicate_groups(signatures, names(num_photos)).groups
    assert groups.tolist() == [[], [-1], [0, 0], [0, 0, 0]][num_photos]


def test_a_chain_of_small_changes_is_cut_into_narrow_groups():
    """Each picture is near the next, the first and the last have nothing in common."""
    start, end = photo_like(np.random.default_rng(4), 2).astype(float)
    steps = np.linspace(0, 1, 60)[:, None]
    chain = ((1 - steps) * start + steps * end).astype(np.uint8)
    groups = duplicate_groups(chain, names(60)).groups
    vectors = directions(chain)
    for group in range(groups.max() + 1):
        rows = np.flatnonzero(groups == group)
        assert (1 - vectors[rows] @ vectors[rows[0]] <= WIDEST + 1e-6).all()
    assert groups.max() >= 3


def test_thousands_of_look_alikes_neither_join_nor_take_long():
    rng = np.random.default_rng(5)
    one = photo_like(rng, 1)
    alike = shaken(rng, np.repeat(one, 6000, axis=0), 12)
    sizes = np.bincount(duplicate_groups(alike, names(6000)).groups + 1)[1:]
    assert sizes.sum() < 60  # of 6,000


def test_progress_ends_at_the_number_of_distinct_pictures():
    calls: list[tuple[str, int, int]] = []
    signatures = photo_like(np.random.default_rng(6), 9)
    duplicate_groups(signatures, names(9), on_progress=lambda *call: calls.append(call))
    assert calls == [("find duplicates", 9, 9)]


@pytest.mark.parametrize(
    "signatures",
    [np.zeros((2, SIGNATURE_BYTES), np.uint8), np.zeros((3, SIGNATURE_BYTES)), np.zeros((3, 9), np.uint8)],
)
def test_what_does_not_fit_is_refused(signatures: np.ndarray):
    with pytest.raises(InputError, match=r"Expected uint8 of shape \(3, 256\), one row a hash\."):
        duplicate_groups(signatures, names(3))


def compressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((int(image.width * factor), int(image.height * factor)), Image.Resampling.BICUBIC)


ALTERED = {
    "half the size": lambda image: scaled(image, 0.5),
    "0.8 of the size, JPEG 75": lambda image: compressed(scaled(image, 0.8), 75),
    "JPEG 40": lambda image: compressed(image, 40),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "squeezed to a square": lambda image: image.resize((256, 256)),
}


@pytest.mark.parametrize("how", ALTERED)
def test_altered_copies_of_real_photos_are_found(shared_data: Path, how: str):
    """250 leaves, and one altered copy of each fifth."""
    packed = np.load(shared_data / "mango_leaf" / "mango_leaf_224.npz")
    starts, data = packed["offsets"], packed["jpeg"]
    rows = range(0, 4000, 16)
    leaves = [Image.fromarray(decode_photo(data[starts[r] : starts[r + 1]].tobytes()).pixels) for r in rows]
    copies = [ALTERED[how](leaf).convert("RGB") for leaf in leaves[::5]]
    signatures = np.stack([photo_signature(np.array(image)) for image in leaves + copies])
    groups = duplicate_groups(signatures, names(300)).groups
    assert (groups[:250:5] == groups[250:]).all()
    assert (groups[250:] >= 0).all()
    alone = np.setdiff1d(np.arange(250), np.arange(0, 250, 5))
    assert (groups[alone] == -1).mean() > 0.97


def test_signature_hardly_depends_on_shrinking():
    y, x = np.mgrid[:600, :800]
    picture = np.stack([x % 256, y % 256, (x + y) % 256], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95)
    whole, shrunk = (photo_facts(decode_photo(file.getvalue(), shrink_to=side)) for side in (None, 256))
    assert shrunk.signature.shape == (SIGNATURE_BYTES,)
    assert np.abs(whole.signature.astype(int) - shrunk.signature).max() <= 2


def test_scanned_digits_are_no_copies():
    """1,797 scans of 8 x 8 pixels: few are near, although many show the same digit."""
    from sklearn.datasets import load_digits

    scans = (load_digits().images * 15.9).astype(np.uint8)
    signatures = np.stack([photo_signature(np.repeat(scan[:, :, None], 3, axis=2)) for scan in scans])
    groups = duplicate_groups(signatures, names(len(scans))).groups
    assert (groups >= 0).mean() < 0.02
