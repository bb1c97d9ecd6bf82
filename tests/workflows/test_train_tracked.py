"""Trackers and listeners of a whole training: nothing of the result depends on who listens."""

import json

import numpy as np
import pytest

from kiyome.artifacts.run import verify_run
from kiyome.cli import main
from kiyome.errors import InputError
from kiyome.testing import write_digits
from kiyome.workflows.train import train

SMALL = ["architecture=tiny", "image_size=32", "epochs=2", "batch_size=32", "precision=float32", "views=1"]
SMALL += ["num_folds=2", "average_last=1", "drop_path=0.0", "plain_last=0"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of 60 digits."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", num_photos=60, side=32)
    return folder


def test_a_tracked_run_is_sealed_and_its_trackers_may_write_on(digits, tmp_path):
    pytest.importorskip("tensorboard")
    given = {"changes": SMALL, "cache_folder": digits / "cache"}
    plain = train(digits / "data", output=tmp_path / "plain", **given)
    tracked = train(digits / "data", output=tmp_path / "tracked", trackers=["tensorboard"], **given)
    assert np.array_equal(plain.predictions.pred_probs, tracked.predictions.pred_probs)
    files, own = (verify_run(each.folder)["files"] for each in (plain, tracked))
    assert {name for name in own if own[name] != files.get(name)} == {"train.json"}  # it names its folder
    [events] = (tmp_path / "tracked" / "tracking" / "tensorboard" / "quick-fold0-seed0").glob("events*")
    events.write_bytes(events.read_bytes() + b"more")
    verify_run(tmp_path / "tracked")


def test_a_tracker_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(
        InputError, match=r"The tracker .* is unknown. Expected one of wandb, trackio, tensorboard, mlflow"
    ):
        train(tmp_path / "nothing", trackers=["tensorbord"])


def test_listeners_hear_of_members_that_another_process_sees_to(digits, tmp_path):
    heard = []
    given = {"changes": SMALL, "cache_folder": digits / "cache", "output": tmp_path / "run"}
    train(digits / "data", members=["fold=1"], **given)
    train(digits / "data", members=["fold=0"], on_event=heard.append, **given)
    told = [(event.member[6:11], event.state, len(event.metrics)) for event in heard]
    assert told[0] == ("fold0", "waiting", 0)
    assert set(told[1::2]) == {("fold1", "finished", 2)}
    assert told[2::2] == [
        ("fold0", "learning", 0),
        ("fold0", "learning", 1),
        ("fold0", "learning", 2),
        ("fold0", "predicting", 2),
        ("fold0", "finished", 2),
    ]


def test_the_command_line_tells_epochs_on_stderr_and_one_document_on_stdout(
    digits, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("KIYOME_CACHE", str(digits / "cache"))
    options = ["--tracker", "tensorboard", "--json", "-o", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", ["kiyome", "train", str(digits / "data"), *SMALL, *options])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    assert left.value.code in (0, None), said.err
    assert json.loads(said.out)["members"] == ["quick-fold0-seed0", "quick-fold1-seed0"]
    assert "quick-fold1-seed0  epoch 2/2  loss " in said.err
    assert "quick-fold1-seed0  done\n" in said.err
    assert (tmp_path / "run" / "tracking" / "tensorboard").is_dir()
