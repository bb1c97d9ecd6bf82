"""`find --with` on a table with splits: labels of train alone weigh the runs, all rows are blended."""

from pathlib import Path

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.workflows.find import find
from kiyome.workflows.find_result import FindResult

N = 600
IS_TRAIN = np.arange(N) < 340
SPLITS = np.where(IS_TRAIN, "train", np.where(np.arange(N) < 560, "test", "unlabeled")).astype(object)


@pytest.fixture
def table(leaves):
    labels = leaves().given_labels.copy()
    labels[560:] = -1
    columns = {"folds": np.where(IS_TRAIN, np.arange(N) % 5, -1), "splits": SPLITS, "true_labels": None}
    return lambda turned=0: leaves(
        given_labels=np.where(SPLITS == "test", (labels + turned) % 3, labels), **columns
    )


def found(place: Path, table, run_of, turned: int = 0) -> FindResult:
    """Predictions of a weak model, with a good run beside it."""
    place.mkdir()
    weak = run_of(place / "weak", table(turned), right=0.7)
    good = run_of(place / "good", table(turned), right=0.97, seed=2)
    np.save(weak / "oof.npy", np.load(weak / "predictions" / "pred_probs.npy"))
    return find(weak / "table.parquet", pred_probs=weak / "oof.npy", with_runs=[good], output=place / "found")


def test_all_rows_are_blended_by_labels_of_train_alone(table, run_of, tmp_path: Path) -> None:
    first, turned = (found(tmp_path / str(n), table, run_of, n) for n in (0, 1))
    truth = np.arange(N) % 3
    assert first.scored.others[0].weight > 0.5
    for rows in (IS_TRAIN, ~IS_TRAIN):
        assert (first.pred_probs.argmax(axis=1) == truth)[rows].mean() > 0.93
    assert np.array_equal(first.pred_probs, turned.pred_probs)
    assert first.scored.others == turned.scored.others
    assert np.array_equal(first.probability[IS_TRAIN], turned.probability[IS_TRAIN])
    alone = find(
        tmp_path / "0/weak/table.parquet", pred_probs=tmp_path / "0/weak/oof.npy", output=tmp_path / "alone"
    )
    assert first.by_split["test"].difference == alone.by_split["test"].difference


def test_a_run_without_rows_of_test_is_refused(table, run_of, tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole", table(), right=0.7)
    np.save(whole / "oof.npy", np.load(whole / "predictions" / "pred_probs.npy"))
    np.save(whole / "train.npy", np.load(whole / "oof.npy")[IS_TRAIN])
    other = find(
        whole / "table.parquet",
        pred_probs=whole / "train.npy",
        ignore_splits=True,
        output=tmp_path / "other",
    )
    with pytest.raises(InputError) as caught:
        find(
            whole / "table.parquet",
            pred_probs=whole / "oof.npy",
            with_runs=[other.folder],
            output=tmp_path / "found",
        )
    assert f"{other.folder} is a run on another table: it has no rows of test or unlabeled." in str(
        caught.value
    )
    assert f"Name {other.folder / 'table.parquet'} as the data" in str(caught.value)
    assert not (tmp_path / "found").exists()
