"""From rows that nobody labeled to an honest score: sample, blind page, answers of people, estimate."""

import csv
import http.cookiejar
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.table import UNLABELED
from kiyome.cli import app
from kiyome.reading.finished_run import open_run
from kiyome.testing import write_digits
from kiyome.workflows.audit_sample import read_sample
from kiyome.workflows.curate import curate

NUM_TRAIN, NUM_TEST, CHECKED = 160, 80, 40


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Train photos, a sample submission, and a run of find; the folder, and the true class of each id."""
    folder = tmp_path_factory.mktemp("contest")
    truth = write_digits(folder, num_photos=NUM_TRAIN + NUM_TEST)
    head, *rows = csv.reader((folder / "train.csv").read_text().splitlines())
    (folder / "test_images").mkdir()
    for image_id, _ in rows[NUM_TRAIN:]:
        shutil.move(folder / "train_images" / image_id, folder / "test_images" / image_id)
    for name, lines in {
        "train.csv": rows[:NUM_TRAIN],
        "sample_submission.csv": [(image_id, 0) for image_id, _ in rows[NUM_TRAIN:]],
    }.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([head, *lines])
    kiyome(
        f"find {folder}/train.csv --images {folder}/train_images --test {folder}/sample_submission.csv"
        f" --test-images {folder}/test_images --backbone tiny -o {folder}/runs/digits"
    )
    return {"": str(folder)} | {row[0]: str(label) for row, label in zip(rows, truth, strict=True)}


@pytest.fixture
def run(contest: dict[str, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(contest[""]) / "runs" / "digits", tmp_path / "digits"))


def kiyome(line: str, *, code: int = 0) -> str:
    """What a command line prints."""
    told = CliRunner().invoke(app, line.split())
    assert told.exit_code == code, told.output
    return told.output


class Person:
    """Somebody with a program instead of a browser."""

    def __init__(self, address: str, name: str) -> None:
        self.name, self.base = name, address.partition("?")[0]
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        self.heard = [self.opener.open(address).read()]
        self.about = self.get("api/review")

    def get(self, path: str) -> Any:
        """What the server says, as JSON; all its bytes are kept."""
        self.heard.append(self.opener.open(self.base + path).read())
        return json.loads(self.heard[-1])

    def decide(self, labels: dict[int, str]) -> None:
        entries = [
            {"row": row, "version": 0, "verdict": "unsure" if label == "unsure" else "relabel"}
            | ({} if label == "unsure" else {"label": label})
            for row, label in labels.items()
        ]
        sent = {"key": f"{self.name}-{len(labels)}", "reviewer": self.name, "entries": entries}
        headers = {"X-CSRF-Token": self.about["csrf"], "Sec-Fetch-Site": "same-origin"}
        request = urllib.request.Request(
            f"{self.base}api/decisions",
            json.dumps(sent).encode(),
            {**headers, "Content-Type": "application/json"},
        )
        self.heard.append(self.opener.open(request).read())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address that `kiyome review` prints, until it is stopped with Ctrl-C."""
    line = [sys.executable, "-m", "kiyome", "review", str(folder), "--no-browser", "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        try:
            said = ""
            while not (found := re.search(r"^Open +(\S+)$", said, re.MULTILINE)) or "Stop" not in said:
                part = server.stdout.readline()
                assert part, said
                said += part
            yield found[1]
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()


def test_people_score_what_nobody_labeled(run: Path, contest: dict[str, str]) -> None:
    told = kiyome(f"audit-sample {run} --split unlabeled -n {CHECKED}")
    assert f"{CHECKED} of {NUM_TEST} unlabeled rows drawn" in told
    folder = run.with_name("digits-audit-unlabeled")
    sample, opened = read_sample(folder), open_run(run).in_split(UNLABELED)
    ids = opened.table.image_ids[sample.design.rows].tolist()
    truth = [contest[Path(image_id).name] for image_id in ids]
    other = next(name for name in sample.class_names if name != truth[3])
    with served(folder) as address:
        ann, ben = Person(address, "Ann"), Person(address, "Ben")
        assert (ann.about["blind"], ann.about["splits"], ann.about["rows"]) == (True, [UNLABELED], CHECKED)
        ann.decide({row: "unsure" if row == 5 else label for row, label in enumerate(truth)})
        ben.decide({3: other, 4: truth[4]})
        for person in (ann, ben):
            queue = person.get(f"api/queue?count=500&me={person.name}")["rows"]
            rows = [person.get(f"api/rows/{row}?me={person.name}") for row in range(CHECKED)]
            for row in (*queue, *rows):
                hidden = ("given", "suggested", "likely", "probability", "flagged", "others", "disputed")
                assert [row[name] for name in hidden] == [None] * len(hidden)
                assert row["split"] == UNLABELED
            assert not any(image_id.encode() in each for image_id in ids for each in person.heard)
    with (folder / "review" / "decisions.jsonl").open() as lines:
        assert len(list(lines)) == CHECKED + 2  # one event after another: nothing is merged away
    assert "Reviewers dispute 1 rows" in kiyome(f"audit {folder}", code=2)

    told = kiyome(f"audit {folder} --disputed-unsure")
    assert told.startswith(f"True accuracy on all {NUM_TEST} unlabeled rows: ")
    assert "Wrong labels" not in told
    assert "Unsure: 2 of 40 rows" in told
    page = (folder / "report.html").read_text("utf-8")
    assert "Share of each class" in page
    assert "Label noise" not in page
    assert "given label" not in page

    told = " ".join(kiyome(f"evaluate {run}").split())
    everyone = [contest[Path(image_id).name] for image_id in opened.table.image_ids]
    predicted = [sample.class_names[label] for label in sample.predicted_labels]
    right = np.mean([a == b for a, b in zip(everyone, predicted, strict=True)])
    found = json.loads((run.with_name("digits-evaluate") / "evaluate.json").read_text())["unlabeled"]
    assert found["accuracy_on_true"]["low"] <= right <= found["accuracy_on_true"]["high"]
    assert (found["checked"], found["unsure"], found["rows"]) == (CHECKED, 2, NUM_TEST)
    for name in sample.class_names:
        share = found["class_shares"][name]
        assert share["low"] <= everyone.count(name) / NUM_TEST <= share["high"]
    assert f"True accuracy on {NUM_TEST} unlabeled rows by audit (digits-audit-unlabeled): " in told
    assert "Class shares: " in told
    assert "True accuracy on" in (run.with_name("digits-evaluate") / "report.html").read_text("utf-8")


def test_unlabeled_rows_alone_are_named_where_they_cannot_be_scored(run: Path) -> None:
    told = " ".join(kiyome(f"evaluate {run} --split unlabeled", code=2).split())
    assert "no label to be scored on" in told
    remedy = re.search(r"`kiyome (audit-sample .*?)`", told)
    assert remedy is not None
    kiyome(f"{remedy[1]} -n 20")


def test_what_people_say_of_an_unlabeled_row_is_never_trained_on(run: Path, tmp_path: Path) -> None:
    table = open_run(run).table
    row = int(np.flatnonzero(table.in_split(UNLABELED))[0])
    said = tmp_path / "said.csv"
    with said.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("image_id", "decision", "label"), (table.image_ids[row], "relabel", table.class_names[3])]
        )
    curated = curate(run, decisions=said).table
    assert curated.split_names[row] == UNLABELED
    assert (curated.given_labels[row], curated.labels[row]) == (-1, -1)
    assert curated.true_labels is not None
    assert curated.true_labels[row] == 3
