"""Folders of small photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_photos(tmp_path):
    """A function that fills the folder `photos` with that many small photos, and returns their paths."""

    def write(num_photos: int) -> list[Path]:
        rng = np.random.default_rng(0)
        folder = tmp_path / "photos"
        folder.mkdir()
        paths = [folder / f"{row:04}.png" for row in range(num_photos)]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(path)
        return paths

    return write


@pytest.fixture
def photos(write_photos):
    """51 paths: one no photo, one with the bytes of its neighbor, one missing."""
    paths = write_photos(50)
    paths[7].write_bytes(b"not a photo")
    paths[9].write_bytes(paths[8].read_bytes())
    return [*paths, paths[0].with_name("missing.png")]
