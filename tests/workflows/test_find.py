import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

import kiyome
from kiyome.artifacts.run import verify_run
from kiyome.cli.render import show_find
from kiyome.errors import InputError, StaleArtifact
from kiyome.features import HeadFacts, load_heads
from kiyome.noise import simulate_pred_probs
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from kiyome.workflows.find import find
from kiyome.workflows.head_of_run import backbone_of

NUM_PHOTOS = 600


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("digits")
    return folder, write_digits(folder, num_photos=NUM_PHOTOS, noise_rate=0.1, side=32)


@pytest.fixture(scope="module")
def found(digits: tuple[Path, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> kiyome.FindResult:
    place = tmp_path_factory.mktemp("found")
    return find(digits[0], backbone="tiny", output=place / "run", cache_folder=place / "cache")


def files_of(folder: Path) -> dict[str, str]:
    """Digest of every file but the manifest, which holds the time of day."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.json", ".lock"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_wrong_digits_come_first(found: kiyome.FindResult, digits: tuple[Path, np.ndarray]) -> None:
    wrong = found.table.given_labels != digits[1]
    assert average_precision_score(wrong, -found.label_quality) > 0.8
    assert wrong[found.is_label_issue].mean() > 0.6
    flagged_first = found.is_label_issue[found.ranking[: found.num_issues]]
    assert flagged_first.all()


def test_the_run_folder_holds_everything_and_is_sealed(found: kiyome.FindResult) -> None:
    names = set(verify_run(found.folder)["files"])
    expected = {
        "report.html",
        "label_issues.csv",
        "label_issues.parquet",
        "oof.csv",
        "oof.parquet",
        "noise.json",
    }
    expected |= {
        "table.csv",
        "table.parquet",
        "features.npy",
        "photos.csv",
        "set_aside.csv",
        "duplicates.csv",
    }
    assert expected <= names
    issues = pq.read_table(found.folder / "label_issues.parquet").to_pydict()
    assert sum(issues["is_label_issue"]) == found.num_issues
    chances = np.array(issues["probability"])
    assert chances[: found.num_issues].mean() == pytest.approx(found.expected_precision)
    assert issues["image_id"][0] == found.table.image_ids[found.ranking[0]]
    assert json.loads((found.folder / "noise.json").read_text())["flagged"] == found.num_issues


def test_the_same_command_comes_back_to_the_same_files(
    found: kiyome.FindResult, digits: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    before = files_of(found.folder)
    again = find(digits[0], backbone="tiny", output=found.folder, cache_folder=found.folder.parent / "cache")
    assert files_of(again.folder) == before
    elsewhere = find(digits[0], backbone="tiny", output=tmp_path / "run", cache_folder=tmp_path)
    assert files_of(elsewhere.folder) == before


def test_a_run_predicts_new_photos_and_says_its_score(
    found: kiyome.FindResult, digits: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    photos = sorted((digits[0] / "train_images").iterdir())
    new = tmp_path / "new"
    new.mkdir()
    for path in photos[:40]:
        shutil.copy(path, new)
    (new / "broken.png").write_bytes(b"no photo")
    result = kiyome.predict(found.folder, new, output=tmp_path / "submission.csv", cache_folder=tmp_path)
    assert (result.predicted_labels[1:] == digits[1][:40]).mean() > 0.85
    np.testing.assert_allclose(result.pred_probs.sum(axis=1), 1, atol=1e-5)
    assert (result.num_models, list(result.set_aside)) == (5, [0])
    accuracy = (found.pred_probs.argmax(axis=1) == found.table.given_labels).mean()
    assert f"out of fold: {100 * accuracy:.1f} % of 600 given labels predicted" in result.notes[-1]
    assert (tmp_path / "submission.csv").read_text().startswith("image_id,label")


def test_a_run_of_other_weights_predicts_nothing(found: kiyome.FindResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(found.folder, run)
    facts = json.loads((run / "head/head.json").read_text())
    with pytest.raises(StaleArtifact, match="tiny has other weights or features here than in the run"):
        backbone_of(HeadFacts(**facts | {"weights_sha256": "0"}))
    _, notes = backbone_of(HeadFacts(**facts | {"engine": "openvino 1"}))
    assert notes == ("features are computed by numpy; those of the run by openvino 1",)
    (run / "features.npy").unlink()
    with pytest.raises(StaleArtifact, match="holds no head that can be read"):
        load_heads(run)


def test_predictions_at_hand_need_no_photos(
    found: kiyome.FindResult, digits: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    shutil.copy(digits[0] / "train.csv", tmp_path / "train.csv")
    result = find(tmp_path / "train.csv", pred_probs=found.folder / "oof.csv", output=tmp_path / "run")
    assert (result.is_label_issue == found.is_label_issue).all()
    assert result.scored.photos is None


def test_unreadable_photos_are_set_aside_and_move_no_other_row(
    digits: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    shutil.copytree(digits[0], tmp_path / "data")
    broken = [3, 100, 250]
    for row in broken:
        photo = tmp_path / f"data/train_images/digit_{row:04d}.png"
        photo.write_bytes(photo.read_bytes()[:60])
    result = find(tmp_path / "data", backbone="tiny", output=tmp_path / "run", cache_folder=tmp_path)
    kept = np.setdiff1d(np.arange(NUM_PHOTOS), broken)
    assert result.table.image_ids.tolist() == [f"digit_{row:04d}.png" for row in kept]
    listed = (result.folder / "set_aside.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in listed[1:]] == [f"digit_{row:04d}.png" for row in broken]
    assert average_precision_score(result.table.given_labels != digits[1][kept], -result.label_quality) > 0.8


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(
    found: kiyome.FindResult, digits: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        words = ["find", str(digits[0]), "--backbone", "tiny", "-o", str(tmp_path / name / "run")]
        environment = {**os.environ, "KIYOME_CACHE": str(tmp_path / f"{name}-cache")}
        command = [sys.executable, "-m", "kiyome", *words, "--json"]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    began = time.monotonic()
    assert start("undisturbed").wait() == 0
    seconds = time.monotonic() - began
    for share in (0.35, 0.6, 0.75, 0.9):
        with start("killed") as process:
            time.sleep(share * seconds)
            process.kill()
    assert start("killed").wait() == 0
    whole = files_of(tmp_path / "undisturbed" / "run")
    assert files_of(tmp_path / "killed" / "run") == whole == files_of(found.folder)


def test_a_precision_flags_fewer_rows_and_is_kept(
    found: kiyome.FindResult, digits: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    shutil.copy(digits[0] / "train.csv", tmp_path / "train.csv")
    oof = found.folder / "oof.csv"
    careful = find(tmp_path / "train.csv", pred_probs=oof, precision=0.9, output=tmp_path / "run")
    wrong = careful.table.given_labels != digits[1]
    assert 0 < careful.num_issues < found.num_issues
    assert wrong[careful.is_label_issue].mean() >= 0.9
    assert not (careful.is_label_issue & ~found.is_label_issue).any()


def test_a_wrong_method_or_precision_is_heard_before_any_work(tmp_path: Path) -> None:
    for options, message in (
        ({"method": "magic"}, "The method .* is unknown. Expected one of adaptive, prune"),
        ({"precision": 90}, "precision=90 is no precision. Expected a number above 0 and below 1"),
        ({"precision": 0.9, "method": "both"}, r"The method both has no precision \(precision=0.9\)"),
    ):
        with pytest.raises(InputError, match=message):
            find(tmp_path / "nowhere", **options)


def test_a_class_smaller_than_the_folds_is_named(digits: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    lines = (digits[0] / "train.csv").read_text().splitlines()
    rows = [line for line in lines[1:60] if not line.endswith(",7")]
    sevens = [line for line in lines[1:] if line.endswith(",7")][:2]
    (tmp_path / "train.csv").write_text("\n".join([lines[0], *rows, *sevens]))
    result = find(
        tmp_path / "train.csv",
        images=digits[0] / "train_images",
        backbone="tiny",
        output=tmp_path / "run",
        cache_folder=tmp_path,
    )
    [note] = [note for note in result.scored.notes if "fewer different photos than folds" in note]
    assert "'7'" in note


def test_a_file_and_a_backbone_exclude_each_other(
    found: kiyome.FindResult, digits: tuple[Path, np.ndarray]
) -> None:
    with pytest.raises(
        InputError, match=r"^--pred-probs is given together with --backbone .* Leave out --pred-probs, or"
    ):
        find(digits[0], pred_probs=found.folder / "oof.csv", backbone="tiny")


@pytest.mark.parametrize(("accuracy", "is_weak"), [(0.7, True), (0.98, False)])
def test_where_doubt_hides_errors_a_rank_is_shown_instead_of_a_probability(
    accuracy: float, is_weak: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    true_labels = np.arange(600) % 2
    labels = np.where(rng.random(600) < 0.04, 1 - true_labels, true_labels)
    probs = simulate_pred_probs(true_labels, 2, rng, accuracy=accuracy)
    ids = [f"{row:03d}.jpg" for row in range(600)]
    rows = zip(ids, labels, strict=True)
    (tmp_path / "train.csv").write_text(
        "image_id,label\n" + "".join(f"{name},{'ab'[label]}\n" for name, label in rows)
    )
    (tmp_path / "oof.csv").write_text(
        "image_id,p_a,p_b\n"
        + "".join(f"{name},{a:.6f},{b:.6f}\n" for name, (a, b) in zip(ids, probs, strict=True))
    )
    result = find(tmp_path / "train.csv", pred_probs=tmp_path / "oof.csv", output=tmp_path / "run")
    show_find(result, 3)
    shown, page = capsys.readouterr().out, (result.folder / "report.html").read_text()
    assert result.doubt_hides_errors == is_weak
    assert ("doubt hides errors here" in shown) == is_weak
    assert ("are probably wrong" in shown) != is_weak
    assert ("suspicion" in shown and "top <1%" in shown) == is_weak
    assert ("cannot tell doubt from errors" in shown) == is_weak  # the note
    assert ("top 0.2\u00a0%" in page) == is_weak
    assert ("may be wrong, or hardly any" in page) == is_weak
    assert ("probability that the label is wrong </span>" in page) != is_weak


def test_photos_of_predictions_are_matched_and_what_is_left_out_is_listed(tmp_path):
    true_labels = write_digits(tmp_path / "digits", num_photos=60)
    table = read_table(tmp_path / "digits/train.csv")
    names = [f"/kaggle/input/{image_id}" for image_id in table.image_ids]
    lines = [f"{name},{label}\n" for name, label in zip(names, true_labels, strict=True)]
    (tmp_path / "digits/labels.csv").write_text("path,label\n" + "".join(lines))
    probs = simulate_pred_probs(true_labels, 10, np.random.default_rng(0))
    rows = [f"{name},{','.join(map(str, each))}\n" for name, each in zip(names, probs.tolist(), strict=True)]
    header = ",".join(["path", *map(str, range(10))])
    (tmp_path / "oof.csv").write_text(f"{header}\n{''.join(rows[2:])}")
    result = find(
        tmp_path / "digits/labels.csv",
        images=tmp_path / "digits/train_images",
        pred_probs=tmp_path / "oof.csv",
        output=tmp_path / "run",
    )
    assert result.table.paths.tolist() == table.paths[2:].tolist()
    assert (
        "60 names in the table differ from those of the photos and were matched: 60 by folder."
        in (result.summary()["notes"])
    )
    assert (tmp_path / "run/skipped.csv").read_text().splitlines() == [
        "file,reason",
        f"{names[0]},no prediction in oof.csv",
        f"{names[1]},no prediction in oof.csv",
    ]
