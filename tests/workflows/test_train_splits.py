"""`train` on a table with splits: members learn from train rows alone, and predict all others together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.table import Table
from kiyome.artifacts.table_files import load_table, write_table
from kiyome.folds import assign_folds
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from kiyome.workflows.evaluate import evaluate
from kiyome.workflows.train import train

SMALL = ("architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "batch_size=20", "views=1")
SPLITS = ["train"] * 60 + ["test"] * 25 + ["unlabeled"] * 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 digits with folds and splits in table.parquet."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", num_photos=100, side=32)
    write_table(with_splits(read_table(folder / "data")), folder / "table.parquet")
    return folder


def with_splits(read: Table) -> Table:
    is_train, is_labeled = np.array(SPLITS) == "train", np.array(SPLITS) != "unlabeled"
    labels, folds = np.where(is_labeled, read.given_labels, -1), np.full(len(read), -1)
    folds[is_train] = assign_folds(labels[is_train], num_folds=3, allow_rare=True)
    return Table(
        root=read.root,
        image_ids=read.image_ids,
        paths=read.paths,
        given_labels=labels,
        class_names=read.class_names,
        folds=folds,
        splits=SPLITS,
    )


def trained(folder: Path, output: Path, table: Path | None = None, **options: Any) -> Any:
    return train(
        table or folder / "table.parquet",
        images=folder / "data/train_images",
        changes=[*SMALL, *options.pop("changes", ())],
        output=output,
        cache_folder=folder / "cache",
        **options,
    )


@pytest.fixture(scope="module")
def result(folder: Path) -> Any:
    return trained(folder, folder / "runs/all")


def test_members_learn_from_train_alone(folder: Path, result: Any, tmp_path: Path) -> None:
    table = load_table(folder / "table.parquet")
    is_train = table.in_split("train")
    write_table(table.take(is_train), tmp_path / "train.parquet")
    alone = trained(folder, tmp_path / "alone", tmp_path / "train.parquet")
    assert result.num_training_rows == alone.num_training_rows == 60
    assert np.allclose(result.predictions.pred_probs[is_train], alone.predictions.pred_probs, atol=1e-5)
    assert result.scores["all members"] == pytest.approx(alone.scores["all members"], abs=1e-4)


def test_labels_and_truth_outside_train_reach_no_member(folder: Path, result: Any, tmp_path: Path) -> None:
    table = load_table(folder / "table.parquet")
    is_test = table.in_split("test")
    labels = np.where(is_test, (table.given_labels + 1) % 10, table.given_labels)
    other = Table(
        root=table.root,
        image_ids=table.image_ids,
        paths=table.paths,
        given_labels=labels,
        true_labels=np.where(is_test, table.given_labels, -1),
        class_names=table.class_names,
        folds=table.folds,
        splits=table.splits,
    )
    write_table(other, tmp_path / "other.parquet")
    again = trained(folder, tmp_path / "run", tmp_path / "other.parquet")
    assert np.array_equal(again.predictions.pred_probs, result.predictions.pred_probs)


def test_a_test_set_with_labels_joins_the_run_and_a_sample_is_predicted(folder: Path, tmp_path: Path) -> None:
    head, *lines = (folder / "data/train.csv").read_text().splitlines()
    write = {"train": lines[:60], "test": lines[60:85], "sample_submission": lines[85:]}
    for name, part in write.items():
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *part]))
    images = {"test_images": folder / "data/train_images", "changes": ["num_folds=2"]}
    labeled, predicted = (
        trained(folder, tmp_path / name, tmp_path / "train.csv", test=tmp_path / f"{name}.csv", **images)
        for name in ("test", "sample_submission")
    )
    assert labeled.summary()["splits"] == {"train": 60, "test": 25}
    assert not (labeled.folder / "submission.csv").exists()
    assert evaluate(labeled.folder, split="test").under_noise.accuracy_on_given.num_rows == 25
    assert predicted.table.splits is None
    assert len((predicted.folder / "submission.csv").read_text().splitlines()) == 16
    train = labeled.table.in_split("train")
    assert np.allclose(labeled.predictions.pred_probs[train], predicted.predictions.pred_probs, atol=1e-5)


def test_rows_outside_train_are_predicted_by_the_mean_of_all_members(result: Any) -> None:
    outside = ~result.table.in_split("train")
    probs = [np.load(path) for path in sorted((result.folder / "members").glob("*/pred_probs.npy"))]
    assert [len(each) for each in probs] == [60] * 3  # 20 held-out rows, 40 outside train
    assert np.allclose(
        np.mean([each[-40:] for each in probs], axis=0), result.predictions.pred_probs[outside], atol=1e-6
    )
    saved = Predictions.load(result.folder / "predictions", load_table(result.folder / "table.parquet"))
    assert np.array_equal(saved.pred_probs, result.predictions.pred_probs)
    assert result.summary()["splits"] == {"train": 60, "test": 25, "unlabeled": 15}


def test_members_trained_apart_come_to_the_same(folder: Path, result: Any, tmp_path: Path) -> None:
    assert trained(folder, tmp_path / "run", members=["fold=1"]).predictions is None
    whole = trained(folder, tmp_path / "run")
    assert np.array_equal(whole.predictions.pred_probs, result.predictions.pred_probs)


def test_nested_cleaning_leaves_rows_outside_train_alone(folder: Path, tmp_path: Path) -> None:
    result = trained(folder, tmp_path / "run", changes=["leave_out=nested", "soft_labels=nested"])
    assert result.predictions.pred_probs.shape == (100, 10)
    assert result.num_training_rows <= 60
    assert result.is_kept is not None
    assert result.is_kept[60:].all()


def test_a_frozen_network_is_standardized_by_train_alone(folder: Path, tmp_path: Path) -> None:
    changes = ["frozen=true", "views=1"]
    result = trained(folder, tmp_path / "all", changes=changes)
    table = load_table(folder / "table.parquet")
    write_table(table.take(table.in_split("train")), tmp_path / "train.parquet")
    alone = trained(folder, tmp_path / "alone", tmp_path / "train.parquet", changes=changes)
    assert np.allclose(result.predictions.pred_probs[:60], alone.predictions.pred_probs, atol=1e-5)
