"""Rows with their decisions for a file, and the decisions of a file for the log. N rows, K classes.

Other tools rename photos, so that names are matched (`reading.names`): compared as text, never opened.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import text_of_path
from kiyome.decisions.agreement import Rule, consensus_codes
from kiyome.decisions.current import NONE, CurrentDecisions, decision_of
from kiyome.decisions.events import Decision, refuse_unknown_labels, reviewer_name
from kiyome.decisions.items import ReviewItems
from kiyome.errors import InputError
from kiyome.reading.classes import classes_named
from kiyome.reading.names import AMBIGUOUS, match_names

MAX_BYTES = 256 << 20
"""Of a file that is read whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewedRows:
    """N rows of a run with their decisions, as formats write them."""

    run: str
    class_names: tuple[str, ...]
    image_ids: Sequence[str]
    photo_names: Sequence[str]
    """(N,) paths below the data folder as text; the id where there is no photo."""
    given_labels: NDArray[np.integer] | None = None
    """(N,); None, as the next two, in a blind review."""
    suggested_labels: NDArray[np.integer] | None = None
    probability: NDArray[np.floating] | None = None
    """(N,) probability that the given label is wrong."""
    decisions: Sequence[Decision] = ()
    """Of each reviewer, in order of rows."""
    agreed: Mapping[str, Decision] = field(default_factory=dict)
    """By image id, what all who decided have in common; disputed rows are absent."""

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Image id -> row."""
        return {image_id: row for row, image_id in enumerate(self.image_ids)}

    def label_of(self, decision: Decision) -> str | None:
        """Return the class that a decision stands for; None for all but keep and relabel."""
        return self.given_label(decision.image_id) if decision.verdict == "keep" else decision.label

    def given_label(self, image_id: str) -> str | None:
        """Return the given class of a row; None in a blind review."""
        return (
            None if self.given_labels is None else self.class_names[self.given_labels[self.row_of[image_id]]]
        )

    def agreed_labels(self) -> dict[str, str]:
        """Return the class that people have in common, by image id."""
        labels = {image_id: self.label_of(decision) for image_id, decision in self.agreed.items()}
        return {image_id: label for image_id, label in labels.items() if label is not None}

    def left_out_of_one_label(self) -> dict[str, int]:
        """Return how many rows a format with one label a photo cannot hold, by reason."""
        disputed = {d.image_id for d in self.decisions} - self.agreed.keys()
        verdicts = Counter(d.verdict for d in self.agreed.values())
        counts = {
            "disputed rows": len(disputed),
            "rows that people drop": verdicts["drop"],
            "rows that show none of the classes": verdicts["none_of_these"],
            "rows that show two classes, with their given label": verdicts["both"],
            "rows that people are unsure of": verdicts["unsure"],
        }
        return {reason: number for reason, number in counts.items() if number}


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """The content of a file, and what it could not hold."""

    content: bytes
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of decisions that are not in it, by reason."""
    hint: str = ""
    """What to set up in the other tool."""


@dataclass(frozen=True, kw_only=True)
class ParsedFile:
    """The decisions in a file of another tool.

    Their image ids are the photos' names there, and a named class is always relabel: whether that keeps the
    given label, `plan_import` finds out.
    """

    decisions: Sequence[Decision]
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Number of entries without a decision, by reason."""


def reviewed_rows(current: CurrentDecisions, *, rule: Rule = "unanimous") -> ReviewedRows:
    """Return the rows under review with every current decision, and those in common by this rule."""
    items = current.items
    common = consensus_codes(current, rule=rule)
    rows = (common > NONE).nonzero()[0].tolist()
    ids = items.image_ids
    return ReviewedRows(
        run=items.run,
        class_names=items.class_names,
        image_ids=ids,
        photo_names=photo_names(items),
        given_labels=items.given_labels,
        suggested_labels=items.suggested_labels,
        probability=items.probability,
        decisions=current.decisions(),
        agreed={ids[row]: decision_of(int(common[row]), ids[row], items.class_names) for row in rows},
    )


def photo_names(items: ReviewItems) -> list[str]:
    """Return the paths (N,) below the data folder as text; the id where there is no photo."""
    root = f"{items.photo_root}/"
    return [
        text_of_path(path.removeprefix(root)) if path else image_id
        for path, image_id in zip(items.photo_paths, items.image_ids, strict=True)
    ]


UNKNOWN_PHOTOS = "answers about unknown photos, or about names that several photos have"
REPEATED = "earlier answers by the same person about the same photo"
ALREADY = "answers that are current already"


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """The decisions to write for each reviewer, and what was skipped."""

    decisions: Mapping[str, Sequence[Decision]]
    """By reviewer; nobody without a new one."""
    skipped: Mapping[str, int]
    """Number of entries of the file that change nothing, by reason."""


def plan_import(parsed: ParsedFile, current: CurrentDecisions, *, name: str | None = None) -> ImportPlan:
    """Return the decisions to write so that a file's answers become current.

    A person's last answer about a photo counts; a class equal to the given one is keep. A class may differ
    in case, spaces and Unicode form from the only one it means. Answers with a class that the table does not
    have are skipped, unless all are such. `name` is the reviewer where the file names none; where it does, it
    is put before the names, with a slash.
    """
    items = current.items
    labels = {each.label for each in parsed.decisions if each.label is not None}
    class_of: dict[str | None, str | None] = {None: None}
    class_of.update(classes_named(labels, items.class_names))
    known = [replace(each, label=class_of[each.label]) for each in parsed.decisions if each.label in class_of]
    if not known:
        refuse_unknown_labels(parsed.decisions, items.class_names)
    skipped = Counter(parsed.skipped)
    for answer in parsed.decisions:
        if answer.label not in class_of:
            skipped[f"answers with the unknown class {answer.label!r}"] += 1
    parsed = replace(parsed, decisions=known)
    new: dict[str, list[Decision]] = {}
    for (reviewer, row), answer in _last_answers(parsed, items, name, skipped).items():
        now = current.of(reviewer, row)
        wanted = replace(now, verdict=answer.verdict, label=answer.label)
        if items.given_labels is not None and answer.label == items.class_names[items.given_labels[row]]:
            wanted = replace(now, verdict="keep", label=None)
        if wanted == now:
            skipped[ALREADY] += 1
        else:
            new.setdefault(reviewer, []).append(wanted)
    return ImportPlan(decisions=new, skipped=+skipped)


def _last_answers(
    parsed: ParsedFile, items: ReviewItems, name: str | None, skipped: Counter[str]
) -> dict[tuple[str, int], Decision]:
    """Return the last answer by reviewer and row; all others are added to the counts."""
    names = [answer.image_id for answer in parsed.decisions]
    rows = match_names(names, items.image_ids, photo_names(items), one_to_one=False).rows.tolist()
    last: dict[tuple[str, int], Decision] = {}
    for answer, row in zip(parsed.decisions, rows, strict=True):
        reviewer = reviewer_name("/".join(filter(None, (name, answer.reviewer))))
        if not reviewer:
            raise InputError(
                f"The file does not say who decided about {answer.image_id!r}.",
                remedy="Name the reviewer: --as NAME.",
            )
        if row < 0:
            skipped[UNKNOWN_PHOTOS] += 1
            continue
        skipped[REPEATED] += (reviewer, row) in last
        last[reviewer, row] = answer
    if parsed.decisions and not last:
        if several := [name for name, row in zip(names, rows, strict=True) if row == AMBIGUOUS]:
            raise InputError(
                f"Each name in the file means several photos of this run, such as {preview(several)}.",
                expected="Expected names with their folders, as below the data folder.",
                remedy="Export the file with the folders of the photos, or with their ids.",
            )
        raise InputError(
            f"No photo of the file is in this run: {preview(each.image_id for each in parsed.decisions)}.",
            expected="Expected image ids, or names below the data folder.",
            remedy="Import the file that belongs to this run.",
        )
    return last


def preview(texts: Iterable[str], shown: int = 3) -> str:
    """Return the first few different texts for a message, and how many more there are.

    >>> preview(["b", "a", "a", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    different = sorted(set(texts))
    more = f" and {len(different) - shown} more" if len(different) > shown else ""
    return ", ".join(map(repr, different[:shown])) + more


def check_size(content: bytes, what: str) -> None:
    """Raise an InputError where a file is too large to be read whole."""
    if len(content) > MAX_BYTES:
        raise InputError(
            f"The {what} file has {len(content) >> 20} MiB or more.",
            expected=f"Expected at most {MAX_BYTES >> 20} MiB.",
            remedy="Export it in parts.",
        )


def parse_json(content: bytes, what: str) -> Any:
    """Return the value of a JSON document."""
    check_size(content, what)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"The {what} file is not JSON in UTF-8: {error or 'it is nested too deeply'}.",
            remedy="Export it again.",
        ) from error
