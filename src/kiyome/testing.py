"""Small real data sets with known true labels, for trials and tests."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import write_text
from kiyome.noise.transition import class_dependent_transition, inject_label_noise


def write_digits(
    folder: Path | str,
    *,
    num_photos: int = 1797,
    noise_rate: float = 0.1,
    side: int = 64,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Write scanned digits as PNG files with a ``train.csv`` of noisy labels; return the true labels.

    Parameters
    ----------
    folder
        Receives ``train.csv`` (``image_id,label``) and ``train_images/``.
    num_photos
        How many of scikit-learn's 1,797 scans, in their order.
    noise_rate
        Average proportion of labels that a class-dependent transition matrix changes.
    side
        Width and height of the written photos in pixels; the scans are 8 x 8.
    seed
        Decides which labels become wrong.

    Returns
    -------
    true_labels : (num_photos,) int64

    Notes
    -----
    The scans are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
    UCI, CC BY 4.0), which scikit-learn carries.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     true_labels = write_digits(folder, num_photos=50)
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['train.csv', 'train_images']
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    true_labels: NDArray[np.int64] = digits.target[:num_photos].astype(np.int64)
    rng = np.random.default_rng(seed)
    transition = class_dependent_transition(10, noise_rate, rng)
    labels = inject_label_noise(true_labels, transition, rng)
    photos = Path(folder) / "train_images"
    photos.mkdir(parents=True, exist_ok=True)
    names = [f"digit_{row:04d}.png" for row in range(num_photos)]
    for name, scan in zip(names, digits.images[:num_photos], strict=True):
        _write_scan(photos / name, scan, side)
    rows = [f"{name},{label}" for name, label in zip(names, labels.tolist(), strict=True)]
    write_text(Path(folder) / "train.csv", "\n".join(["image_id,label", *rows, ""]))
    return true_labels


def _write_scan(path: Path, scan: NDArray[np.float64], side: int) -> None:
    from PIL import Image

    ink = Image.fromarray((255 - scan * 15).astype(np.uint8))
    ink.resize((side, side), Image.Resampling.BICUBIC).save(path)
