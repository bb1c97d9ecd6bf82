"""Photos of something else among the digits: never called a digit, whatever their labels."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

import kiyome
from kiyome.artifacts.issues import read_issues
from kiyome.testing import write_digits
from kiyome.workflows.find import find

NUM_DIGITS, NUM_FOREIGN = 300, 15


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> kiyome.FindResult:
    """Result of find on scans of digits with negatives of some, which carry random labels, among them."""
    place = tmp_path_factory.mktemp("foreign")
    write_digits(place / "digits", num_photos=NUM_DIGITS, side=32)
    photos, rng = place / "digits" / "train_images", np.random.default_rng(0)
    with (place / "digits" / "train.csv").open("a") as table:
        for number in range(NUM_FOREIGN):
            with Image.open(photos / f"digit_{number:04d}.png") as digit:
                ImageOps.invert(digit.convert("L")).save(photos / f"foreign_{number:02d}.png")
            table.write(f"foreign_{number:02d}.png,{rng.integers(10)}\n")
    return find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place / "cache")


@pytest.fixture
def foreign(found: kiyome.FindResult) -> np.ndarray:
    return np.char.startswith(found.table.image_ids.astype(str), "foreign")


def test_they_are_found(found: kiyome.FindResult, foreign: np.ndarray) -> None:
    assert (found.probability_none[foreign] > 0.5).all()
    assert (found.probability_none[~foreign] > 0.5).mean() < 0.02


def test_no_class_is_suggested_for_them(found: kiyome.FindResult) -> None:
    none = found.shows_none
    assert (found.is_label_issue & none).any()
    assert np.array_equal(found.suggested_labels[none], found.given_labels[none])


def test_lists_and_report_say_so(found: kiyome.FindResult) -> None:
    with (found.folder / "label_issues.csv").open() as file:
        rows = {row["image_id"]: row for row in csv.DictReader(file)}
    exact = pq.read_table(found.folder / "label_issues.parquet").to_pydict()
    listed = dict(zip(exact["image_id"], exact["probability_none"], strict=True))
    for image_id, probability in zip(found.table.image_ids, found.probability_none, strict=True):
        assert listed[image_id] == probability
        assert float(rows[image_id]["probability_none"]) == pytest.approx(probability)
    assert (
        json.loads((found.folder / "noise.json").read_text())["none_of_the_classes"] == found.shows_none.sum()
    )
    page = (found.folder / "report.html").read_text()
    assert f"{found.shows_none.sum()} photos probably show none of the classes" in " ".join(page.split())


@pytest.mark.parametrize("action", ["drop", "relabel", "weight", "soften"])
def test_curate_drops_them_and_never_relabels_them(
    found: kiyome.FindResult, foreign: np.ndarray, action: str, tmp_path: Path
) -> None:
    curated = kiyome.curate(found.folder, action=action, output=tmp_path / "curated", max_left_out=1)
    assert np.array_equal(curated.table.labels[foreign], curated.table.given_labels[foreign])
    assert (curated.curated.actions[foreign] == "drop").all()
    assert (np.asarray(curated.table.weights)[foreign] == 0).all()


def test_curate_leaves_them_where_people_decide(
    found: kiyome.FindResult, foreign: np.ndarray, tmp_path: Path
) -> None:
    curated = kiyome.curate(found.folder, action="keep", output=tmp_path / "curated")
    assert (curated.curated.actions == "keep").all()


def test_a_run_from_before_says_nothing_of_them(found: kiyome.FindResult, tmp_path: Path) -> None:
    old = pq.read_table(found.folder / "label_issues.parquet").drop_columns(["probability_none"])
    pq.write_table(old, tmp_path / "label_issues.parquet")
    assert not read_issues(tmp_path / "label_issues.parquet", found.table).shows_none.any()


@pytest.mark.shared
@pytest.mark.slow
def test_no_photo_of_cifar_among_leaves_becomes_a_leaf_disease(shared_data: Path, tmp_path: Path) -> None:
    leaves = np.load(shared_data / "mango_leaf" / "mango_leaf_224.npz")
    others = np.load(shared_data / "cifar10" / "cifar10_jpeg.npz")
    rng = np.random.default_rng(0)
    names, labels = leaves["classes"].astype(str), leaves["label"]
    (tmp_path / "photos").mkdir()
    lines = ["image_id,label"]
    for row in rng.permutation(len(labels))[:1200]:
        lines.append(f"leaf_{row}.jpg,{names[labels[row] if rng.random() > 0.08 else rng.integers(8)]}")
        start, stop = leaves["offsets"][row : row + 2]
        (tmp_path / "photos" / f"leaf_{row}.jpg").write_bytes(leaves["jpeg"][start:stop].tobytes())
    for row in rng.permutation(10_000)[:50]:
        lines.append(f"cifar_{row}.jpg,{names[rng.integers(8)]}")
        start, stop = others["test_offsets"][row : row + 2]
        (tmp_path / "photos" / f"cifar_{row}.jpg").write_bytes(others["test_jpeg"][start:stop].tobytes())
    (tmp_path / "train.csv").write_text("\n".join(lines))
    run = find(
        tmp_path / "train.csv",
        images=tmp_path / "photos",
        backbone="lite0",
        output=tmp_path / "run",
        cache_folder=tmp_path / "cache",
    )
    foreign = np.char.startswith(run.table.image_ids.astype(str), "cifar")
    assert (run.probability_none[foreign] > 0.5).mean() > 0.95
    assert (run.probability_none[~foreign] > 0.5).mean() <= 0.005
    relabeled = kiyome.curate(run.folder, action="relabel", output=tmp_path / "relabeled")
    assert np.array_equal(relabeled.table.labels[foreign], relabeled.table.given_labels[foreign])
