"""`find --with`: predictions of other runs are blended in where held-out rows say that they help."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import write_text
from kiyome.artifacts.table_files import write_table
from kiyome.cli import app
from kiyome.decisions.consensus import open_store
from kiyome.decisions.events import Decision
from kiyome.decisions.items import read_items
from kiyome.errors import InputError, KiyomeError
from kiyome.testing import write_digits
from kiyome.workflows.blend import blend
from kiyome.workflows.find import find
from kiyome.workflows.find_result import FindResult
from kiyome.workflows.predict import predict

N, K = 600, 3
TRUE = np.arange(N) % K


@pytest.fixture
def weak(leaves, run_of, tmp_path: Path) -> Path:
    return run_of(tmp_path / "weak", leaves(), right=0.7)


@pytest.fixture
def good(leaves, run_of, tmp_path: Path) -> Path:
    return run_of(tmp_path / "good", leaves(), right=0.97, seed=2)


def find_with(weak: Path, *runs: Path, output: str = "found") -> FindResult:
    """Find with the predictions of a weak model, and others beside it."""
    return find(
        weak / "table.parquet", pred_probs=weak / "oof.npy", with_runs=runs, output=weak.parent / output
    )


@pytest.fixture(autouse=True)
def own_predictions(weak: Path) -> None:
    np.save(weak / "oof.npy", np.load(weak / "predictions" / "pred_probs.npy"))


def f1(found: FindResult) -> float:
    flagged, wrong = found.is_label_issue, found.given_labels != TRUE
    return float(2 * (flagged & wrong).sum() / (flagged.sum() + wrong.sum()))


def test_a_better_run_is_blended_in_and_named(weak: Path, good: Path) -> None:
    alone, both = find_with(weak, output="alone"), find_with(weak, good)
    assert f1(both) > f1(alone) + 0.2
    (other,) = both.scored.others
    assert (other.run, other.helps) == ("good", True)
    assert other.weight > 0.5
    assert other.describe() in dict(both.scored.facts)["other run good"]
    assert dict(both.scored.facts)["other runs were tested on"] == "given labels, held out"
    written = json.loads((both.folder / "noise.json").read_text())
    assert written["with"][0]["gain"] == pytest.approx(other.gain)
    assert "other run good" in (both.folder / "report.html").read_text()
    assert Predictions.load(both.folder / "predictions", both.table).source.endswith("; with good")
    again = find_with(weak, good)
    assert np.array_equal(again.pred_probs, both.pred_probs)
    assert blend([both.folder, good]).folder.name == "found-blend"


def test_runs_that_do_not_help_change_nothing(leaves, run_of, weak: Path, tmp_path: Path) -> None:
    blind = run_of(tmp_path / "blind", leaves(), right=0.0, seed=3)
    alone, both = find_with(weak, output="alone"), find_with(weak, weak, blind)
    assert np.array_equal(alone.pred_probs, both.pred_probs)
    assert np.array_equal(alone.ranking, both.ranking)
    assert [each.weight for each in both.scored.others] == [0, 0]
    assert "left out: log loss" in dict(both.scored.facts)["other run blind"]
    assert "with" not in json.loads((alone.folder / "noise.json").read_text())


def test_labels_that_people_decided_judge(leaves, run_of, weak: Path, tmp_path: Path) -> None:
    repeats = run_of(tmp_path / "repeats", leaves(), right=2)  # all given labels, the wrong ones too
    assert find_with(weak, repeats).scored.others[0].weight > 0.5
    reviewed = find_with(weak, output="reviewed").folder
    items = read_items(reviewed)
    wrong = np.flatnonzero(leaves().given_labels != TRUE)
    (reviewed / "review").mkdir()
    acts = [
        Decision(image_id=items.image_ids[row], verdict="relabel", label=items.class_names[TRUE[row]])
        for row in wrong.tolist()
    ]
    acts += [Decision(image_id=items.image_ids[row], verdict="drop") for row in (0, 1)]
    with open_store(reviewed, items) as store:
        store.append(
            acts,
            key="a",
            reviewer="Ann",
            run="run",
            table_content=items.table_content,
            seen={},
            milliseconds=1500,
        )
    judged = find_with(weak, repeats, reviewed, output="judged")
    assert [each.weight for each in judged.scored.others] == [0, 0]
    assert dict(judged.scored.facts)["other runs were tested on"] == (
        f"{len(wrong)} labels that people decided, held out"
    )


def test_the_folds_are_those_of_the_run(leaves, run_of, tmp_path: Path) -> None:
    features = (np.random.default_rng(0).normal(size=(N, 8)) + 4 * np.eye(K, 8)[TRUE]).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    table = leaves(folds=None)
    write_table(table, tmp_path / "train.parquet")
    runs = tmp_path / "runs"
    first = find(tmp_path / "train.parquet", features=tmp_path / "features.npy", output=runs / "first")
    own = run_of(runs / "own", leaves(folds=np.arange(N) % 4), right=0.9)
    found = find(
        tmp_path / "train.parquet",
        features=tmp_path / "features.npy",
        with_runs=[own],
        output=runs / "found",
    )
    assert np.array_equal(found.table.folds, np.arange(N) % 4)
    assert not np.array_equal(found.table.folds, first.table.folds)


def test_heads_that_are_only_a_part_predict_no_photos(tmp_path: Path) -> None:
    true = write_digits(tmp_path / "digits", num_photos=200)
    how = {"backbone": "tiny", "cache_folder": tmp_path / "cache"}
    alone = find(tmp_path / "digits", output=tmp_path / "alone", **how)
    assert alone.scored.heads is not None
    probs = 0.05 + 0.5 * np.eye(10)[true]
    with RunFolder.create_or_reopen(tmp_path / "good", command="train", config={}, table=alone.table) as run:
        write_table(alone.table, run.path / "table.parquet")
        Predictions(
            pred_probs=probs, kind="out_of_fold", source="t", table_fingerprint=alone.table.fingerprint
        ).save(run.path / "predictions")
    both = find(tmp_path / "digits", with_runs=[tmp_path / "good"], output=tmp_path / "both", **how)
    assert both.scored.heads is None
    assert any("predicts no new photos" in note for note in both.scored.notes)
    with pytest.raises(InputError, match=r"has no models\..* one without --with\."):
        predict(both.folder, tmp_path / "digits")


def test_runs_that_cannot_be_used_are_refused(leaves, run_of, weak: Path, good: Path, tmp_path: Path) -> None:
    def refused(*runs: Path) -> str:
        with pytest.raises(KiyomeError) as error:
            find_with(weak, *runs, output="refused")
        assert not (tmp_path / "refused").exists()
        return str(error.value)

    assert "There is no run at" in refused(tmp_path / "nothing")
    assert "is named twice" in refused(good, good)
    other = run_of(tmp_path / "other", replace(leaves(), class_names=("a", "b", "c")))
    message = refused(other)
    assert "is a run on another table" in message
    assert "leave out --with" in message
    leaky = run_of(tmp_path / "leaky", leaves())
    with RunFolder.create_or_reopen(leaky, command="train", config={}, table=leaves()) as run:
        write_text(run.path / "train.json", json.dumps({"leaks": ["labels reached it"]}))
    assert re.search(
        r"leaks labels into its predictions \(labels reached it\)\..*Leave out --with", refused(leaky)
    )
    own_folds = run_of(tmp_path / "own_folds", leaves(folds=np.arange(N) % 4))
    with pytest.raises(InputError, match=r"has other folds than .*own_folds\. .* has the folds\."):
        find_with(weak, own_folds)


def test_the_command_takes_several_and_refuses_a_new_split(weak: Path, good: Path, tmp_path: Path) -> None:
    command = ["find", str(weak / "table.parquet"), "--pred-probs", str(weak / "oof.npy")]
    command += ["--with", str(good), "--with", str(weak), "-o", str(tmp_path / "found")]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0, answer.output
    assert re.search(r"other run good +weight 0\.\d\d: log loss", answer.output)
    assert re.search(r"other run weak +left out: log loss", answer.output)
    answer = CliRunner().invoke(app, [*command, "--folds", "3"])
    assert answer.exit_code == 2
    assert "--with is given together with --folds or --seed." in answer.output
