"""What a review in a run's folder says about the score, in evaluate."""

import csv
import json
from pathlib import Path

import numpy as np

from kiyome.reading.finished_run import open_run
from kiyome.testing import write_digits
from kiyome.workflows.decisions import import_decisions
from kiyome.workflows.evaluate import evaluate
from kiyome.workflows.find import find


def test_a_review_corrects_the_score(tmp_path: Path) -> None:
    truth = write_digits(tmp_path / "digits", num_photos=200)
    run = find(tmp_path / "digits", backbone="tiny", output=tmp_path / "run", cache_folder=tmp_path).folder
    before, opened = evaluate(run), open_run(run)
    assert before.review is None
    predicted, names = opened.predictions.pred_probs.argmax(axis=1), opened.table.class_names

    def decide(rows: np.ndarray, reviewer: str) -> None:
        path = tmp_path / f"{reviewer}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = [
                (opened.table.image_ids[row], "relabel", names[truth[row]], reviewer)
                if truth[row] != opened.table.given_labels[row]
                else (opened.table.image_ids[row], "keep", "", reviewer)
                for row in rows.tolist()
            ]
            csv.writer(file).writerows([("image_id", "decision", "label", "reviewer"), *lines])
        import_decisions(run, path)

    decide(np.arange(50), "Ann")
    part = evaluate(run)
    assert part.folder != before.folder  # more is known, so another folder
    assert part.review is not None
    assert part.review.num_seen == 50
    assert (
        part.review.accuracy_on_true.low <= (predicted == truth).mean() <= part.review.accuracy_on_true.high
    )
    decide(np.arange(50, 200), "Ann")
    whole = evaluate(run)
    assert whole.review is not None
    assert whole.review.accuracy_on_true.value == (predicted == truth).mean()
    assert whole.describe()[0].startswith("True accuracy by the review: ")
    told = json.loads((whole.folder / "evaluate.json").read_text("utf-8"))
    assert told["review"]["num_wrong"] == int((truth != opened.table.given_labels).sum())
