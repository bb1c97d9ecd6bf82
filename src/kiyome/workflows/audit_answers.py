"""What people answered about a sample on the blind page of `kiyome review`. n rows, in the blind order.

RUN-audit/review ── what stands ── answers in common ── one true label a row, as from a filled audit.csv
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.agreement import DISPUTED, Rule, consensus_codes
from kiyome.decisions.consensus import digest_of_events, events_of, has_store
from kiyome.decisions.current import DROP, KEEP, LABEL, NONE, UNSURE, CurrentDecisions
from kiyome.decisions.exchange.answers import preview
from kiyome.decisions.items import read_items
from kiyome.errors import InputError
from kiyome.evaluation.audit import UNSURE as NOBODY_CAN_TELL

SHOWN = 5


def answers_of_review(
    folder: Path | str,
    *,
    store: Path | str | None = None,
    rule: Rule = "unanimous",
    disputed_unsure: bool = False,
) -> tuple[NDArray[np.intp], str] | None:
    """True labels of the first rows of a sample, -1 where people were unsure; None where nobody answered.

    Parameters
    ----------
    folder
        What `kiyome audit-sample` wrote.
    store
        Where the review keeps its decisions, as for `kiyome review`.
    rule
        When people agree: ``unanimous``, or ``majority`` (a third settles what two dispute).
    disputed_unsure
        Count rows that people dispute as unsure; otherwise they must be settled.

    Returns
    -------
    tuple
        Answers (m,), m up to n, and a digest of the decisions that they are from.

    Raises
    ------
    InputError
        Where people dispute a row, an answer is no class, or rows were left out on the way.
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
    codes[codes == DISPUTED] = UNSURE
    answered = _first_rows(codes, current)
    said = np.where(answered == UNSURE, NOBODY_CAN_TELL, answered - LABEL).astype(np.intp)
    return said, digest_of_events(events)


def _check_answers(codes: NDArray[np.int32], current: CurrentDecisions) -> None:
    """Keep and drop say nothing of the class that was seen."""
    if len(strange := np.flatnonzero((codes == KEEP) | (codes == DROP))):
        raise InputError(
            "An answer in an audit is a class, or unsure.",
            came=f"keep or drop for {_named(strange, current)}",
            remedy="Choose the class that the photo shows, or unsure.",
        )


def _check_disputes(codes: NDArray[np.int32], current: CurrentDecisions) -> None:
    rows = np.flatnonzero(codes == DISPUTED)
    if len(rows):
        said = "; ".join(f"{name}: {_told(each)}" for name, each in _said(rows[:SHOWN], current).items())
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        raise InputError(
            "People agree on the answers of an audit.",
            came=f"{len(rows)} disputed rows ({said}{more})",
            remedy="Look at them together and settle them on the page, let a third decide (--rule majority),"
            " or count them as unsure (--disputed-unsure).",
        )


def _first_rows(codes: NDArray[np.int32], current: CurrentDecisions) -> NDArray[np.int32]:
    """Only the first rows were drawn at random: what was left out on the way is no chance."""
    last = int(np.flatnonzero(codes != NONE)[-1])
    if len(missing := np.flatnonzero(codes[:last] == NONE)):
        raise InputError(
            "Answers are given in the order of the page: rows that someone picked are no random sample.",
            came=f"no answer for {_named(missing, current)}, and later ones have one",
            remedy="Answer these, with unsure where nobody can tell.",
        )
    return codes[: last + 1]


def _said(rows: NDArray[np.intp], current: CurrentDecisions) -> Mapping[str, Mapping[str, str]]:
    """For each row's name, what each reviewer holds."""
    said: dict[str, dict[str, str]] = {}
    for row in rows.tolist():
        held = {name: current.of(name, row) for name in current.reviewers}
        said[current.items.image_ids[row]] = {
            name: each.label or str(each.verdict) for name, each in held.items() if each.verdict
        }
    return said


def _told(by_reviewer: Mapping[str, str]) -> str:
    return ", ".join(f"{label!r} by {name}" for name, label in by_reviewer.items())


def _named(rows: NDArray[np.intp], current: CurrentDecisions) -> str:
    return preview((current.items.image_ids[row] for row in rows.tolist()), shown=SHOWN)
