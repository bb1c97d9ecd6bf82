"""A set with 12 bits in 16-bit files gives in every verb what the same set with 8 bits gives."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.decisions.items import read_items
from kiyome.reading.finished_run import open_run
from kiyome.reviewing.thumbnails import photo_jpeg
from kiyome.testing import write_digits
from kiyome.workflows.check import check
from kiyome.workflows.find import find
from kiyome.workflows.predict import predict
from kiyome.workflows.train import train

CHANGES = ["architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "num_folds=2"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same photos with 8 and with 12 bits; both lie in a folder of the same name."""
    folders = {bits: tmp_path_factory.mktemp(f"bits{bits}") / "data" for bits in (8, 12)}
    for folder in folders.values():
        write_digits(folder, num_photos=80)
    for path in (folders[12] / "train_images").iterdir():
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16 + 7
        Image.fromarray(values).save(path)
    return folders


def test_check_says_how_many_bits_are_used(sets: dict[int, Path], tmp_path: Path) -> None:
    counts = check(sets[12], output=tmp_path / "run").photos.finding_counts
    assert counts == {"uses 12 of 16 bits a channel": 80}


def test_find_its_heads_and_its_review_agree_with_eight_bits(sets: dict[int, Path], tmp_path: Path) -> None:
    runs, probs, shown = [], [], []
    for bits, folder in sets.items():
        how = {"output": tmp_path / f"run{bits}", "cache_folder": tmp_path / "cache"}
        runs.append(find(folder, backbone="tiny", num_folds=3, **how))
        predicted = predict(
            runs[-1].folder, folder / "train_images", output=None, cache_folder=tmp_path / "cache"
        )
        probs.append(predicted.pred_probs)
        shown.append(photo_jpeg(read_items(runs[-1].folder), 0, 256))
    assert np.array_equal(runs[0].pred_probs, runs[1].pred_probs)
    assert np.array_equal(probs[0], probs[1])
    assert shown[0] == shown[1]
    assert runs[0].table.content_digest != runs[1].table.content_digest


def test_train_and_predict_agree_with_eight_bits(sets: dict[int, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    scores, probs = [], []
    for bits, folder in sets.items():
        run = tmp_path / f"run{bits}"
        train(folder, recipe="quick", changes=CHANGES, output=run, cache_folder=tmp_path / "cache")
        scores.append(open_run(run).predictions.pred_probs)
        photos = predict(run, folder / "train_images", output=None, cache_folder=tmp_path / "cache")
        probs.append(photos.pred_probs)
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(probs[0], probs[1])
