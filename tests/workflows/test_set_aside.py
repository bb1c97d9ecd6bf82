"""Photos that are set aside are counted with their reasons in `train` as in `find`; a lost class is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.workflows.find import find
from kiyome.workflows.train import train

CHANGES = ["architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "num_folds=2"]
LOST = "no photo of class 'c' can be used: all 12 are set aside, so nothing is learned of it"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that can be read but for one empty file, and a third that cannot."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in "abc":
        (folder / name).mkdir()
        for row in range(12):
            photo = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
            photo.save(folder / name / f"{row}.png")
    for row in range(12):
        (folder / "c" / f"{row}.png").write_bytes(b"GIF but broken")
    (folder / "a" / "0.png").write_bytes(b"")
    return folder


def test_train_says_what_was_set_aside_and_which_class_is_lost(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = train(
        photos, recipe="quick", changes=CHANGES, output=tmp_path / "run", cache_folder=tmp_path / "cache"
    )
    counted = "13 of 36 photos are set aside, listed in set_aside.csv: 12 a text file; 1 an empty file"
    assert counted in result.notes
    assert LOST in result.notes
    report = (tmp_path / "run" / "report.html").read_text()
    assert "13 of 36 photos are set aside" in report
    assert "no photo of class" in report


def test_find_names_the_lost_class(photos: Path, tmp_path: Path) -> None:
    result = find(photos, backbone="tiny", num_folds=3, output=tmp_path / "run", cache_folder=tmp_path)
    assert LOST in result.scored.notes
