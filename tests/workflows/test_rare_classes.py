"""Classes with few photos stop nothing: they are scored where they can be, and told where not."""

import csv
import shutil
from itertools import groupby

import pytest

from kiyome.errors import InputError
from kiyome.testing import write_digits
from kiyome.workflows.find import find
from kiyome.workflows.train import train

TINY = ("architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "num_folds=3")


@pytest.fixture
def digits(tmp_path):
    """Two classes of twelve digits, one of two, and one of a single digit."""
    write_digits(tmp_path / "all", num_photos=200)
    with (tmp_path / "all/train.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["label"])
    by_class = [list(group) for _, group in groupby(rows, key=lambda row: row["label"])]
    for name, members, num_photos in zip(("a", "b", "two", "one"), by_class, (12, 12, 2, 1), strict=False):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for row in members[:num_photos]:
            shutil.copy(tmp_path / "all/train_images" / row["image_id"], tmp_path / "photos" / name)
    return tmp_path / "photos"


def set_aside(folder):
    with (folder / "set_aside.csv").open() as file:
        return [row["reason"] for row in csv.DictReader(file)]


def check_notes(notes):
    assert any("no photo of class 'one' can be used" in note for note in notes)
    assert any("fewer different photos than folds: 'two'" in note for note in notes)


def test_find_scores_what_can_be_scored(digits, tmp_path):
    result = find(digits, backbone="tiny", num_folds=3, output=tmp_path / "run", cache_folder=tmp_path)
    assert len(result.table) == 26
    assert set_aside(result.folder) == ["no other photo of its class, so no model could learn it"]
    check_notes(result.scored.notes)


def test_train_does_as_find(digits, tmp_path):
    result = train(digits, changes=TINY, output=tmp_path / "run", cache_folder=tmp_path)
    assert len(set_aside(result.folder)) == 1
    check_notes(result.notes)


def test_a_set_of_one_photo_is_told(digits, tmp_path):
    photo = next((digits / "a").iterdir())
    for name in ("c", "d"):
        (tmp_path / "same" / name).mkdir(parents=True)
        for number in range(4):
            shutil.copy(photo, tmp_path / "same" / name / f"{number}.png")
    with pytest.raises(InputError, match=r"near duplicates .*: 1 of 'c', 1 of 'd'.*never in two folds"):
        find(tmp_path / "same", backbone="tiny", output=tmp_path / "run", cache_folder=tmp_path)


def test_the_same_photos_under_other_labels_stop_the_run(tmp_path):
    write_digits(tmp_path / "all", num_photos=60)
    photos = sorted((tmp_path / "all").rglob("*.png"))[:20]
    for reader in ("anna", "ben"):
        (tmp_path / "photos" / reader).mkdir(parents=True)
        for number, photo in enumerate(photos):
            shutil.copy(photo, tmp_path / "photos" / reader / f"{number}.png")
    with pytest.raises(InputError, match=r"Labels differ in .* groups of identical photos"):
        find(tmp_path / "photos", backbone="tiny", output=tmp_path / "run", cache_folder=tmp_path)
