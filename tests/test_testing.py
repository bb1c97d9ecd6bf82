from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from kiyome.testing import write_digits


def test_digits_lie_as_a_kaggle_set_with_the_asked_noise(tmp_path: Path) -> None:
    true_labels = write_digits(tmp_path, noise_rate=0.2, side=24)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    names, labels = zip(*(line.split(",") for line in lines[1:]), strict=True)
    assert lines[0] == "image_id,label"
    assert len(names) == 1797
    assert 0.17 < np.mean(np.array(labels, dtype=int) != true_labels) < 0.23
    photo = np.asarray(Image.open(tmp_path / "train_images" / names[5]))
    assert photo.shape == (24, 24)
    assert np.corrcoef(photo[1::3, 1::3].ravel(), -load_digits().images[5].ravel())[0, 1] > 0.9


def test_the_same_seed_gives_the_same_set(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_digits(tmp_path / folder, num_photos=100, seed=3)
    assert (tmp_path / "a/train.csv").read_bytes() == (tmp_path / "b/train.csv").read_bytes()
