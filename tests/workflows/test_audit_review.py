"""An audit whose answers were given on the blind page: as good as a filled file, and what goes wrong."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.audit_folder import AUDIT_FILE
from kiyome.cli import app
from kiyome.decisions.consensus import open_store
from kiyome.decisions.items import read_items
from kiyome.decisions.store import Decision
from kiyome.errors import InputError
from kiyome.testing import write_digits
from kiyome.workflows.audit import audit
from kiyome.workflows.audit_sample import SealedSample, audit_sample
from kiyome.workflows.decisions import export_decisions
from kiyome.workflows.find import find

NUM_ROWS = 40


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[SealedSample, list[str]]:
    """A sample, and the true class of each of its rows."""
    place = tmp_path_factory.mktemp("audit")
    truth = write_digits(place / "digits", num_photos=200)
    find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place / "cache")
    sample = audit_sample(place / "run", n=NUM_ROWS)
    return sample, [sample.class_names[label] for label in truth[sample.design.rows]]


@pytest.fixture
def truth(drawn) -> list[str]:
    return drawn[1]


@pytest.fixture
def folder(drawn, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn[0].folder, tmp_path / "run-audit"))


def answer(folder: Path, reviewer: str, said: dict[int, str], version: int = 0) -> None:
    items = read_items(folder)
    (folder / "review").mkdir(exist_ok=True)
    words = ("unsure", "keep", "drop", "both", "none_of_these")
    acts = [
        Decision(
            image_id=items.image_ids[row],
            version=version,
            verdict=word if word in words else "relabel",
            label=None if word in words else word,
        )
        for row, word in said.items()
    ]
    with open_store(folder, items) as opened:
        opened.append(
            acts,
            key=f"{reviewer}{version}{sorted(said)}",
            reviewer=reviewer,
            run="run-audit",
            table_content="",
            seen={},
        )


def test_the_blind_page_and_the_file_give_the_same_audit(folder: Path, truth, tmp_path: Path) -> None:
    said = {**dict(enumerate(truth)), 3: "unsure"}
    answer(folder, "Ann", said)
    by_page = audit(folder)
    with (folder / AUDIT_FILE).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    filled = tmp_path / "filled.csv"
    with filled.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *([*row[:2], said[place]] for place, row in enumerate(rows))])
    by_file = audit(filled, sample=folder)
    assert by_page.score.accuracy_on_true == by_file.score.accuracy_on_true
    assert by_page.answers.tolist() == by_file.answers.tolist()
    assert (by_page.score.num_checked, by_page.score.num_unsure) == (NUM_ROWS, 1)
    told = CliRunner().invoke(app, ["audit", str(folder)])
    assert told.exit_code == 0, told.output
    assert by_page.describe()[0] in told.output


def test_a_stopped_review_is_a_smaller_sample_and_gaps_are_refused(folder: Path, truth) -> None:
    answer(folder, "Ann", dict(list(enumerate(truth))[:20]))
    assert audit(folder).score.num_checked == 20
    answer(folder, "Ann", {25: truth[25]})
    with pytest.raises(InputError, match=r"no answer for 's\w+-0021', .* but for later rows"):
        audit(folder)


def test_disputes_are_named_and_must_be_settled(folder: Path, truth) -> None:
    other = next(name for name in set(truth) if name != truth[2])
    answer(folder, "Ann", dict(enumerate(truth)))
    answer(folder, "Ben", {2: other, 5: "unsure", 7: truth[7]})
    name = read_items(folder).image_ids[2]
    with pytest.raises(
        InputError, match=rf"Reviewers dispute 1 rows \({name}: '{truth[2]}' by Ann, '{other}' by Ben\)"
    ):
        audit(folder)
    told = CliRunner().invoke(app, ["audit", str(folder), "--disputed-unsure"])
    assert told.exit_code == 0, told.output
    assert "Unsure: 1 of 40 rows" in told.output
    answer(folder, "Cyd", {2: truth[2]})
    settled = audit(folder, rule="majority")
    assert (settled.score.num_unsure, settled.answers[2]) == (0, settled.sample.class_names.index(truth[2]))


def test_two_classes_at_once_count_as_unsure(folder: Path, truth) -> None:
    answer(folder, "Ann", {**dict(enumerate(truth)), 0: "both"})
    assert audit(folder).score.num_unsure == 1


def test_none_of_these_counts_as_wrong_for_label_and_model(folder: Path, truth, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    answer(folder, "Ann", dict(enumerate(truth)))
    answer(other, "Ann", {**dict(enumerate(truth)), 0: "none_of_these"})
    before, after = audit(folder), audit(other)
    assert (before.num_none, after.num_none, after.score.num_unsure) == (0, 1, 0)
    assert after.score.labels.noise_rate.value >= before.score.labels.noise_rate.value
    assert after.score.accuracy_on_true.value <= before.score.accuracy_on_true.value
    assert after.summary()["none_of_the_classes"] == 1
    assert any("1 show none of the classes" in sentence for sentence in after.describe())


def test_keep_and_drop_are_no_answers(folder: Path) -> None:
    answer(folder, "Ann", {0: "drop"})
    with pytest.raises(InputError, match="The answer is keep or drop for"):
        audit(folder)


def test_answers_are_in_one_place(folder: Path, truth) -> None:
    answer(folder, "Ann", dict(enumerate(truth)))
    text = (folder / AUDIT_FILE).read_text("utf-8").splitlines()
    text[1] += truth[0]
    (folder / AUDIT_FILE).write_text("\n".join(text), "utf-8")
    with pytest.raises(InputError, match="There are answers both in"):
        audit(folder)


def test_what_goes_out_of_an_audit_tells_no_label_that_is_sealed(folder: Path, truth, tmp_path: Path) -> None:
    answer(folder, "Ann", {0: truth[0]})
    export_decisions(folder, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        [line] = csv.DictReader(file)
    assert (line["given_label"], line["label"], line["decision"]) == ("", truth[0], "relabel")


def test_an_unanswered_review_leaves_the_file_to_speak(folder: Path) -> None:
    with pytest.raises(InputError, match="has no answers"):
        audit(folder)
    assert np.all([not path.name.startswith("decisions") for path in folder.rglob("*")])
