"""One table has one split: who takes whose folds, and what a resumed command stays on."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.artifacts.table import Table
from kiyome.errors import InputError
from kiyome.experiments import read_diary
from kiyome.testing import write_digits
from kiyome.workflows.blend import blend
from kiyome.workflows.find import find
from kiyome.workflows.run_folds import RunFolds
from kiyome.workflows.train import train

SMALL = ("architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "batch_size=45", "views=1")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 80 digits with train.csv."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", num_photos=80, side=32)
    return folder


def found(digits: Path, runs: Path, name: str = "found", data: str = "data", **options: Any) -> Any:
    return find(digits / data, backbone="tiny", output=runs / name, cache_folder=digits / "cache", **options)


def trained(digits: Path, runs: Path, name: str = "trained", *changes: str, **options: Any) -> Any:
    return train(
        digits / "data",
        changes=[*SMALL, *changes],
        output=runs / name,
        cache_folder=digits / "cache",
        **options,
    )


def test_training_takes_the_folds_of_an_earlier_run_and_says_so(digits: Path, tmp_path: Path) -> None:
    first = found(digits, tmp_path)
    second = trained(digits, tmp_path)
    assert np.array_equal(second.table.folds, first.table.folds)
    assert second.notes[0] == (
        f"the 5 folds of {tmp_path / 'found'} instead of 3 new ones; num_folds=3 makes new folds"
    )
    assert len(second.members) == 5
    assert read_diary(tmp_path)[1].against_baseline is not None
    assert len(blend([first.folder, second.folder]).table) == 80


def test_find_takes_the_folds_of_an_earlier_training(digits: Path, tmp_path: Path) -> None:
    first = trained(digits, tmp_path)
    second = found(digits, tmp_path)
    assert np.array_equal(second.table.folds, first.table.folds)
    assert second.scored.notes[0].startswith(f"the 3 folds of {tmp_path / 'trained'} instead of 5 new ones")
    assert not [note for note in first.notes if "folds of" in note]


def test_who_asks_for_a_split_gets_a_new_one(digits: Path, tmp_path: Path) -> None:
    found(digits, tmp_path, "first", num_folds=4)
    for name, asked in {"folds": {"num_folds": 3}, "seed": {"seed": 0}}.items():
        own = found(digits, tmp_path, name, **asked)
        assert len(set(own.table.folds.tolist())) == asked.get("num_folds", 5)
        assert not [note for note in own.scored.notes if "folds of" in note]
    assert len(set(found(digits, tmp_path, "shared").table.folds.tolist())) == 4  # the oldest run decides


def test_the_same_command_without_and_with_its_own_split_are_two_runs(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"backbone": "tiny", "cache_folder": digits / "cache"}
    shutil.copytree(digits / "data", tmp_path / "data")
    shared, own = find("data", **options), find("data", num_folds=5, **options)
    assert [shared.folder.name, own.folder.name] == ["data", "data-2"]
    assert find("data", **options).folder == shared.folder


def test_a_training_that_was_cut_off_stays_on_its_folds(digits: Path, tmp_path: Path) -> None:
    first = found(digits, tmp_path)

    def stop(event: Any) -> None:
        if event.state == "finished":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(digits, tmp_path, on_event=stop)
    begun = {path.name for path in (tmp_path / "trained" / "members").iterdir()}
    shutil.rmtree(first.folder)
    found(digits, tmp_path, "later", num_folds=4)
    resumed = trained(digits, tmp_path)
    assert np.array_equal(resumed.table.folds, first.table.folds)
    assert begun <= {path.name for path in (tmp_path / "trained" / "members").iterdir()}
    assert resumed.notes[0].startswith(f"the 5 folds of {tmp_path / 'found'} ")


def test_folds_that_part_a_group_are_not_taken(digits: Path, tmp_path: Path) -> None:
    found(digits, tmp_path, num_folds=4)
    with (digits / "data" / "train.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    grouped = [[*rows[0], "group"], *([*row, f"g{n // 2}"] for n, row in enumerate(rows[1:]))]
    path = digits / "data" / "grouped.csv"
    path.write_text("".join(",".join(row) + "\n" for row in grouped))
    own = found(digits, tmp_path, "grouped", data="data/grouped.csv", images=digits / "data" / "train_images")
    folds = own.table.folds
    assert len(set(folds.tolist())) == 5
    assert np.array_equal(folds[::2], folds[1::2])


def test_a_split_too_coarse_for_find_is_not_taken(digits: Path, tmp_path: Path) -> None:
    trained(digits, tmp_path, "two", "num_folds=2")
    assert len(set(found(digits, tmp_path).table.folds.tolist())) == 5


def test_other_labels_are_another_table(digits: Path, tmp_path: Path) -> None:
    found(digits, tmp_path, num_folds=4)
    text = (digits / "data" / "train.csv").read_text()
    first = text.splitlines()[1]
    changed = f"{first.split(',')[0]},{(int(first.split(',')[1]) + 1) % 10}"
    (digits / "data" / "relabeled.csv").write_text(text.replace(first, changed))
    photos = digits / "data" / "train_images"
    own = found(digits, tmp_path, "relabeled", data="data/relabeled.csv", images=photos)
    assert len(set(own.table.folds.tolist())) == 5


def test_folds_are_of_train_rows_only(tmp_path: Path) -> None:
    n = 60
    splits = np.array(["train", "test", "unlabeled"] * (n // 3), object)
    labels = np.where(splits == "unlabeled", -1, np.arange(n) // 3 % 2)
    table = Table(
        root=tmp_path,
        image_ids=np.arange(n).astype(str).astype(object),
        paths=[""] * n,
        given_labels=labels,
        class_names=("cat", "dog"),
        splits=splits,
    )
    run_folds = RunFolds(run=tmp_path / "run", num_folds=5, seed=0, is_own=False)
    folds = np.asarray(run_folds.assign_rows(table, np.full(n, -1)).folds)
    assert (folds[splits != "train"] == -1).all()
    assert np.bincount(folds[splits == "train"]).tolist() == [4, 4, 4, 4, 4]
    of_train = run_folds.assign_rows(table.take(splits == "train"), np.full(n // 3, -1))
    assert np.array_equal(folds[splits == "train"], np.asarray(of_train.folds))
    with pytest.raises(InputError, match="The table has no rows of train; all 20 are test"):
        run_folds.assign_rows(table.take(splits == "test"), np.full(n // 3, -1))
