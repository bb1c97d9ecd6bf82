"""Small scanned digits, dealt and cached, that training learns from in seconds."""

import dataclasses

import numpy as np
import pytest

from kiyome.folds import assign_folds
from kiyome.images.pixel_cache import StoredSize, cache_photos
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from kiyome.training.member import TrainingData
from kiyome.training.recipe import Recipe

NUM_PHOTOS, SIDE = 120, 32


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """120 digits of 32 pixels with a tenth of wrong labels, in 3 folds."""
    folder = tmp_path_factory.mktemp("digits")
    truth = write_digits(folder / "data", num_photos=NUM_PHOTOS, side=SIDE)
    table = read_table(folder / "data")
    table = dataclasses.replace(table.with_folds(assign_folds(table.labels, num_folds=3)), true_labels=truth)
    photos = cache_photos(table.photo_paths(), stored=StoredSize(side=SIDE), folder=folder / "cache")
    return training_data_of(table, photos)


def training_data_of(table, photos):
    """TrainingData with hard targets and every row in training."""
    targets = np.eye(table.num_classes, dtype=np.float32)[table.labels]
    return TrainingData(table=table, photos=photos, targets=targets, in_training=np.ones(len(table), bool))


@pytest.fixture
def recipe():
    """Two epochs of the tiny network, on a CPU in float32."""
    return Recipe.of(
        architecture="tiny",
        image_size=SIDE,
        epochs=2,
        batch_size=16,
        learning_rate=1e-2,
        precision="float32",
        augment={"scale": (0.7, 1.0)},
    )
