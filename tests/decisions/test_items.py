"""What is read of a run and of a sample, and what a blind subject does not hold."""

import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from kiyome.artifacts.audit_folder import is_audit_folder
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.table_files import write_table
from kiyome.decisions.items import ALONE, ReviewItems, read_items
from kiyome.errors import InputError, StaleArtifact
from kiyome.reading.finished_run import open_run
from kiyome.reviewing.thumbnails import photo_jpeg
from kiyome.testing import write_digits
from kiyome.workflows.audit_sample import SealedSample, audit_sample
from kiyome.workflows.find import find
from kiyome.workflows.find_result import FindResult, write_find


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> FindResult:
    """A run of find on 200 scans, five of which lie there twice."""
    place = tmp_path_factory.mktemp("review")
    write_digits(place / "digits", num_photos=200)
    photos, table = place / "digits" / "train_images", place / "digits" / "train.csv"
    lines = table.read_text().splitlines()
    for row in range(5):
        shutil.copy(photos / f"digit_{row:04d}.png", photos / f"=copy_{row}.png")
        lines.append(f"=copy_{row}.png,{(row + 1) % 10}")
    table.write_text("\n".join([*lines, ""]))
    return find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place)


@pytest.fixture(scope="module")
def sample(found: FindResult) -> Iterator[SealedSample]:
    """Thirty rows of it, drawn for an audit."""
    return audit_sample(found.folder, n=30)


def test_a_run_of_find_is_read_as_it_was_found(found: FindResult) -> None:
    items = read_items(found.folder)
    assert (items.run, items.blind, items.audit) == ("run", False, None)
    assert len(items) == 205
    assert list(items.image_ids) == list(items.shown_ids) == found.table.image_ids.tolist()
    assert items.ranking.tolist() == found.ranking.tolist()
    assert items.given_labels.tolist() == found.table.given_labels.tolist()
    assert items.suggested_labels.tolist() == found.suggested_labels.tolist()
    assert items.likely_labels.tolist() == found.predicted_labels.tolist()
    assert items.is_label_issue.tolist() == found.is_label_issue.tolist()
    assert items.probability == pytest.approx(found.probability)
    assert np.array_equal(items.pred_probs, found.pred_probs)
    assert np.array_equal(items.features, found.scored.features)
    assert (items.fingerprint, items.table_content) == (
        found.table.fingerprint,
        found.table.content_digest,
    )
    assert items.row_of[items.image_ids[7]] == 7
    assert items.label_of[items.class_names[3]] == 3


def test_unlabeled_rows_are_left_out_and_others_have_their_split(found: FindResult, tmp_path: Path) -> None:
    run = RunFolder.create_or_reopen(tmp_path / "run", command="find", config={}, table=found.table)
    splits = np.array(["train", "test", "unlabeled"], object)[np.arange(205) % 3]
    labeled = splits != "unlabeled"
    table = replace(
        found.table,
        splits=splits,
        given_labels=np.where(labeled, found.table.given_labels, -1),
        labels=np.where(labeled, found.table.labels, -1),
        folds=np.where(splits == "train", found.table.folds, -1),
    )
    with run as opened:
        write_find(replace(found, folder=opened.path))
        write_table(table, opened.path / "table.parquet")
    items, blind = read_items(tmp_path / "run"), read_items(tmp_path / "run", blind=True)
    assert list(items.image_ids) == table.image_ids[labeled].tolist()
    assert items.splits.tolist() == splits[labeled].tolist()
    assert items.splits_in_use == blind.splits_in_use == ("train", "test")
    assert items.given_labels.tolist() == found.table.given_labels[labeled].tolist()
    assert sorted(items.ranking) == list(range(len(items)))
    assert items.probability == pytest.approx(found.probability[labeled])
    assert np.array_equal(items.pred_probs, found.pred_probs[labeled])
    assert np.array_equal(items.features, found.scored.features[labeled])
    assert (items.fingerprint, items.table_content) == (table.fingerprint, table.content_digest)
    split_of = dict(zip(table.image_ids.tolist(), splits.tolist(), strict=True))
    assert blind.splits.tolist() == [split_of[image_id] for image_id in blind.image_ids]
    assert sorted(blind.image_ids) == sorted(items.image_ids)


def test_large_arrays_are_mapped_and_not_copied(found: FindResult) -> None:
    items = read_items(found.folder)
    for array in (items.pred_probs, items.features):
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        assert isinstance(base, np.memmap)
        assert not array.flags.writeable


def test_duplicates_are_found_by_id_whatever_the_id(found: FindResult) -> None:
    items = read_items(found.folder)
    expected = found.scored.photos.duplicates.groups
    assert (expected >= 0).sum() >= 10
    for row in range(len(items)):
        same = set(np.flatnonzero(expected == expected[row]).tolist()) if expected[row] >= 0 else {row}
        group = items.duplicate_groups[row]
        assert same == (
            {row} if group == ALONE else set(np.flatnonzero(items.duplicate_groups == group).tolist())
        )


def hidden(items: ReviewItems) -> dict[str, object]:
    names = [field.name for field in fields(ReviewItems) if field.default is None and field.name != "splits"]
    return {name: getattr(items, name) for name in names}


def test_a_blind_run_holds_nothing_but_photos_in_a_random_order(found: FindResult) -> None:
    blind, open_ = read_items(found.folder, blind=True), read_items(found.folder)
    assert set(hidden(blind).values()) == {None}
    assert len(hidden(blind)) == 10
    assert sorted(blind.image_ids) == sorted(open_.image_ids)
    assert list(blind.image_ids) != list(open_.image_ids)
    assert not set(blind.shown_ids) & set(blind.image_ids)
    assert blind.ranking.tolist() == list(range(len(blind)))
    path_of = dict(zip(open_.image_ids, open_.photo_paths, strict=True))
    assert [path_of[image_id] for image_id in blind.image_ids] == list(blind.photo_paths)
    assert blind.fingerprint == open_.fingerprint  # its decisions are those of the same table
    assert list(read_items(found.folder, blind=True).image_ids) == list(blind.image_ids)


def test_a_sample_is_read_without_a_label(sample: SealedSample) -> None:
    items = read_items(sample.folder)
    assert is_audit_folder(sample.folder)
    assert (items.blind, items.audit, items.title) == (True, "run", "run")
    assert list(items.image_ids) == list(items.shown_ids) == sample.row_names
    assert set(hidden(items).values()) == {None}
    assert items.class_names == sample.class_names
    photo = open_run(sample.folder.parent / "run").table.photo_paths()[sample.design.rows[0]]
    assert Path(items.photo_paths[0]).read_bytes() == Path(photo).read_bytes()
    assert photo_jpeg(items, 29, 256)[:2] == b"\xff\xd8"
    other = read_items(sample.folder.parent / "run", blind=True)
    assert items.fingerprint != other.fingerprint


def test_a_sample_that_was_changed_is_refused(sample: SealedSample, tmp_path: Path) -> None:
    copy = tmp_path / "sample"
    shutil.copytree(sample.folder, copy)
    photo = next((copy / "photos").iterdir())
    photo.write_bytes(photo.read_bytes() + b"0")
    with pytest.raises(StaleArtifact, match=r"\.png is missing or was changed"):
        read_items(copy)


def test_a_run_without_issues_says_what_to_do(found: FindResult, tmp_path: Path) -> None:
    from kiyome.workflows.blend import calibrate

    with pytest.raises(
        InputError, match=r"has no label_issues\.parquet to review.*kiyome find .*--pred-probs"
    ):
        read_items(calibrate(found.folder, output=tmp_path / "calibrated").folder)


def test_predictions_alone_have_no_photos_features_or_duplicates(found: FindResult, tmp_path: Path) -> None:
    given = tmp_path / "given.csv"
    lines = ["image_id,label"] + [
        f"{image_id},{found.table.class_names[label]}"
        for image_id, label in zip(found.table.image_ids, found.table.given_labels, strict=True)
    ]
    given.write_text("\n".join([*lines, ""]))
    run = find(given, pred_probs=found.folder / "oof.parquet", output=tmp_path / "run")
    items = read_items(run.folder)
    assert (items.features, items.duplicate_groups, set(items.photo_paths)) == (None, None, {""})
