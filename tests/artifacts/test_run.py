import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kiyome.artifacts.manifest import read_manifest, write_manifest
from kiyome.artifacts.run import RunFolder, verify_run
from kiyome.artifacts.storage import write_bytes, write_text
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, RunBusy, StaleArtifact

CONFIG = {"seed": 0, "backbone": "tiny", "source": Path("photos")}


def table(**changes):
    columns = {
        "root": Path(),
        "image_ids": ["a", "b"],
        "paths": ["", ""],
        "given_labels": [0, 1],
        "class_names": ("健康", "blight"),
    }
    return Table(**columns | changes)


def open_run(path, *, command="find", config=CONFIG, of=None, named_by_user=True):
    return RunFolder.create_or_reopen(
        path, command=command, config=config, table=of or table(), named_by_user=named_by_user
    )


def finished_run(path, **options):
    with open_run(path, **options) as run:
        write_text(run.path / "label_issues.csv", "rank\n1\n")
        (run.path / "inner").mkdir(exist_ok=True)
        write_bytes(run.path / "inner" / os.fsdecode(b"caf\xe9.bin"), bytes(range(64)))
    return run.path


def contents(folder):
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.json"
    }


def test_the_manifest_records_how_the_run_was_made(tmp_path):
    manifest = verify_run(finished_run(tmp_path / "run"))
    assert manifest["command"] == "find"
    assert manifest["config"] == {"seed": 0, "backbone": "tiny", "source": "photos"}
    assert manifest["table"]["fingerprint"] == table().fingerprint
    assert manifest["table"]["classes"] == ["健康", "blight"]
    assert {"python", "numpy", "pyarrow", "kiyome"} <= manifest["versions"].keys()
    assert manifest["files"]["label_issues.csv"]["size"] == 7
    assert set(manifest["files"]) == {"label_issues.csv", "inner/caf%E9.bin"}
    assert manifest["started"] <= manifest["finished"]
    assert "健康" in (tmp_path / "run/run.json").read_text()


def test_the_commit_of_the_users_folder_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verify_run(finished_run(tmp_path / "without"))["commit"] is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert verify_run(finished_run(tmp_path / "with"))["commit"] == head


def test_the_same_run_comes_back_to_its_folder_and_writes_the_same(tmp_path):
    folder = finished_run(tmp_path / "run")
    before = contents(folder)
    assert finished_run(tmp_path / "run", named_by_user=False) == folder
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"config": CONFIG | {"seed": 1}},
            r"run holds a run with other settings \(seed: 0 there, 1 now\). Name another folder",
        ),
        ({"config": CONFIG | {"folds": 5}}, r"a run with other settings \(folds: nothing there, 5 now\)"),
        ({"command": "check"}, "holds a run of 'find'"),
        ({"of": table(given_labels=[1, 0])}, "a run on another table"),
    ],
)
def test_another_run_is_refused_or_gets_the_next_free_name(tmp_path, options, message):
    finished_run(tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(InputError, match=message):
        finished_run(tmp_path / "run", **options)
    assert finished_run(tmp_path / "run", **options, named_by_user=False) == tmp_path / "run-2"
    assert finished_run(tmp_path / "run", **options, named_by_user=False) == tmp_path / "run-2"
    third = finished_run(tmp_path / "run", config={"other": 1}, named_by_user=False)
    assert third == tmp_path / "run-3"
    assert contents(tmp_path / "run") == before


MODELS = [
    {"name": "a", "epochs": 3, "loss_options": {}, "about": "words " * 300},
    {"name": "b", "epochs": 3, "loss_options": {"label_smoothing": 0.1}},
]


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        ([MODELS[0], MODELS[1] | {"epochs": 5}], "recipes.b.epochs: 3 there, 5 now"),
        (
            [MODELS[0] | {"loss_options": {"q": 1}}, MODELS[1] | {"loss_options": {}}],
            "(recipes.a.loss_options.q: nothing there, 1 now; recipes.b.loss_options.label_smoothing: 0.1 th",
        ),
        (MODELS[:1], "recipes: ['a', 'b'] there, ['a'] now"),
        (MODELS[::-1], "recipes: ['a', 'b'] there, ['b', 'a'] now"),
        ([], "recipes: [{'name': 'a', 'epochs': 3, 'loss_options': {}, 'about': ... there, [] now"),
        (None, "now"),
        ([MODELS[0] | {"about": "other " * 300}, MODELS[1]], "recipes.a.about: 'words words"),
        (
            [MODELS[0] | {str(key): key for key in range(50)}, MODELS[1]],
            "recipes.a.4: nothing there, 4 now; 45 more",
        ),
    ],
)
def test_only_the_settings_that_differ_are_shown(tmp_path, recipes, message):
    finished_run(tmp_path / "run", config={"recipes": MODELS, "seed": 0})
    with pytest.raises(InputError) as caught:
        finished_run(tmp_path / "run", config={"recipes": recipes, "seed": 0})
    shown = caught.value.problem.replace(str(tmp_path), "")
    assert message in shown
    assert "seed" not in shown
    assert len(shown) < 400


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds files that are no run, such as 'mine.txt'. Name another"):
        finished_run(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        finished_run(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    verify_run(finished_run(tmp_path / "empty"))


def test_one_flipped_bit_in_any_file_is_named(tmp_path):
    folder = finished_run(tmp_path / "run")
    verify_run(folder)
    for path in (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"):
        whole = path.read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 50)):
            for bit in (0, 3, 5):
                damaged = bytearray(whole)
                damaged[position] ^= 1 << bit
                path.write_bytes(damaged)
                shown = {
                    "run.json": r"no sound run.json",
                    "label_issues.csv": r"label_issues.csv is missing or was changed",
                }
                with pytest.raises(
                    StaleArtifact, match=shown.get(path.name, r"inner/caf%E9.bin is missing or was changed")
                ):
                    verify_run(folder)
        path.write_bytes(whole)
    verify_run(folder)


def test_a_run_that_fails_before_its_first_result_gives_its_name_back(tmp_path):
    def run(seed, *, is_sound):
        options = {"command": "find", "config": {"seed": seed}, "table": table()}
        with RunFolder.create_or_reopen(tmp_path / "run", **options) as folder:
            if not is_sound:
                raise ValueError("a bad file")
            write_text(folder.path / "answer.txt", "42")

    with pytest.raises(ValueError, match="a bad file"):
        run(0, is_sound=False)
    run(1, is_sound=True)
    with pytest.raises(ValueError, match="a bad file"):
        run(1, is_sound=False)  # its result of before stays
    with pytest.raises(InputError, match="seed"):
        run(2, is_sound=True)


def test_a_missing_file_and_a_cut_off_run_are_named(tmp_path):
    folder = finished_run(tmp_path / "run")
    (folder / "label_issues.csv").unlink()
    with pytest.raises(
        StaleArtifact, match=r"label_issues.csv is missing or was changed in .* Run the command again"
    ):
        verify_run(folder)

    def fail_halfway():
        with open_run(tmp_path / "cut") as run:
            write_text(run.path / "answer.txt", "42")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    with pytest.raises(StaleArtifact, match=r"a run.json of an interrupted run"):
        verify_run(tmp_path / "cut")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StaleArtifact, match=r"has no sound run.json"):
        verify_run(tmp_path / "empty")


def test_a_run_that_is_not_there_leads_to_those_beside(tmp_path):
    with pytest.raises(StaleArtifact, match=r"no run at .*leaves\. Check the path\."):
        verify_run(tmp_path / "leaves")
    finished_run(tmp_path / "leaves-train")
    with pytest.raises(StaleArtifact, match=r"Runs beside it: leaves-train\. Did you mean leaves-train\?"):
        verify_run(tmp_path / "leaves-trian")


def test_other_versions_are_reported_when_a_run_is_reopened(tmp_path):
    folder = finished_run(tmp_path / "run")
    with open_run(folder) as run:
        assert run.changed_versions == {}
    manifest = read_manifest(folder)
    assert manifest is not None
    manifest["versions"] |= {"numpy": "1.0", "gone": "2.0"}
    write_manifest(folder, manifest)
    with open_run(folder) as run:
        assert run.changed_versions["numpy"][0] == "1.0"
        assert run.changed_versions["gone"] == ("2.0", "none")


RUNNER = """
import sys, time
from pathlib import Path
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import write_text
from kiyome.artifacts.table import Table

table = Table(root=Path(), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1], class_names=("x", "y"))
with RunFolder.create_or_reopen(sys.argv[1], command="find", config={}, table=table) as run:
    print("held", flush=True)
    for name in range(int(sys.argv[2])):
        write_text(run.path / f"{name}.txt", f"result {name}" * 2000)
    if len(sys.argv) > 3:
        time.sleep(60)
"""


def start(folder, *arguments):
    command = [sys.executable, "-c", RUNNER, str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_second_process_is_refused_and_the_lock_dies_with_its_owner(tmp_path):
    owner = start(tmp_path / "run", 1, "wait")
    assert owner.stdout.readline() == b"held\n"
    second = start(tmp_path / "run", 1)
    assert b"RunBusy: Another process is writing" in second.communicate()[1]
    with pytest.raises(RunBusy, match="Wait for it, or name another folder"):
        busy_run(tmp_path / "run")
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    third = start(tmp_path / "run", 1)
    assert third.communicate()[1] == b""
    verify_run(tmp_path / "run")


def busy_run(folder):
    of = table(class_names=("x", "y"))
    with open_run(folder, config={}, of=of):
        pass


def test_a_run_that_was_killed_often_ends_like_one_that_was_not(tmp_path):
    assert start(tmp_path / "whole", 40).communicate()[1] == b""
    for attempt in range(8):
        process = start(tmp_path / "killed", 40)
        process.stdout.readline()
        time.sleep(0.01 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert start(tmp_path / "killed", 40).communicate()[1] == b""
    one, other = verify_run(tmp_path / "whole"), verify_run(tmp_path / "killed")
    assert one["files"] == other["files"]
    assert len(one["files"]) == 40
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert names == {"run.json", ".lock", *(f"{number}.txt" for number in range(40))}


def test_the_manifest_is_plain_json(tmp_path):
    folder = finished_run(tmp_path / "run", config={"source": os.fsdecode(b"caf\xe9")})
    assert (
        list(json.loads((folder / "run.json").read_bytes().decode("utf-8", "surrogateescape")))[-1] == "seal"
    )
    assert finished_run(folder, config={"source": os.fsdecode(b"caf\xe9")}) == folder
