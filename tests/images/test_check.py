"""A check reads every photo once, stops at none, and its counts add up."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.errors import InputError
from kiyome.images.check import check_photos, check_records
from kiyome.images.reader import read_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four soft pictures, a copy of bytes, a copy of pixels, a smaller copy, and two broken files."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in "abcd":
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
        small.resize((120, 100), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    (folder / "e_copy_of_a.png").write_bytes((folder / "a.png").read_bytes())
    Image.open(folder / "b.png").save(folder / "f_pixels_of_b.bmp")
    Image.open(folder / "c.png").resize((60, 50), Image.Resampling.BOX).save(folder / "g_small_c.jpg")
    (folder / "h_text.jpg").write_bytes(b"not a photo")
    (folder / "i_empty.jpg").write_bytes(b"")
    return folder


LABELS = ["cat", "dog", "cat", "dog", "dog", "dog", "cat", "cat", "eel"]


def test_a_check_names_all_that_is_wrong(folder: Path):
    check = check_photos(sorted(folder.iterdir()), labels=LABELS)
    assert check.num_photos == 9
    assert check.set_aside == {7: "a text file", 8: "an empty file"}
    assert check.readable.sum() + len(check.set_aside) == check.num_photos
    assert check.duplicates.groups.tolist() == [0, 1, 2, -1, 0, 1, 2, -1, -1]
    assert check.duplicates.exact.tolist() == [True, True, False, False, True, True, False, False, False]
    assert check.duplicates.near.tolist() == [False, False, True, False, False, False, True, False, False]
    assert check.conflicting_groups == {0: (0, 4)}
    assert check.class_counts == {"cat": (3, 1), "dog": (4, 0), "eel": (0, 1)}
    assert sum(sum(counts) for counts in check.class_counts.values()) == check.num_photos


def test_a_pass_already_made_gives_the_same_check(folder: Path):
    paths = sorted(folder.iterdir())
    again = check_records(list(read_photos(paths, shrink_to=256)), labels=LABELS)
    check = check_photos(paths, labels=LABELS)
    assert again.set_aside == check.set_aside
    assert (again.duplicates.groups == check.duplicates.groups).all()
    assert again.conflicting_groups == check.conflicting_groups


def test_findings_are_counted_by_kind_and_photo(tmp_path: Path):
    for row, size in enumerate([(1, 1), (2, 3), (50, 50), (90, 80)]):
        Image.new("RGB", size, "red").save(tmp_path / f"{row}.png")
    file = io.BytesIO()
    Image.new("CMYK", (30, 30)).save(file, "JPEG")
    (tmp_path / "4.png").write_bytes(file.getvalue())
    assert check_photos(sorted(tmp_path.iterdir())).finding_counts == {
        "one color only": 5,
        "tiny": 2,
        "CMYK colors converted": 1,
        "named .png but is JPEG": 1,
    }


def test_without_labels_there_are_no_counts_of_classes(folder: Path):
    check = check_photos(sorted(folder.iterdir()))
    assert check.class_counts == {}
    assert check.conflicting_groups == {}


def test_progress_tells_both_stages(folder: Path):
    calls: list[tuple[str, int, int]] = []
    check_photos(sorted(folder.iterdir()), on_progress=lambda *call: calls.append(call))
    assert calls[8] == ("read photos", 9, 9)
    assert calls[-1] == ("find duplicates", 5, 5)


def test_a_label_too_few_is_refused_before_anything_is_read():
    with pytest.raises(InputError, match=r"There are 1 labels for 2 photos\. Give one label for each photo"):
        check_photos(["a.png", "b.png"], labels=["cat"])
