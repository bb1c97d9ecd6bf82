"""Decisions as columns: CSV for people, Parquet and JSON Lines for machines; one line a reviewer and photo.

    image_id  given_label  decision  label   reviewer  decided_at  seconds  run
    a.jpg     blight       relabel   rust    anna      2026-...    1.8      leaves
    b.jpg     rust         keep              anna

`label` stands with relabel only, so `kiyome curate --decisions` reads all three. In a CSV no spreadsheet runs
a cell, unless exact cells are asked for; reading takes the marks away again.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import cast, get_args

from kiyome.artifacts.escapes import safe_cell
from kiyome.decisions.events import Verdict
from kiyome.decisions.exchange.values import Reading, Reviewed, Said, Written
from kiyome.errors import InputError
from kiyome.reading.columns import Records

COLUMNS = ("image_id", "given_label", "decision", "label", "reviewer", "decided_at", "seconds", "run")


def write_decisions_csv(reviewed: Reviewed, *, raw: bool = False) -> Written:
    """What stands as CSV, with cells that no spreadsheet runs, or exact ones."""
    return Written(content=_csv(COLUMNS, _rows(reviewed), raw=raw))


def write_decisions_parquet(reviewed: Reviewed) -> Written:
    """What stands as Parquet: exact texts, seconds as numbers, nulls where nothing is known."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(*_rows(reviewed), strict=True) if reviewed.decided else [[] for _ in COLUMNS]
    arrays = {
        name: pa.array(list(column), pa.float64() if name == "seconds" else pa.string())
        for name, column in zip(COLUMNS, columns, strict=True)
    }
    file = io.BytesIO()
    pq.write_table(pa.table(arrays), file, write_page_checksum=True)
    return Written(content=file.getvalue())


def write_decisions_jsonl(reviewed: Reviewed) -> Written:
    """What stands as JSON Lines in ASCII, one object a decision."""
    lines = (json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in _rows(reviewed))
    return Written(content="".join(lines).encode())


def write_corrected_labels(reviewed: Reviewed, *, raw: bool = False) -> Written:
    """A CSV of image_id and label: what people agree on, else the given label; dropped rows are absent."""
    agreed = reviewed.agreed_labels()
    dropped = {row for row, decision in reviewed.agreed.items() if decision.verdict == "drop"}
    rows = (
        (image_id, agreed.get(row, reviewed.given_label(row)))
        for row, image_id in enumerate(reviewed.image_ids)
        if row not in dropped
    )
    left_out = reviewed.left_out_of_one_label()
    return Written(content=_csv(("image_id", "label"), rows, raw=raw), left_out=left_out)


def read_decisions(records: Records, class_names: Sequence[str]) -> Reading:
    """What a file with these columns says; only image_id and decision must be there.

    Where the file names the given label, keep says that class: a table may have been given others since.

    Raises
    ------
    InputError
        With the line, where a column is missing, or a decision or a class unknown.
    """
    if not records.columns:  # JSON Lines without a line
        return Reading(said=())
    for name in ("image_id", "decision"):
        if name not in records.columns:
            raise InputError(
                "Decisions have the columns image_id, decision and, where rows are relabeled, label.",
                came=f"no {name} in {records.source.name}",
                remedy="Add it.",
            )
    photos, reviewers = _texts(records, "image_id"), _texts(records, "reviewer")
    verdicts = _verdicts(records)
    labels = _labels(records, verdicts, class_names)
    answers = zip(photos, labels, verdicts, reviewers, strict=True)
    return Reading(
        said=[
            Said(photo=photo, label=label or None, verdict=None if label else verdict, reviewer=who)
            for photo, label, verdict, who in answers
        ]
    )


def _verdicts(records: Records) -> list[Verdict]:
    verdicts = _texts(records, "decision")
    if strange := [row for row, verdict in enumerate(verdicts) if verdict not in get_args(Verdict)]:
        records.fail(
            "unknown decisions",
            strange,
            expected=f"Expected one of {', '.join(get_args(Verdict))}.",
            describe=lambda row: repr(verdicts[row]),
            remedy="Correct it.",
        )
    return cast("list[Verdict]", verdicts)


def _labels(records: Records, verdicts: list[Verdict], class_names: Sequence[str]) -> list[str]:
    """The class that each line speaks for; empty where it speaks for none."""
    labels, given = _texts(records, "label"), _texts(records, "given_label")
    pairs = zip(verdicts, labels, strict=True)
    if unlike := [row for row, (verdict, label) in enumerate(pairs) if (verdict == "relabel") != bool(label)]:
        records.fail(
            "decisions and labels that do not fit",
            unlike,
            expected="Expected a label for each relabel, and for no other decision.",
            describe=lambda row: f"{verdicts[row]} with label {labels[row]!r},",
            remedy="Name the class beside relabel only.",
        )
    columns = zip(verdicts, labels, given, strict=True)
    named = [kept if verdict == "keep" else label for verdict, label, kept in columns]
    if strange := [row for row, name in enumerate(named) if name and name not in class_names]:
        records.fail(
            "labels that are not classes",
            strange,
            describe=lambda row: repr(named[row]),
            remedy=f"The classes are {', '.join(class_names)}.",
        )
    return named


def _texts(records: Records, name: str) -> list[str]:
    return records.texts(name) if name in records.columns else [""] * len(records)


def _rows(reviewed: Reviewed) -> Iterator[tuple[object, ...]]:
    for decision in reviewed.decided:
        yield (
            reviewed.image_ids[decision.row],
            reviewed.given_label(decision.row),
            decision.verdict,
            decision.label,
            decision.reviewer,
            decision.decided_at or None,
            decision.seconds,
            decision.run or None,
        )


def _csv(header: tuple[str, ...], rows: Iterator[tuple[object, ...]], *, raw: bool) -> bytes:
    file, cell_of = io.StringIO(newline=""), str if raw else safe_cell
    cells = ((cell_of(x) if isinstance(x, str) else "" if x is None else x for x in row) for row in rows)
    csv.writer(file).writerows(chain([header], cells))
    return file.getvalue().encode()
