"""Real photos that every environment has, and folders of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def china() -> np.ndarray:
    """A temple, (320, 213, 3) upright; a photo that scikit-learn ships, made smaller."""
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image("china.jpg")).resize((320, 213), Image.Resampling.BOX)
    return np.asarray(image)


@pytest.fixture(scope="session")
def jpegs(china: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """23 different parts of the photo as JPEGs of five sizes."""
    folder = tmp_path_factory.mktemp("jpegs")
    paths = [folder / f"{row:02}.jpg" for row in range(23)]
    for row, path in enumerate(paths):
        height, width = [(100, 140), (140, 100), (90, 90), (61, 83), (120, 200)][row % 5]
        part = china[2 * row : 2 * row + height, 3 * row : 3 * row + width]
        Image.fromarray(part).save(path, quality=95)
    return paths
