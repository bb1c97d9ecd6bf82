"""From what a file says to what is written into the log. N rows, K classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kiyome.artifacts.escapes import text_of_path
from kiyome.decisions.agreement import Rule, consensus
from kiyome.decisions.current import NOTHING, Standing, decision_of
from kiyome.decisions.events import Act, reviewer_name
from kiyome.decisions.exchange.values import Held, Reading, Reviewed, Said, row_finder, some
from kiyome.decisions.items import Subject
from kiyome.errors import InputError


def reviewed_of(standing: Standing, *, rule: Rule = "unanimous") -> Reviewed:
    """The rows of a subject, with every decision that stands and what people agree on by this rule."""
    subject = standing.subject
    common = consensus(standing, rule=rule)
    agreed = {}
    for row in (common > NOTHING).nonzero()[0].tolist():
        verdict, label = decision_of(int(common[row]), subject.class_names)
        if verdict is not None:
            agreed[row] = Held(row=row, verdict=verdict, label=label, reviewer="")
    return Reviewed(
        run=subject.run,
        class_names=subject.class_names,
        image_ids=subject.image_ids,
        photo_names=photo_names(subject),
        given_labels=subject.given_labels,
        suggested_labels=subject.suggested_labels,
        probability=subject.probability,
        decided=held_decisions(standing),
        agreed=agreed,
    )


def held_decisions(standing: Standing) -> list[Held]:
    """Every decision that stands, by row, then by when it was made."""
    held = []
    for row in standing.decided.nonzero()[0].tolist():
        last = {event.reviewer: event for event in standing.history(row)}
        held += [
            Held(
                row=row,
                verdict=event.verdict,
                label=event.label,
                reviewer=event.reviewer,
                decided_at=event.decided_at,
                seconds=None if event.milliseconds is None else event.milliseconds / 1000,
                run=event.run,
            )
            for event in last.values()
            if event.verdict is not None
        ]
    return held


def photo_names(subject: Subject) -> list[str]:
    """(N,) paths below the data folder as text; the id where there is no photo."""
    root = f"{subject.photo_root}/"
    return [
        text_of_path(path.removeprefix(root)) if path else image_id
        for path, image_id in zip(subject.photo_paths, subject.image_ids, strict=True)
    ]


UNKNOWN_PHOTOS = "answers about photos that are no row, or might be several"
REPEATED = "earlier answers by the same person about the same photo"
ALREADY = "answers that stand already"


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """What to write for each reviewer, and what was counted instead."""

    acts: Mapping[str, Sequence[Act]]
    """By reviewer; nobody who has nothing new to say."""
    passed_over: Mapping[str, int]
    """How many entries of the file lead to no act, by reason."""


def acts_of(reading: Reading, standing: Standing, *, name: str | None = None) -> Incoming:
    """The acts that make a file's answers stand: a class equal to the given one is keep, another is relabel.

    Parameters
    ----------
    reading
        What the file says. A person's last answer about a photo counts.
    standing
        What stands so far, for versions, and so that nothing is written twice.
    name
        Of the reviewer where the file names none; put before the names in it, with a slash, where it does.

    Raises
    ------
    InputError
        Where a class is unknown, nobody is named, or no photo of the file is a row.
    """
    _check_classes(reading, standing.subject)
    passed_over = Counter(reading.passed_over)
    acts: dict[str, list[Act]] = {}
    for (reviewer, row), said in _last_answers(reading, standing.subject, name, passed_over).items():
        held = standing.of(reviewer, row)
        act = _act(said, standing.subject, row, held.version)
        if (held.verdict, held.label) == (act.verdict, act.label):
            passed_over[ALREADY] += 1
        else:
            acts.setdefault(reviewer, []).append(act)
    return Incoming(acts=acts, passed_over=+passed_over)


def _last_answers(
    reading: Reading, subject: Subject, name: str | None, passed_over: Counter[str]
) -> dict[tuple[str, int], Said]:
    """By reviewer and row; what is no answer to take is added to the counts."""
    find_row = row_finder(subject.image_ids, photo_names(subject), endings=reading.names_have_endings)
    last: dict[tuple[str, int], Said] = {}
    for said in reading.said:
        row, reviewer = find_row(said.photo), reviewer_name("/".join(filter(None, (name, said.reviewer))))
        if not reviewer:
            raise InputError(
                "A decision is someone's.",
                came=f"an answer about {said.photo!r} in a file that names nobody",
                remedy="Name the reviewer: --as NAME.",
            )
        if row is None:
            passed_over[UNKNOWN_PHOTOS] += 1
            continue
        passed_over[REPEATED] += (reviewer, row) in last
        last[reviewer, row] = said
    if reading.said and not last:
        raise InputError(
            "The file is about photos of this run.",
            came=f"no known one among {some(said.photo for said in reading.said)}",
            remedy="Take the file that belongs to it, with names below the data folder, or ids.",
        )
    return last


def _act(said: Said, subject: Subject, row: int, version: int) -> Act:
    verdict = said.verdict
    if said.label is not None:
        given = None if subject.given_labels is None else subject.class_names[subject.given_labels[row]]
        verdict = "keep" if said.label == given else "relabel"
    return Act(
        image_id=subject.image_ids[row],
        version=version,
        verdict=verdict,
        label=said.label if verdict == "relabel" else None,
    )


def _check_classes(reading: Reading, subject: Subject) -> None:
    labels = [said.label for said in reading.said if said.label is not None]
    if unknown := [label for label in labels if label not in subject.label_of]:
        raise InputError(
            "A label is the name of a class.",
            came=f"{some(unknown)} in {len(unknown)} answers",
            remedy=f"The classes are {', '.join(subject.class_names[:10])}"
            f"{', ...' if len(subject.class_names) > 10 else ''}; rename these in the file.",
        )
