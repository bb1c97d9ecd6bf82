"""What people decided about a run: to look at, and to files of other tools and back.

store ── what stands ── counts, agreement, disputes
                     └─ CSV, Parquet, JSON Lines, Label Studio, CVAT, FiftyOne ── store
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from kiyome.artifacts.run import review_folder
from kiyome.artifacts.storage import private_folder, sha256_of_file, sweep, write_bytes
from kiyome.decisions.agreement import Pair, Rule, agreement
from kiyome.decisions.current import Standing, is_about
from kiyome.decisions.events import Line, look_alikes
from kiyome.decisions.exchange.formats import format_named, format_of_file, read_said
from kiyome.decisions.exchange.transfer import acts_of, held_decisions, reviewed_of
from kiyome.decisions.exchange.values import Held
from kiyome.decisions.items import Subject, read_subject
from kiyome.decisions.store import rebuild_decisions, restore_decisions
from kiyome.errors import InputError
from kiyome.workflows.consensus import events_of, has_store, opened_store, standing_of, store_place


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionsResult:
    """What stands in a review."""

    subject: Subject
    held: Sequence[Held]
    """Every decision that stands, in order of rows."""
    reviewers: Sequence[str]
    pairs: Sequence[Pair]
    """How far each two reviewers agree."""
    disputed: Sequence[int]
    """Rows of which two people hold different things."""
    num_skipped: int
    """Events about photos or classes that the table does not have; `repair_decisions` takes them out."""

    def look_alikes(self) -> list[tuple[str, str]]:
        """Names that read like one: perhaps one person, who then counts twice."""
        pairs = combinations(self.reviewers, 2)
        return [(one, other) for one, other in pairs if look_alikes(one, [other])]

    def by_reviewer(self) -> dict[str, dict[str, int]]:
        """For each reviewer, how many rows each verdict stands for."""
        counts = Counter((held.reviewer, held.verdict) for held in self.held)
        return {
            name: {verdict: number for (who, verdict), number in sorted(counts.items()) if who == name}
            for name in self.reviewers
        }

    def disputes(self) -> list[dict[str, Any]]:
        """For each disputed row its id, and what each reviewer holds."""
        rows, ids = set(self.disputed), self.subject.image_ids
        said: dict[int, dict[str, str]] = {row: {} for row in self.disputed}
        for held in self.held:
            if held.row in rows:
                said[held.row][held.reviewer] = held.label or held.verdict
        return [{"image_id": ids[row], "said": by_reviewer} for row, by_reviewer in said.items()]

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {
            "run": self.subject.run,
            "rows": len(self.subject),
            "decided": len({held.row for held in self.held}),
            "decisions": len(self.held),
            "by_reviewer": self.by_reviewer(),
            "agreement": [asdict(pair) for pair in self.pairs],
            "disputes": self.disputes(),
            "look_alikes": self.look_alikes(),
            "skipped_events": self.num_skipped,
        }


@dataclass(frozen=True, kw_only=True)
class Exchanged:
    """What a file took, or gave."""

    file: Path
    decisions: int
    """Written into the file, or into the store."""
    left_out: Mapping[str, int]
    """How many were not, by reason."""
    by_reviewer: Mapping[str, int]
    to_know: str = ""
    """What whoever opens the file in the other tool needs besides."""

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        counts = {"left_out": dict(self.left_out), "by_reviewer": dict(self.by_reviewer)}
        return {"file": str(self.file), "decisions": self.decisions, **counts, "to_know": self.to_know}


def show_decisions(run: Path | str, *, store: Path | str | None = None) -> DecisionsResult:
    """What people decided about a run and still stands, how far they agree, and where they do not.

    Parameters
    ----------
    run
        The folder of a run that was reviewed, or of a sample for an audit.
    store
        Where its decisions lie, as for `kiyome review`; in the run if not given.

    Raises
    ------
    InputError
        Where nobody reviewed it.
    """
    standing = _reviewed_by_someone(run, store)
    return DecisionsResult(
        subject=standing.subject,
        held=held_decisions(standing),
        reviewers=standing.reviewers,
        pairs=agreement(standing),
        disputed=standing.disputed.nonzero()[0].tolist(),
        num_skipped=standing.num_skipped,
    )


def export_decisions(
    run: Path | str,
    file: Path | str,
    *,
    format: str | None = None,  # noqa: A002 - as every tool calls it
    rule: Rule = "unanimous",
    raw: bool = False,
    store: Path | str | None = None,
) -> Exchanged:
    """Write what stands into a file, whole or not at all.

    Parameters
    ----------
    run, store
        As for `decisions`.
    file
        Where to; what lies there is replaced.
    format
        csv, parquet, jsonl, corrected, label_studio, cvat or fiftyone; by the file's ending if not given.
    rule
        When people agree on a row, for formats with one label a photo: ``unanimous`` or ``majority``.
    raw
        Leave cells of a CSV as they are, those that a spreadsheet would run as formulas among them.

    Raises
    ------
    InputError
        Where nobody reviewed the run, or the format cannot hold its names.
    """
    file = Path(file)
    chosen = format_named(format or format_of_file(file))
    reviewed = reviewed_of(_reviewed_by_someone(run, store), rule=rule)
    write = chosen.write_raw if raw and chosen.write_raw else chosen.write
    written = write(reviewed)
    sweep(file.parent)
    write_bytes(file, written.content)
    return Exchanged(
        file=file,
        decisions=len(reviewed.decided),
        left_out=written.left_out,
        by_reviewer=Counter(held.reviewer for held in reviewed.decided),
        to_know=written.to_know,
    )


def import_decisions(
    run: Path | str, file: Path | str, *, name: str | None = None, store: Path | str | None = None
) -> Exchanged:
    """Add what people said in a file of another tool to the decisions about a run.

    A class equal to the given one is keep, another is relabel. The same file again writes nothing.

    Parameters
    ----------
    run, store
        As for `decisions`.
    file
        Columns as `export_decisions` writes them (CSV, Parquet, JSON Lines); an export of Label Studio
        (JSON, JSON-MIN, CSV, TSV); CVAT for images 1.1; labels.json of FiftyOne.
    name
        Of the reviewer where the file names none; put before the names in it, with a slash, where it does.

    Raises
    ------
    InputError
        With what the file must hold; nothing is written then.
    """
    file, subject = Path(file), read_subject(run)
    reading = read_said(file, subject.class_names)
    standing = Standing(subject)
    private_folder(review_folder(run))
    with opened_store(run, subject, store) as opened:
        standing.take(opened.events_after())
        incoming = acts_of(reading, standing, name=name)
        digest = sha256_of_file(file)
        for reviewer, acts in incoming.acts.items():
            told = json.dumps([digest, reviewer, *((act.image_id, act.version) for act in acts)])
            opened.append(
                acts,
                key=f"import-{hashlib.sha256(told.encode()).hexdigest()}",
                reviewer=reviewer,
                kind="import",
                run=subject.run,
                table_content=subject.table_content,
                seen={"file": digest},
            )
    counts = {reviewer: len(acts) for reviewer, acts in incoming.acts.items()}
    return Exchanged(
        file=file, decisions=sum(counts.values()), left_out=incoming.passed_over, by_reviewer=counts
    )


def backup_decisions(run: Path | str, file: Path | str, *, store: Path | str | None = None) -> Path:
    """Copy the decisions about a run while others go on deciding.

    Parameters
    ----------
    run, store
        As for `decisions`.
    file
        A name that ends in .jsonl gets all events as lines that `restore_run_decisions` reads, from SQLite
        and PostgreSQL alike; any other gets a copy of the SQLite file.

    Raises
    ------
    InputError
        Where something lies at `file`, or a copy of a PostgreSQL store is asked for.
    """
    file, subject = Path(file), read_subject(run)
    _check_store(run, store)
    if file.exists():
        raise InputError(
            "A backup has a place of its own.", came=f"{file}, which exists", remedy="Choose another name."
        )
    sweep(file.parent)
    with opened_store(run, subject, store) as opened:
        (opened.write_journal if file.suffix == ".jsonl" else opened.backup)(file)
    return file


def restore_run_decisions(
    run: Path | str, journal: Path | str, *, store: Path | str | None = None
) -> dict[str, int]:
    """Make the store of a run anew from a journal, and count the events in it, and those about this run.

    Raises
    ------
    InputError
        Where the store has events already.
    StaleArtifact
        With the first damaged line.
    """
    subject = read_subject(run)
    private_folder(review_folder(run))
    events = restore_decisions(journal, store_place(run, store))
    return {"events": events, "about_this_run": len(events_of(run, subject, store))}


def repair_decisions(run: Path | str, *, store: Path | str | None = None) -> dict[str, Any]:
    """Make the store of a run anew without events about photos or classes that its table does not have.

    No review page may be open meanwhile. The store as it was stays beside the new one.

    Raises
    ------
    InputError
        Where nobody reviewed the run, nothing is to be removed, or the store is on PostgreSQL.
    """
    subject = read_subject(run)
    _check_store(run, store)

    def is_sound(line: Line) -> bool:
        review, event = line
        return review != subject.fingerprint or is_about(event, subject)

    removed, before = rebuild_decisions(store_place(run, store), is_sound)
    return {"removed": removed, "before": str(before)}


def _reviewed_by_someone(run: Path | str, store: Path | str | None) -> Standing:
    _check_store(run, store)
    return standing_of(run, store=store)


def _check_store(run: Path | str, store: Path | str | None) -> None:
    if not has_store(run, store):
        raise InputError(
            "The run was reviewed.",
            came=f"no {store_place(run, store)}",
            remedy=f"Run: kiyome review {run}",
        )
