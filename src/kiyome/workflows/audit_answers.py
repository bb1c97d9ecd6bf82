"""People's answers for an audit sample: true labels of the first rows, in the blind order. n rows.

audit.csv ───────── one class name a row, or unsure ─────┐   answers (m,), m up to n: -1 where unsure,
                                                         ├─► -2 for none of the classes
RUN-audit/review ── decisions ── consensus of reviewers ─┘
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.audit_folder import NONE_WORD, UNSURE_WORD
from kiyome.decisions.agreement import DISPUTED, Rule, consensus_codes
from kiyome.decisions.consensus import digest_of_events, events_of, has_store
from kiyome.decisions.current import BOTH, DROP, KEEP, LABEL, NONE, CurrentDecisions
from kiyome.decisions.current import NONE_OF_THESE as NONE_OF_THESE_CODE
from kiyome.decisions.current import UNSURE as UNSURE_CODE
from kiyome.decisions.exchange.answers import preview
from kiyome.decisions.items import read_items
from kiyome.errors import InputError
from kiyome.evaluation.audit import NONE_OF_THESE, UNSURE
from kiyome.reading.classes import classes_named
from kiyome.reading.columns import Records
from kiyome.reading.files import read_records
from kiyome.workflows.audit_sample import COLUMNS, SealedSample

SHOWN = 5
UNFILLED = -3


def answers_of_review(
    folder: Path | str,
    *,
    store: Path | str | None = None,
    rule: Rule = "unanimous",
    disputed_unsure: bool = False,
) -> tuple[NDArray[np.intp], str] | None:
    """Return the answers (m,) of the review of a sample, and a digest of its decisions; None without answers.

    `rule` is "unanimous", or "majority" (a third reviewer decides what two dispute); `disputed_unsure` counts
    disputed rows as unsure. An InputError names disputed rows, answers that are no class, and skipped rows.
    """
    if not has_store(folder, store):
        return None
    items = read_items(folder)
    events = events_of(folder, items, store)
    current = CurrentDecisions(items)
    current.apply(events)
    if not current.decided.any():
        return None
    codes = consensus_codes(current, rule=rule)
    _check_answers(codes, current)
    if not disputed_unsure:
        _check_disputes(codes, current)
    codes[(codes == DISPUTED) | (codes == BOTH)] = UNSURE_CODE
    answered = _first_rows(codes, current)
    special = [answered == UNSURE_CODE, answered == NONE_OF_THESE_CODE]
    answers = np.select(special, [UNSURE, NONE_OF_THESE], answered - LABEL).astype(np.intp)
    return answers, digest_of_events(events)


def _check_answers(codes: NDArray[np.int32], current: CurrentDecisions) -> None:
    if len(strange := np.flatnonzero((codes == KEEP) | (codes == DROP))):
        raise InputError(
            f"The answer is keep or drop for {_named(strange, current)}.",
            expected="Expected a class, none of these, or unsure.",
            remedy="Choose the class that the photo shows, none of these, or unsure.",
        )


def _check_disputes(codes: NDArray[np.int32], current: CurrentDecisions) -> None:
    rows = np.flatnonzero(codes == DISPUTED)
    if len(rows):
        by_row = _answers_by_row(rows[:SHOWN], current)
        shown = "; ".join(f"{name}: {_labels_by_reviewer(each)}" for name, each in by_row.items())
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        raise InputError(
            f"Reviewers dispute {len(rows)} rows ({shown}{more}).",
            expected="An audit needs one answer a row.",
            remedy="Decide them together on the page, let a third reviewer decide (--rule majority), or count"
            " them as unsure (--disputed-unsure).",
        )


def _first_rows(codes: NDArray[np.int32], current: CurrentDecisions) -> NDArray[np.int32]:
    """Return the answers of the first rows; only these are a random sample, so none may be skipped."""
    last = int(np.flatnonzero(codes != NONE)[-1])
    if len(missing := np.flatnonzero(codes[:last] == NONE)):
        raise InputError(
            f"There is no answer for {_named(missing, current)}, but for later rows.",
            expected="Expected answers in the order of the page: only the first rows are a random sample.",
            remedy="Answer these, with unsure where nobody can tell.",
        )
    return codes[: last + 1]


def _answers_by_row(rows: NDArray[np.intp], current: CurrentDecisions) -> Mapping[str, Mapping[str, str]]:
    """Return each reviewer's answer for each row, by the row's name."""
    by_row: dict[str, dict[str, str]] = {}
    for row in rows.tolist():
        decisions = {name: current.of(name, row) for name in current.reviewers}
        by_row[current.items.image_ids[row]] = {
            name: each.label or str(each.verdict) for name, each in decisions.items() if each.verdict
        }
    return by_row


def _labels_by_reviewer(by_reviewer: Mapping[str, str]) -> str:
    return ", ".join(f"{label!r} by {name}" for name, label in by_reviewer.items())


def _named(rows: NDArray[np.intp], current: CurrentDecisions) -> str:
    return preview((current.items.image_ids[row] for row in rows.tolist()), shown=SHOWN)


def read_answers(path: Path, sample: SealedSample) -> NDArray[np.intp]:
    """Return the answers (m,) of a filled file; a TableError names the line of a wrong one."""
    records = read_records(path)
    for column in (COLUMNS[0], COLUMNS[-1]):
        records.require(column, (), option=f"the name {column}")
    rows, answers = ([text.strip() for text in records.texts(column)] for column in (COLUMNS[0], COLUMNS[-1]))
    position_of = {name: position for position, name in enumerate(sample.row_names)}
    _check_rows(records, rows, position_of)
    words = {"": UNFILLED, UNSURE_WORD: UNSURE, NONE_WORD: NONE_OF_THESE}
    code_of = words | {name: label for label, name in enumerate(sample.class_names)}
    code_of |= {text: code_of[name] for text, name in classes_named(answers, list(code_of)).items()}
    if strange := [line for line, answer in enumerate(answers) if answer not in code_of]:
        records.fail(
            "true labels that are not classes",
            strange,
            describe=lambda line: repr(answers[line]),
            expected=f"Expected the name of a class, '{NONE_WORD}' or '{UNSURE_WORD}'.",
            remedy=f"The classes are {', '.join(sample.class_names)}.",
        )
    order = np.argsort([position_of[name] for name in rows])
    codes = np.array([code_of[answer] for answer in answers], dtype=np.intp)[order]
    _check_gaps(records, codes, order)
    filled: NDArray[np.intp] = codes[codes != UNFILLED]
    return filled


def _check_rows(records: Records, rows: list[str], names: Iterable[str]) -> None:
    """Raise unless the file has each row of the sample once, and no other."""
    known = set(names)
    if strange := [line for line, name in enumerate(rows) if name not in known]:
        records.fail(
            "rows that are not in the sample",
            strange,
            describe=lambda line: repr(rows[line]),
            remedy="Use the audit.csv of this sample.",
        )
    counts = Counter(rows)
    if twice := [line for line, name in enumerate(rows) if counts[name] > 1]:
        records.fail(
            "rows with several answers", twice, describe=lambda line: rows[line], remedy="Keep one line."
        )
    if missing := [name for name in names if name not in counts]:
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        raise InputError(
            f"{records.source.name} lacks {missing[0]}{more}.",
            expected="Expected every row of the sample, with or without an answer.",
            remedy="Put the lines back: rows that people leave out are not a random selection.",
        )


def _check_gaps(records: Records, codes: NDArray[np.intp], order: NDArray[np.intp]) -> None:
    """Raise unless the first rows are filled, as only these are a random sample."""
    blank = np.flatnonzero(codes == UNFILLED)
    if len(blank) == len(codes):
        raise InputError(
            f"{records.source.name} has no answers: true_label is empty in every line.",
            remedy="Fill it from the top down.",
        )
    if len(blank) and (codes[blank[0] :] != UNFILLED).any():
        later = blank[blank < np.flatnonzero(codes != UNFILLED)[-1]]
        records.fail(
            "rows without an answer before answered ones",
            order[later].tolist(),
            expected="Answers must go from the top down: rows that someone picks are no random sample.",
            remedy=f"Fill these, with '{UNSURE_WORD}' where nobody can tell.",
        )
