"""Frames of pandas and polars are data, as a file of theirs would be."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.testing import write_digits
from kiyome.workflows.check import check
from kiyome.workflows.inputs import as_path

pd = pytest.importorskip("pandas")


def test_a_frame_is_data(tmp_path, monkeypatch):
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    write_digits(tmp_path / "digits", num_photos=60)
    frame = pd.read_csv(tmp_path / "digits/train.csv")
    assert as_path(frame) == as_path(frame.copy())
    result = check(frame, images=tmp_path / "digits/train_images", output=tmp_path / "run")
    assert len(result.table) == 60
    monkeypatch.chdir(tmp_path / "digits/train_images")
    assert len(check(frame, output=tmp_path / "again").table) == 60


def test_other_objects_are_named():
    with pytest.raises(InputError, match=r"of type ndarray. Expected a path, or a frame of pandas or polars"):
        as_path(np.zeros(3))


def test_a_mapping_of_splits_to_frames_is_data(tmp_path, monkeypatch):
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    write_digits(tmp_path / "digits", num_photos=60)
    frame = pd.read_csv(tmp_path / "digits/train.csv")
    splits = {"train": frame[:40], "validation": frame[40:50], "test": frame[50:].drop(columns="label")}
    monkeypatch.chdir(tmp_path / "digits/train_images")
    result = check(splits, output=tmp_path / "run")
    assert result.summary()["splits"] == {"train": 40, "val": 10, "unlabeled": 10}
    assert sum(counts["readable"] for counts in result.summary()["classes"].values()) == 50
    assert [line.rpartition(",")[2] for line in (tmp_path / "run/photos.csv").read_text().split()] == [
        "split",
        *["train"] * 40,
        *["val"] * 10,
        *["unlabeled"] * 10,
    ]
