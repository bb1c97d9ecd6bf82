"""People's decisions about a run: show them, exchange them with other tools, back them up and restore them.

store ── current decisions ── counts, agreement, disputes
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
from kiyome.decisions.consensus import current_decisions, events_of, has_store, open_store, store_location
from kiyome.decisions.current import CurrentDecisions, applies_to
from kiyome.decisions.events import Decision, Line, look_alikes
from kiyome.decisions.exchange.answers import plan_import, reviewed_rows
from kiyome.decisions.exchange.formats import format_named, format_of_file, parse_file
from kiyome.decisions.items import ReviewItems, read_items
from kiyome.decisions.store import rebuild_log, restore_log
from kiyome.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionsResult:
    """The current decisions of a review."""

    items: ReviewItems
    decisions: Sequence[Decision]
    """Every current decision, in order of rows."""
    reviewers: Sequence[str]
    pairs: Sequence[Pair]
    """The agreement of each two reviewers."""
    disputed: Sequence[int]
    """Rows on which two people differ."""
    num_skipped: int
    """Events about photos or classes that the table does not have; `repair_decisions` removes them."""

    def look_alikes(self) -> list[tuple[str, str]]:
        """Return pairs of names that look the same: perhaps one person, who then counts twice."""
        pairs = combinations(self.reviewers, 2)
        return [(one, other) for one, other in pairs if look_alikes(one, [other])]

    def by_reviewer(self) -> dict[str, dict[str, int]]:
        """Return the number of rows by reviewer and verdict."""
        counts = Counter((each.reviewer, str(each.verdict)) for each in self.decisions)
        return {
            name: {verdict: number for (who, verdict), number in sorted(counts.items()) if who == name}
            for name in self.reviewers
        }

    def disputes(self) -> list[dict[str, Any]]:
        """Return the id of each disputed row, and each reviewer's label or verdict."""
        ids = [self.items.image_ids[row] for row in self.disputed]
        answers: dict[str, dict[str, str]] = {image_id: {} for image_id in ids}
        for each in self.decisions:
            if each.image_id in answers:
                answers[each.image_id][each.reviewer] = each.label or str(each.verdict)
        return [{"image_id": image_id, "decisions": answers[image_id]} for image_id in ids]

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON can hold it."""
        return {
            "run": self.items.run,
            "rows": len(self.items),
            "decided": len({each.image_id for each in self.decisions}),
            "decisions": len(self.decisions),
            "by_reviewer": self.by_reviewer(),
            "agreement": [asdict(pair) for pair in self.pairs],
            "disputes": self.disputes(),
            "look_alikes": self.look_alikes(),
            "skipped_events": self.num_skipped,
        }


@dataclass(frozen=True, kw_only=True)
class TransferResult:
    """The outcome of an export or an import."""

    file: Path
    decisions: int
    """Written into the file, or into the store."""
    left_out: Mapping[str, int]
    """Number of those that were not, by reason."""
    by_reviewer: Mapping[str, int]
    hint: str = ""
    """What to set up in the other tool."""

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON can hold it."""
        counts = {"left_out": dict(self.left_out), "by_reviewer": dict(self.by_reviewer)}
        return {"file": str(self.file), "decisions": self.decisions, **counts, "hint": self.hint}


def show_decisions(run: Path | str, *, store: Path | str | None = None) -> DecisionsResult:
    """Return the current decisions about a run, the agreement between people, and their disputes.

    Parameters
    ----------
    run
        The folder of a run that was reviewed, or of a sample for an audit.
    store
        The store of the decisions, as for `kiyome review`; the one in the run if not given.

    Raises
    ------
    InputError
        Where nobody reviewed it.
    """
    current = _reviewed(run, store)
    return DecisionsResult(
        items=current.items,
        decisions=current.decisions(),
        reviewers=current.reviewers,
        pairs=agreement(current),
        disputed=current.disputed.nonzero()[0].tolist(),
        num_skipped=current.num_skipped,
    )


def export_decisions(
    run: Path | str,
    file: Path | str,
    *,
    format: str | None = None,  # noqa: A002 - as every tool calls it
    rule: Rule = "unanimous",
    raw: bool = False,
    store: Path | str | None = None,
) -> TransferResult:
    """Write the current decisions into a file, whole or not at all.

    Parameters
    ----------
    run, store
        As for `show_decisions`.
    file
        The path to write; an existing file is replaced.
    format
        csv, parquet, jsonl, corrected, label_studio, cvat or fiftyone; by the file's ending if not given.
    rule
        When people agree on a row, for formats with one label a photo: ``unanimous`` or ``majority``.
    raw
        Leave cells of a CSV as they are, also those that a spreadsheet would run as formulas.

    Raises
    ------
    InputError
        Where nobody reviewed the run, or the format cannot hold its names.
    """
    file = Path(file)
    chosen = format_named(format or format_of_file(file))
    rows = reviewed_rows(_reviewed(run, store), rule=rule)
    write = chosen.write_raw if raw and chosen.write_raw else chosen.write
    exported = write(rows)
    sweep(file.parent)
    write_bytes(file, exported.content)
    return TransferResult(
        file=file,
        decisions=len(rows.decisions),
        left_out=exported.left_out,
        by_reviewer=Counter(each.reviewer for each in rows.decisions),
        hint=exported.hint,
    )


def import_decisions(
    run: Path | str, file: Path | str, *, name: str | None = None, store: Path | str | None = None
) -> TransferResult:
    """Add the decisions in a file of another tool to those about a run.

    A class equal to the given one is keep, another is relabel. The same file again writes nothing.

    Parameters
    ----------
    run, store
        As for `show_decisions`.
    file
        Columns as `export_decisions` writes them (CSV, Parquet, JSON Lines); an export of Label Studio
        (JSON, JSON-MIN, CSV, TSV); CVAT for images 1.1; labels.json of FiftyOne.
    name
        The reviewer, where the file names none; put before the names in it, with a slash, where it does.

    Raises
    ------
    InputError
        Where the file cannot be read as one of these; nothing is written then.
    """
    file, items = Path(file), read_items(run)
    parsed = parse_file(file, items.class_names)
    current = CurrentDecisions(items)
    private_folder(review_folder(run))
    with open_store(run, items, store) as opened:
        current.apply(opened.events_after())
        plan = plan_import(parsed, current, name=name)
        digest = sha256_of_file(file)
        for reviewer, decisions in plan.decisions.items():
            content = json.dumps([digest, reviewer, *((each.image_id, each.version) for each in decisions)])
            opened.append(
                decisions,
                key=f"import-{hashlib.sha256(content.encode()).hexdigest()}",
                reviewer=reviewer,
                kind="import",
                run=items.run,
                table_content=items.table_content,
                seen={"file": digest},
            )
    counts = {reviewer: len(decisions) for reviewer, decisions in plan.decisions.items()}
    return TransferResult(
        file=file, decisions=sum(counts.values()), left_out=plan.skipped, by_reviewer=counts
    )


def backup_decisions(run: Path | str, file: Path | str, *, store: Path | str | None = None) -> Path:
    """Copy the decisions about a run, while others go on deciding, and return the path of the copy.

    Parameters
    ----------
    run, store
        As for `show_decisions`.
    file
        A name that ends in .jsonl gets all events as lines that `restore_decisions` reads, from SQLite
        and PostgreSQL alike; any other gets a copy of the SQLite file.

    Raises
    ------
    InputError
        Where `file` exists, or a copy of a PostgreSQL store is requested.
    """
    file, items = Path(file), read_items(run)
    _check_store(run, store)
    if file.exists():
        raise InputError(f"{file} exists already.", remedy="Choose another name for the backup.")
    sweep(file.parent)
    with open_store(run, items, store) as opened:
        (opened.write_journal if file.suffix == ".jsonl" else opened.backup)(file)
    return file


def restore_decisions(
    run: Path | str, journal: Path | str, *, store: Path | str | None = None
) -> dict[str, int]:
    """Fill a new store of a run from a journal; return the counts "events" and "about_this_run".

    Parameters
    ----------
    run, store
        As for `show_decisions`.
    journal
        Lines that `backup_decisions` wrote, or the ``review/decisions.jsonl`` of a run.

    Raises
    ------
    InputError
        Where the store has events already.
    StaleArtifact
        With the first damaged line; nothing is stored then.
    """
    items = read_items(run)
    private_folder(review_folder(run))
    events = restore_log(journal, store_location(run, store))
    return {"events": events, "about_this_run": len(events_of(run, items, store))}


def repair_decisions(run: Path | str, *, store: Path | str | None = None) -> dict[str, Any]:
    """Rebuild the store of a run without events about photos or classes that its table does not have.

    No review page may be open meanwhile. The old store stays beside the new one. Returns "removed", the
    number of events, and "before", the path of the old store.

    Parameters
    ----------
    run, store
        As for `show_decisions`.

    Raises
    ------
    InputError
        Where nobody reviewed the run, nothing is to be removed, or the store is on PostgreSQL.
    """
    items = read_items(run)
    _check_store(run, store)

    def is_sound(line: Line) -> bool:
        review, event = line
        return review != items.fingerprint or applies_to(event, items)

    removed, before = rebuild_log(store_location(run, store), is_sound)
    return {"removed": removed, "before": str(before)}


def _reviewed(run: Path | str, store: Path | str | None) -> CurrentDecisions:
    _check_store(run, store)
    return current_decisions(run, store=store)


def _check_store(run: Path | str, store: Path | str | None) -> None:
    if not has_store(run, store):
        read_items(run)  # a folder that is no run gets its own error
        raise InputError(
            f"{run} has not been reviewed (no {store_location(run, store)}).",
            remedy=f"Run `kiyome review {run}` first, or name the store with --store.",
        )
