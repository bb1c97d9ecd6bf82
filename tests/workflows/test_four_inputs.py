"""The same photos, given in each of the four ways that people have them, lead to the same rows."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kiyome.testing import write_digits
from kiyome.workflows.find import find

NUM_PHOTOS = 200


def as_kaggle(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def as_class_folders(source: Path, target: Path) -> Path:
    for name, label in rows_of(source):
        (target / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "train_images" / name, target / label / name)
    return target


def as_hugging_face(source: Path, target: Path) -> Path:
    shutil.copytree(source / "train_images", target)
    lines = [json.dumps({"file_name": name, "label": label}) for name, label in rows_of(source)]
    (target / "metadata.jsonl").write_text("\n".join(lines))
    return target


def as_parquet_with_photos_inside(source: Path, target: Path) -> Path:
    target.mkdir()
    rows = rows_of(source)
    photos = [{"bytes": (source / "train_images" / name).read_bytes(), "path": name} for name, _ in rows]
    pq.write_table(
        pa.table({"image": photos, "label": [label for _, label in rows]}), target / "train.parquet"
    )
    return target / "train.parquet"


def rows_of(source: Path) -> list[tuple[str, str]]:
    with (source / "train.csv").open() as file:
        return [(row["image_id"], row["label"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "arrange", [as_kaggle, as_class_folders, as_hugging_face, as_parquet_with_photos_inside]
)
def test_find_reads_what_people_have(
    arrange: Callable[[Path, Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    write_digits(tmp_path / "source", num_photos=NUM_PHOTOS, side=24)
    data = arrange(tmp_path / "source", tmp_path / "data")
    found = find(data, backbone="tiny", output=tmp_path / "run")
    given = dict(rows_of(tmp_path / "source"))
    names = np.array(found.table.class_names)[found.table.given_labels]
    assert {Path(i).name: name for i, name in zip(found.table.image_ids, names, strict=True)} == given
    assert found.num_issues > 0
    assert (tmp_path / "run/report.html").stat().st_size > 10_000
