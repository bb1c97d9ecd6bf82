"""The score that a review of a run gives, on the rows of one split.

decisions in common ─► answers ─┐
suspicion, random order ────────┴─► reviewed_score
"""

from kiyome.artifacts.run import review_folder
from kiyome.decisions.agreement import consensus_codes
from kiyome.decisions.consensus import digest_of_events, events_of, has_store
from kiyome.decisions.current import LABEL, CurrentDecisions
from kiyome.decisions.items import ISSUES_FILE, read_items, review_secret
from kiyome.evaluation.reviewed_score import ReviewedScore, reviewed_score
from kiyome.reading.finished_run import FinishedRun
from kiyome.reviewing.outlook import answers_of, design_of


def score_of_review(run: FinishedRun, split: str) -> tuple[ReviewedScore, str] | None:
    """Return the score by the review in a run's folder, and the digest of its decisions.

    None where nobody decided about a row of the split, and for a run without `label_issues.parquet`.
    """
    if not has_store(run.path) or not (run.path / ISSUES_FILE).is_file():
        return None
    items, run = read_items(run.path), run.labeled()  # the same rows
    events, rows = events_of(run.path, items), run.table.in_split(split)
    current = CurrentDecisions(items)
    current.apply(events)
    design = design_of(items, review_secret(review_folder(run.path)))
    if design is None or not current.decided[rows].any():
        return None
    codes = consensus_codes(current)
    predicted = run.predictions.pred_probs.argmax(axis=1)
    score = reviewed_score(
        design.take(rows),
        answers_of(items, codes)[rows],
        run.right_on_given[rows],
        (predicted == codes - LABEL)[rows],
    )
    return score, digest_of_events(events)
