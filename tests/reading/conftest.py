"""Files to read tables from."""

from pathlib import Path

import pytest

JPEG = b"\xff\xd8\xff\xe0 a photo as far as a table needs to know"


def lay_files(root: Path, *names: str, content: bytes = JPEG) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture(scope="session")
def lay():
    """Make files of these names below a folder; by default they begin like a JPEG."""
    return lay_files


@pytest.fixture
def csv_with_photos():
    """A CSV of this text beside `train_images` with these photos."""

    def write(root, text, *photos, name="train.csv"):
        root.mkdir(exist_ok=True)
        lay_files(root / "train_images", *photos)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return root / name

    return write
