"""Decisions as columns: CSV for people, Parquet and JSON Lines for machines; one line a reviewer and photo.

    image_id  given_label  decision  label   reviewer  decided_at  seconds  run
    a.jpg     blight       relabel   rust    anna      2026-...    1.8      leaves
    b.jpg     rust         keep              anna

A label comes with relabel only, so `kiyome curate --decisions` reads all three. No spreadsheet runs a cell of
the CSV as a formula, unless exact cells are wanted; reading removes the apostrophes again.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import cast, get_args

from kiyome.artifacts.escapes import safe_cell
from kiyome.decisions.events import Decision, Verdict
from kiyome.decisions.exchange.answers import ExportedFile, ParsedFile, ReviewedRows
from kiyome.errors import InputError
from kiyome.reading.classes import classes_named
from kiyome.reading.columns import Records

COLUMNS = ("image_id", "given_label", "decision", "label", "reviewer", "decided_at", "seconds", "run")


def write_decisions_csv(rows: ReviewedRows, *, raw: bool = False) -> ExportedFile:
    """Return the current decisions as CSV, with cells that no spreadsheet runs, or exact ones."""
    return ExportedFile(content=_csv(COLUMNS, _lines(rows), raw=raw))


def write_decisions_parquet(rows: ReviewedRows) -> ExportedFile:
    """Return the current decisions as Parquet: exact texts, seconds as numbers, nulls where unknown."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(*_lines(rows), strict=True) if rows.decisions else [[] for _ in COLUMNS]
    arrays = {
        name: pa.array(list(column), pa.float64() if name == "seconds" else pa.string())
        for name, column in zip(COLUMNS, columns, strict=True)
    }
    file = io.BytesIO()
    pq.write_table(pa.table(arrays), file, write_page_checksum=True)
    return ExportedFile(content=file.getvalue())


def write_decisions_jsonl(rows: ReviewedRows) -> ExportedFile:
    """Return the current decisions as JSON Lines in ASCII, one object a decision."""
    lines = (json.dumps(dict(zip(COLUMNS, line, strict=True))) + "\n" for line in _lines(rows))
    return ExportedFile(content="".join(lines).encode())


def write_corrected_labels(rows: ReviewedRows, *, raw: bool = False) -> ExportedFile:
    """Return a CSV of image_id and label: what people agree on, else the given label; no dropped rows."""
    agreed = rows.agreed_labels()
    dropped = {
        image_id
        for image_id, decision in rows.agreed.items()
        if decision.verdict in ("drop", "none_of_these")
    }
    lines = (
        (image_id, agreed.get(image_id, rows.given_label(image_id)))
        for image_id in rows.image_ids
        if image_id not in dropped
    )
    left_out = rows.left_out_of_one_label()
    return ExportedFile(content=_csv(("image_id", "label"), lines, raw=raw), left_out=left_out)


def read_decisions(records: Records, class_names: Sequence[str]) -> ParsedFile:
    """Return the decisions in a file with these columns; only image_id and decision or label are required.

    Where the file names the given label, keep means that class: a table may have other given labels since.
    Without the column decision, each label is what a person says of the photo; an empty one is no answer.
    """
    if not records.columns:  # JSON Lines without a line
        return ParsedFile(decisions=())
    for names in (("image_id",), ("decision", "label")):
        if not any(name in records.columns for name in names):
            raise InputError(
                f"{records.source.name} has no column {' or '.join(names)}.",
                expected="Expected the columns image_id, decision and, where rows are relabeled, label; or"
                " image_id and label.",
                remedy="Add it.",
            )
    photos, reviewers = _texts(records, "image_id"), _texts(records, "reviewer")
    verdicts = _verdicts(records)
    labels = _labels(records, verdicts, class_names)
    lines = zip(photos, labels, verdicts, reviewers, strict=True)
    return ParsedFile(
        decisions=[
            Decision(
                image_id=photo, verdict="relabel" if label else verdict, label=label or None, reviewer=who
            )
            for photo, label, verdict, who in lines
            if verdict is not None
        ],
        skipped=Counter("labels that are empty" for verdict in verdicts if verdict is None),
    )


def _verdicts(records: Records) -> Sequence[Verdict | None]:
    """Return the decision of each line; where the file has labels only, None beside an empty one."""
    if "decision" not in records.columns:
        return ["relabel" if label else None for label in records.texts("label")]
    verdicts = _texts(records, "decision")
    if unknown := [row for row, verdict in enumerate(verdicts) if verdict not in get_args(Verdict)]:
        records.fail(
            "unknown decisions",
            unknown,
            expected=f"Expected one of {', '.join(get_args(Verdict))}.",
            describe=lambda row: repr(verdicts[row]),
            remedy="Correct it.",
        )
    return cast("list[Verdict]", verdicts)


def _labels(records: Records, verdicts: Sequence[Verdict | None], class_names: Sequence[str]) -> list[str]:
    """Return the class that each line names; empty where it names none."""
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
    class_of = classes_named({*named} - {""}, class_names) | {"": ""}
    if unknown := [row for row, name in enumerate(named) if name not in class_of]:
        records.fail(
            "labels that are not classes",
            unknown,
            describe=lambda row: repr(named[row]),
            remedy=f"The classes are {', '.join(class_names)}.",
        )
    return [class_of[name] for name in named]


def _texts(records: Records, name: str) -> list[str]:
    return records.texts(name) if name in records.columns else [""] * len(records)


def _lines(rows: ReviewedRows) -> Iterator[tuple[object, ...]]:
    for decision in rows.decisions:
        yield (
            decision.image_id,
            rows.given_label(decision.image_id),
            decision.verdict,
            decision.label,
            decision.reviewer,
            decision.decided_at or None,
            decision.seconds,
            decision.run or None,
        )


def _csv(header: tuple[str, ...], lines: Iterator[tuple[object, ...]], *, raw: bool) -> bytes:
    file, cell_of = io.StringIO(newline=""), str if raw else safe_cell
    cells = ((cell_of(x) if isinstance(x, str) else "" if x is None else x for x in line) for line in lines)
    csv.writer(file).writerows(chain([header], cells))
    return file.getvalue().encode()
