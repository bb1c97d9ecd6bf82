"""The decisions that reviewers have in common, from the store of a run or from a file. N rows.

RUN/review ── events ── current decisions ─┐
FILE ── columns ───────────────────────────┴── in common ── one decision a row; disputed rows apart
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kiyome.artifacts.run import review_folder
from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table import Table
from kiyome.decisions.agreement import DISPUTED, Rule, common_codes, consensus_codes
from kiyome.decisions.current import KEEP, LABEL, NONE, VERDICTS, Codes, CurrentDecisions, decision_of
from kiyome.decisions.events import Decision
from kiyome.decisions.exchange.answers import preview
from kiyome.decisions.exchange.columns import read_decisions
from kiyome.decisions.items import ReviewItems, read_items
from kiyome.decisions.store import DecisionStore, Event, open_decisions
from kiyome.errors import InputError
from kiyome.reading.files import read_records

STORE_FILE = "decisions.sqlite"


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """The decisions that reviewers have in common about the rows of a table."""

    decisions: Mapping[str, Decision]
    """By image id; disputed rows are absent."""
    disputed: Sequence[str]
    """Ids of rows on which two people differ."""
    reviewers: Sequence[str]
    """Everyone whose decisions were used; one empty name where the file names nobody."""
    digest: str
    """Of the decisions that were used: other decisions have another one."""

    def with_disputed_rows_kept(self) -> dict[str, Decision]:
        """Return the decisions, with unsure for each disputed row: no flag overrides a dispute."""
        unsure = {image_id: Decision(image_id=image_id, verdict="unsure") for image_id in self.disputed}
        return {**self.decisions, **unsure}


def store_location(run: Path | str, store: Path | str | None = None) -> Path | str:
    """Return the store that is named, else the one in the folder of the run."""
    return store or review_folder(run) / STORE_FILE


def has_store(run: Path | str, store: Path | str | None = None) -> bool:
    """Return whether a store may exist: a file does or does not, a server may be there."""
    location = store_location(run, store)
    return not isinstance(location, Path) or location.is_file()


def open_store(run: Path | str, items: ReviewItems, store: Path | str | None = None) -> DecisionStore:
    """Open the store of the decisions about a run, created if absent."""
    return open_decisions(
        store_location(run, store), fingerprint=items.fingerprint, class_names=items.class_names
    )


def events_of(run: Path | str, items: ReviewItems, store: Path | str | None = None) -> list[Event]:
    """Return every event of the review of a run; none, and no new file, where nobody reviewed it."""
    if not has_store(run, store):
        return []
    with open_store(run, items, store) as opened:
        return opened.events_after()


def current_decisions(run: Path | str, *, store: Path | str | None = None) -> CurrentDecisions:
    """Return the current decisions in the review of a run."""
    items = read_items(run)
    current = CurrentDecisions(items)
    current.apply(events_of(run, items, store))
    return current


def digest_of_events(events: Sequence[Event]) -> str:
    """Return the digest of who decided what, in which order; not of where the events are stored."""
    facts = [(e.reviewer, e.image_id, e.sequence, e.verdict, e.label, e.decided_at) for e in events]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def review_consensus(
    run: Path | str, *, store: Path | str | None = None, rule: Rule = "unanimous"
) -> Consensus | None:
    """Return what the reviewers of a run have in common by a rule; None where there are no decisions."""
    if not has_store(run, store):
        return None
    items = read_items(run)
    events = events_of(run, items, store)
    current = CurrentDecisions(items)
    current.apply(events)
    if not current.decided.any():
        return None
    return _consensus(
        consensus_codes(current, rule=rule),
        items.image_ids,
        items.class_names,
        reviewers=current.reviewers,
        digest=digest_of_events(events),
    )


def file_consensus(path: Path | str, table: Table, *, rule: Rule = "unanimous") -> Consensus:
    """Return what the reviewers in a file with the columns image_id, decision and label have in common."""
    path = Path(path)
    found = read_decisions(read_records(path), table.class_names).decisions
    row_of = {image_id: row for row, image_id in enumerate(table.image_ids)}
    if unknown := [each.image_id for each in found if each.image_id not in row_of]:
        raise InputError(
            f"{len(unknown)} image ids in {path.name} are not in the table: {preview(unknown)}.",
            expected="Expected decisions about rows of the table.",
            remedy="Pass decisions of a review of this run.",
        )
    reviewers = list(dict.fromkeys(each.reviewer for each in found))
    index_of = {name: index for index, name in enumerate(reviewers)}
    codes = np.full((len(reviewers), len(table)), NONE, dtype=np.int32)
    for each in found:
        cell = index_of[each.reviewer], row_of[each.image_id]
        if codes[cell] != NONE:
            raise InputError(
                f"{path.name} has two decisions about {each.image_id!r} by one reviewer.",
                expected="Expected one line a reviewer and photo.",
                remedy="Delete one of the two lines.",
            )
        codes[cell] = _code_of(each, table, cell[1])
    return _consensus(
        common_codes(codes, rule),
        table.image_ids.tolist(),
        table.class_names,
        reviewers=reviewers,
        digest=sha256_of_file(path),
    )


def _code_of(decision: Decision, table: Table, row: int) -> int:
    if decision.label is not None:
        return LABEL + table.class_names.index(decision.label)
    code = VERDICTS.index(decision.verdict)
    return LABEL + int(table.given_labels[row]) if code == KEEP else code


def _consensus(
    codes: Codes,
    image_ids: Sequence[str],
    class_names: Sequence[str],
    *,
    reviewers: Sequence[str],
    digest: str,
) -> Consensus:
    rows = (codes > NONE).nonzero()[0].tolist()
    return Consensus(
        decisions={image_ids[row]: decision_of(int(codes[row]), image_ids[row], class_names) for row in rows},
        disputed=[image_ids[row] for row in (codes == DISPUTED).nonzero()[0].tolist()],
        reviewers=reviewers,
        digest=digest,
    )
