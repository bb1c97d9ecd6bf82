"""What people decided about the rows of a run: from its store of decisions, or from a file. N rows.

RUN/review ── events ── what stands ─┐
FILE ── columns ─────────────────────┴── in common ── one decision a row, disputed rows named
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kiyome.artifacts.run import review_folder
from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table import Table
from kiyome.curation import Decision
from kiyome.decisions.agreement import DISPUTED, Rule, common_codes, consensus
from kiyome.decisions.current import KEEP, LABEL, NOTHING, VERDICTS, Codes, Standing
from kiyome.decisions.exchange.columns import read_decisions
from kiyome.decisions.exchange.values import Said, some
from kiyome.decisions.items import Subject, read_subject
from kiyome.decisions.store import DecisionStore, Event, open_decisions
from kiyome.errors import InputError
from kiyome.reading.files import read_records

STORE_FILE = "decisions.sqlite"


@dataclass(frozen=True, kw_only=True)
class PeopleDecided:
    """What people hold in common of the rows of a table."""

    decisions: Mapping[str, Decision]
    """By image id; disputed rows are absent."""
    disputed: Sequence[str]
    """Ids of rows of which two people hold different things."""
    reviewers: Sequence[str]
    """Everyone whose decisions were looked at; one empty name where the file names nobody."""
    digest: str
    """Of the decisions that were looked at: other decisions have another one."""

    def with_disputed_rows_kept(self) -> dict[str, Decision]:
        """The decisions, with unsure for each disputed row: no flag decides what people dispute."""
        return {**self.decisions, **dict.fromkeys(self.disputed, Decision(verdict="unsure"))}


def store_place(run: Path | str, store: Path | str | None = None) -> Path | str:
    """Where the decisions about a run lie: in its own folder, unless told otherwise."""
    return store or review_folder(run) / STORE_FILE


def has_store(run: Path | str, store: Path | str | None = None) -> bool:
    """Whether decisions may lie there: a server can only be asked, a file is there or not."""
    place = store_place(run, store)
    return not isinstance(place, Path) or place.is_file()


@contextmanager
def opened_store(
    run: Path | str, subject: Subject, store: Path | str | None = None
) -> Iterator[DecisionStore]:
    """The store of the decisions about a run, made where there is none."""
    with open_decisions(
        store_place(run, store), fingerprint=subject.fingerprint, class_names=subject.class_names
    ) as opened:
        yield opened


def events_of(run: Path | str, subject: Subject, store: Path | str | None = None) -> list[Event]:
    """Every event of the review of a run; none, and no new file, where nobody reviewed it."""
    if not has_store(run, store):
        return []
    with opened_store(run, subject, store) as opened:
        return opened.events_after()


def standing_of(run: Path | str, *, store: Path | str | None = None) -> Standing:
    """What stands in the review of a run.

    Raises
    ------
    InputError
        Where the folder is none to review.
    """
    subject = read_subject(run)
    standing = Standing(subject)
    standing.take(events_of(run, subject, store))
    return standing


def digest_of_events(events: Sequence[Event]) -> str:
    """Of who decided what, in which order; not of where the events lie."""
    told = [(e.reviewer, e.image_id, e.sequence, e.verdict, e.label, e.decided_at) for e in events]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def decided_in_review(
    run: Path | str, *, store: Path | str | None = None, rule: Rule = "unanimous"
) -> PeopleDecided | None:
    """What people decided in the review of a run; None where nothing stands.

    Parameters
    ----------
    run
        The folder of a run that has label issues.
    store
        As for `kiyome review`.
    rule
        As for `kiyome.decisions.agreement.consensus`.
    """
    if not has_store(run, store):
        return None
    subject = read_subject(run)
    events = events_of(run, subject, store)
    standing = Standing(subject)
    standing.take(events)
    if not standing.decided.any():
        return None
    return _in_common(
        consensus(standing, rule=rule),
        subject.image_ids,
        reviewers=standing.reviewers,
        digest=digest_of_events(events),
    )


def decided_in_file(path: Path | str, table: Table, *, rule: Rule = "unanimous") -> PeopleDecided:
    """What a file with the columns image_id, decision and label says, of one reviewer or of several.

    Raises
    ------
    InputError
        Where a decision, a class or a photo is unknown, or someone decides twice about a photo.
    """
    path = Path(path)
    said = read_decisions(read_records(path), table.class_names).said
    row_of = {image_id: row for row, image_id in enumerate(table.image_ids)}
    if unknown := [each.photo for each in said if each.photo not in row_of]:
        raise InputError(
            "Decisions are about rows of the table.",
            came=f"{len(unknown)} other ids in {path.name}: {some(unknown)}",
            remedy="Take decisions of a review of this run.",
        )
    reviewers = list(dict.fromkeys(each.reviewer for each in said))
    place_of = {name: place for place, name in enumerate(reviewers)}
    codes = np.full((len(reviewers), len(table)), NOTHING, dtype=np.int32)
    for each in said:
        place, row = place_of[each.reviewer], row_of[each.photo]
        if codes[place, row] != NOTHING:
            raise InputError(
                "A person decides once about a photo.",
                came=f"{each.photo!r} twice in {path.name}",
                remedy="Keep one line.",
            )
        codes[place, row] = _code_of(each, table, row)
    return _in_common(
        common_codes(codes, rule),
        table.image_ids.tolist(),
        reviewers=reviewers,
        digest=sha256_of_file(path),
    )


def _code_of(said: Said, table: Table, row: int) -> int:
    if said.label is not None:
        return LABEL + table.class_names.index(said.label)
    code = VERDICTS.index(said.verdict)
    return LABEL + int(table.given_labels[row]) if code == KEEP else code


def _in_common(
    codes: Codes, image_ids: Sequence[str], *, reviewers: Sequence[str], digest: str
) -> PeopleDecided:
    decisions = {
        image_ids[row]: _decision(int(codes[row])) for row in (codes > NOTHING).nonzero()[0].tolist()
    }
    return PeopleDecided(
        decisions=decisions,
        disputed=[image_ids[row] for row in (codes == DISPUTED).nonzero()[0].tolist()],
        reviewers=reviewers,
        digest=digest,
    )


def _decision(code: int) -> Decision:
    if code >= LABEL:
        return Decision(verdict="relabel", label=code - LABEL)
    return Decision(verdict=VERDICTS[code] or "unsure")
