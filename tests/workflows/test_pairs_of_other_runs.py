"""Pairs behind nested forms are trained once: a run beside gets copies, byte for byte, and says so."""

import dataclasses
import io
import json
import os
import shutil

import numpy as np
import pytest
from rich.console import Console

from kiyome.artifacts.manifest import read_manifest, write_manifest
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table_files import write_table
from kiyome.cli.member_table import watching
from kiyome.folds import assign_folds
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from kiyome.workflows.train import train

SMALL = ("architecture=tiny", "image_size=16", "epochs=1", "batch_size=16", "precision=float32")
FLAGS = ("flag_method=predicted_neq_given", "leave_out=nested")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """60 digits of three classes in three folds, and a run of nested cleaning."""
    folder = tmp_path_factory.mktemp("pairs")
    write_digits(folder / "data", num_photos=60, side=16)
    table = read_table(folder / "data")
    labels = table.labels % 3
    table = dataclasses.replace(
        table, given_labels=labels, labels=labels, class_names=("zero", "one", "two"), label_texts=()
    )
    write_table(table.with_folds(assign_folds(table.labels, num_folds=3)), folder / "digits.csv")
    run_train(folder, folder / "runs" / "a")
    return folder


def run_train(place, output, *changes, **options):
    """A run of nested cleaning, and the stages that it went through."""
    stages = set()
    result = train(
        place / "digits.csv",
        images=place / "data" / "train_images",
        changes=[*SMALL, *FLAGS, *changes],
        output=output,
        cache_folder=place / "cache",
        on_progress=options.pop("on_progress", lambda stage, *_: stages.add(stage)),
        **options,
    )
    return result, {stage for stage in stages if "+" in stage}


def pairs_of(run):
    """Each file of the run's pairs with its bytes, and what member.json says but of its origin."""
    files = {
        str(path.relative_to(run)): path.read_bytes()
        for path in (run / "nested" / "members").rglob("*")
        if path.is_file() and path.name != "member.json" and not path.name.startswith(".")
    }
    facts = {
        path.parent.name: {**json.loads(path.read_text()), "recipe": None, "taken_from": None}
        for path in run.glob("nested/members/*/member.json")
    }
    return files, facts


def test_a_changed_share_takes_the_pairs_of_the_run_beside_and_says_so(place, tmp_path):
    again, trained = run_train(place, place / "runs" / "b", "max_left_out=0.2")
    alone, trained_alone = run_train(place, tmp_path / "elsewhere", "max_left_out=0.2")
    assert (len(trained), len(trained_alone)) == (0, 3)
    note = "quick-clean: 3 of 3 pairs of folds were trained in a and copied from there"
    assert (again.notes.count(note), alone.notes.count(note)) == (1, 0)
    assert pairs_of(again.folder) == pairs_of(alone.folder) == pairs_of(place / "runs" / "a")
    assert again.predictions.pred_probs.tobytes() == alone.predictions.pred_probs.tobytes()
    verify_run(again.folder)
    resumed, _ = run_train(place, place / "runs" / "b", "max_left_out=0.2")
    assert resumed.notes == again.notes


def reseal(pair, **facts):
    """Write member.json anew, with the digests of the files as they are."""
    known = json.loads((pair / "member.json").read_text())
    known["files"] = {name: sha256_of_file(pair / name) for name in known["files"]}
    (pair / "member.json").write_text(json.dumps(known | facts))


def other_probs(pair, change):
    np.save(pair / "pred_probs.npy", change(np.load(pair / "pred_probs.npy")))
    reseal(pair)


def pipe_for_seal(pair):
    (pair / "member.json").unlink()
    os.mkfifo(pair / "member.json")


SPOILED = {
    "a byte of a file changed": lambda pair: (pair / "metrics.jsonl").write_text("{}\n"),
    "a file is gone": lambda pair: (pair / "pred_probs.npy").unlink(),
    "no JSON": lambda pair: (pair / "member.json").write_text("[" * 100_000),
    "a list": lambda pair: (pair / "member.json").write_text("[1]"),
    "a pipe": pipe_for_seal,
    "other versions": lambda pair: reseal(pair, versions={"torch": "1.0"}),
    "other threads": lambda pair: reseal(pair, threads=1000),
    "no surroundings": lambda pair: reseal(pair, processor=None),
    "a way out": lambda pair: reseal(pair, files={"../../../../stolen": "0" * 64}),
    "an absolute name": lambda pair: reseal(pair, files={"/etc/hostname": "0" * 64}),
    "nothing listed": lambda pair: reseal(pair, files={}),
    "other rows": lambda pair: other_probs(pair, lambda probs: probs[1:]),
    "not finite": lambda pair: other_probs(pair, lambda probs: probs * np.nan),
    "pickled": lambda pair: other_probs(pair, lambda probs: probs.astype(object)),
}


def test_what_is_spoiled_is_trained_and_what_is_whole_beside_it_taken(place, tmp_path, monkeypatch):
    """Each spoiled run by itself would be enough to take from, were it sound."""
    pairs = sorted(
        path.name for path in (place / "runs" / "a" / "nested" / "members").iterdir() if path.is_dir()
    )
    for number, spoil in enumerate(SPOILED.values()):
        copy = tmp_path / "runs" / f"spoiled-{number:02}"
        shutil.copytree(place / "runs" / "a", copy)
        spoil(copy / "nested" / "members" / pairs[0])
        for pair in pairs[1:]:
            shutil.rmtree(copy / "nested" / "members" / pair)
    (tmp_path / "runs" / "a file").write_text("no run")
    shutil.copytree(place / "runs" / "a", tmp_path / "runs" / "of a stranger")
    manifest = read_manifest(place / "runs" / "a")
    del manifest["signature"]
    monkeypatch.setenv("KIYOME_SEAL_KEY", "theirs")
    write_manifest(tmp_path / "runs" / "of a stranger", manifest)
    monkeypatch.delenv("KIYOME_SEAL_KEY")
    result, trained = run_train(place, tmp_path / "runs" / "new")
    assert len(trained) == 3
    assert not any("copied from" in note for note in result.notes)
    assert pairs_of(result.folder) == pairs_of(place / "runs" / "a")
    assert {path.name for path in (result.folder / "nested" / "members" / pairs[0]).iterdir()} == {
        path.name for path in (place / "runs" / "a" / "nested" / "members" / pairs[0]).iterdir()
    }
    last, trained = run_train(place, tmp_path / "runs" / "last")
    assert not trained  # the whole ones are found among all these
    assert any("3 of 3 pairs of folds were trained in new" in note for note in last.notes)


def test_what_is_to_be_trained_is_told_before_the_first_pair(place, tmp_path):
    said = io.StringIO()
    with watching(Console(file=said, force_terminal=False)) as (on_progress, on_event):
        run_train(place, tmp_path / "run", on_progress=on_progress, on_event=on_event)
    lines = said.getvalue().splitlines()
    first = next(at for at, line in enumerate(lines) if "-fold" in line)
    assert lines[first - 1] == "to train: 3 pairs of folds, 3 members"
    assert "0:00 left in all" not in lines[first + 2]  # the members count as well
