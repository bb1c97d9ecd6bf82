"""A training that was told to stop in time: whole epochs, and the same call goes on to the same result."""

import json
from time import time

import pytest
from typer.testing import CliRunner

from kiyome.artifacts.run import verify_run
from kiyome.cli import app
from kiyome.errors import InputError, StaleArtifact, TimeLimitReached
from kiyome.testing import write_digits
from kiyome.training.processes import TimeLimit
from kiyome.workflows.clean_and_retrain import clean_and_retrain
from kiyome.workflows.train import train

SMALL = (
    *("architecture=tiny", "image_size=32", "epochs=2", "batch_size=32", "precision=float32"),
    *("num_folds=3", "views=1", "plain_last=0", "drop_path=0.0", "average_last=1"),
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "data"
    write_digits(folder, num_photos=120, side=32)
    return folder


@pytest.fixture(scope="module")
def whole(digits):
    """Digests of a training that nobody stopped."""
    return digests(trained(digits, digits.parent / "whole"))


def trained(data, output, **more):
    how = {"changes": SMALL, "cache_folder": data.parent / "cache"} | more
    return train(data, output=output, **how).folder


def digests(run):
    files = verify_run(run)["files"]
    return {name: facts["sha256"] for name, facts in files.items() if name != "train.json"}  # it says where


class Clock:
    """A limit of hours that is reached when so many epochs have passed, however fast the machine is."""

    def __init__(self, *, epochs: int) -> None:
        self.limit, self._epochs = TimeLimit.of("8h"), epochs

    def on_event(self, event):
        self._epochs -= event.state == "learning" and len(event.metrics) > 0
        if self._epochs == 0:
            self.limit.ends = time()


@pytest.mark.parametrize("form", ["plain", "nested"])
def test_it_stops_after_a_whole_epoch_and_goes_on_to_the_same_result(form, digits, whole, tmp_path):
    changes = [*SMALL, "soft_labels=nested"] if form == "nested" else SMALL
    clock = Clock(epochs=3)
    with pytest.raises(TimeLimitReached) as stopped:
        trained(digits, tmp_path / "run", changes=changes, stop_after=clock.limit, on_event=clock.on_event)
    assert str(stopped.value) == (
        "Training stopped at its limit of 8h. 1 of 3 members are finished, every whole epoch is in"
        f" {tmp_path / 'run'}. The same command resumes there, to the same result."
    )
    assert stopped.value.folder == tmp_path / "run"
    root = tmp_path / "run" / ("nested/members" if form == "nested" else "members")
    assert len(list(root.glob("*/member.json"))) == 1
    assert [path.name for path in root.glob("*/checkpoints/*.json")] == ["epoch-0001.json"]
    with pytest.raises(StaleArtifact, match="an interrupted run"):
        verify_run(tmp_path / "run")
    if form == "plain":
        assert digests(trained(digits, tmp_path / "run", stop_after="8h")) == whole


def test_after_the_last_epoch_predicting_waits_for_the_next_call(digits, whole, tmp_path):
    clock = Clock(epochs=2)
    with pytest.raises(TimeLimitReached, match=r"0 of 3 members are finished"):
        trained(digits, tmp_path / "run", stop_after=clock.limit, on_event=clock.on_event)
    assert len(list((tmp_path / "run").glob("members/*/checkpoints/epoch-0002.json"))) == 1
    told = []
    assert digests(trained(digits, tmp_path / "run", on_event=told.append)) == whole
    assert [event.state for event in told if "fold0" in event.member].count("learning") == 1


@pytest.mark.slow
def test_processes_begin_no_member_after_the_limit(digits, whole, tmp_path):
    over = TimeLimit(text="1h", ends=time())
    with pytest.raises(TimeLimitReached, match=r"limit of 1h. 0 of 3 members are finished"):
        trained(digits, tmp_path / "run", executor="processes:1", stop_after=over)
    assert not list((tmp_path / "run" / "members").glob("*/checkpoints"))
    assert digests(trained(digits, tmp_path / "run")) == whole


@pytest.mark.slow
def test_both_trainings_of_the_second_round_share_the_limit(digits, tmp_path):
    how = {"changes": SMALL, "action": "keep", "output": tmp_path / "runs"}
    how["cache_folder"] = digits.parent / "cache"
    clock = Clock(epochs=7)
    with pytest.raises(TimeLimitReached) as stopped:
        clean_and_retrain(digits, stop_after=clock.limit, on_event=clock.on_event, **how)
    assert stopped.value.folder == tmp_path / "runs" / "again"
    assert len(clean_and_retrain(digits, **how).history.entries) == 5


def test_the_command_line_ends_with_a_code_and_a_line_of_their_own(digits, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("KIYOME_CACHE", str(digits.parent / "cache"))
    command = ["train", str(digits), *SMALL, "-o", str(tmp_path / "run")]
    stopped = CliRunner().invoke(app, [*command, "--stop-after", "0.001s"])
    assert stopped.exit_code == 75
    assert "\nTraining stopped at its limit of 0.001s. 0 of 3 members" in stopped.stderr
    assert stopped.stderr.endswith("The same command resumes there, to the same result.\n")
    stopped = CliRunner().invoke(app, [*command, "--stop-after", "0.001s", "--json"])
    assert stopped.exit_code == 75
    assert json.loads(stopped.stdout)["error"]["kind"] == "TimeLimitReached"
    assert CliRunner().invoke(app, command).exit_code == 0
    assert digests(tmp_path / "run") == whole


@pytest.mark.parametrize("text", ["8", "8 hours", "h", "-1h", "8h30m", ""])
def test_another_form_of_a_time_is_told_before_anything_is_read(text, tmp_path):
    with pytest.raises(InputError, match=r"limit '.*' is not a number with h, m or s\. Write 8h, 30m or 90s"):
        train(tmp_path / "none", stop_after=text)


def test_an_epoch_that_would_end_too_late_is_not_begun():
    limit = TimeLimit.of("100s")
    limit.count_epoch(90)
    limit.count_epoch(10)
    assert not limit.is_reached
    limit.count_epoch(101)
    assert limit.is_reached
