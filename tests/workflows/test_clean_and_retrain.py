"""The second round from photos to the diary, and how it goes on after a kill."""

from pathlib import Path

import numpy as np
import pytest

from kiyome.artifacts.run import verify_run
from kiyome.cli.render import show_clean_and_retrain
from kiyome.testing import write_digits
from kiyome.workflows.clean_and_retrain import clean_and_retrain

SMALL = ("architecture=tiny", "image_size=32", "epochs=2", "average_last=1", "batch_size=32")
SMALL = (*SMALL, "precision=float32", "num_folds=3", "views=1", "drop_path=0.0", "plain_last=0")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("second") / "digits"
    write_digits(folder, num_photos=150, side=32)
    return folder


@pytest.mark.parametrize("action", ["keep", "soften"])
def test_every_step_is_in_the_diary_with_its_score(
    digits: Path, tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decided = tmp_path / "decided.csv"
    decided.write_text("image_id,decision,label\ndigit_0000.png,relabel,1\ndigit_0001.png,relabel,1\n")

    def second_round():
        return clean_and_retrain(
            digits,
            changes=[*SMALL, "loss=ce"],
            action=action,
            min_chance=0.9,
            max_left_out=0.4,
            decisions=decided,
            output=tmp_path / "runs",
            cache_folder=tmp_path / "cache",
        )

    result = second_round()
    assert [entry.run for entry in result.history.entries] == [
        "first",
        "found",
        "curated",
        "again",
        "blended",
    ]
    scored = [entry.accuracy_on_given.num_rows for entry in result.history.entries if entry.accuracy_on_given]
    assert scored == [150] * 4
    assert np.array_equal(result.again.table.given_labels, result.first.table.given_labels)
    changed = result.again.table.labels != result.again.table.given_labels
    assert changed.any()
    assert set(np.flatnonzero(changed)) <= {0, 1}
    assert result.curated.curated.by_people.sum() == 2
    assert verify_run(tmp_path / "runs" / "curated")["config"]["max_left_out"] == 0.4
    assert (tmp_path / "runs" / "diary.html").is_file()
    show_clean_and_retrain(result)
    kept = "label_smoothing = 0.1 of the recipe stays for cross_entropy; loss_options={} leaves it out"
    assert kept in result.summary()["notes"]
    assert capsys.readouterr().out.count(f"note: {kept}\n") == 1
    assert second_round().history.entries == result.history.entries  # all of it is taken as it is
