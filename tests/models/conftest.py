"""Real photos, as crops of 224 pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def cells():
    """(18, 224, 224, 3) crops of solar cells, from the package of the demo."""
    import elpv_dataset

    paths = sorted((Path(elpv_dataset.__file__).parent / "data" / "images").iterdir())[::150]
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in paths])


@pytest.fixture(scope="session")
def leaves(shared_data):
    """(16, 224, 224, 3) crops of mango leaves."""
    import io

    data = np.load(shared_data / "mango_leaf" / "mango_leaf_224.npz")
    content, offsets = data["jpeg"], data["offsets"]
    photos = [
        Image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]].tobytes())) for i in range(0, 4000, 250)
    ]
    return np.stack([np.asarray(photo.convert("RGB").resize((224, 224))) for photo in photos])
