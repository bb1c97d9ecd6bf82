"""From what stands in a review to what goes out. N rows."""

from collections.abc import Callable, Iterable

from kiyome.artifacts.names import text_of_path
from kiyome.review.exchange.values import Held, Reviewed
from kiyome.review.standing import Standing
from kiyome.review.subject import Subject


def reviewed_of(subject: Subject, standing: Standing) -> Reviewed:
    """The rows of a subject, with every decision that stands and what people agree on."""
    decided = held_decisions(standing)
    names = subject.class_names
    given = subject.given_labels
    return Reviewed(
        run=subject.run,
        class_names=names,
        image_ids=subject.image_ids,
        photo_names=photo_names(subject),
        given_labels=given,
        suggested_labels=subject.suggested_labels,
        probability=subject.probability,
        decided=decided,
        agreed=agreed_decisions(decided, lambda row: None if given is None else names[given[row]]),
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


def agreed_decisions(decided: Iterable[Held], given_label: Callable[[int], str | None]) -> dict[int, Held]:
    """By row, what all who decided hold; rows of which two hold different things are absent.

    Being unsure contradicts nobody, and keeping a label is the same as relabeling to it.

    >>> anna = Held(row=0, verdict="keep", reviewer="Anna")
    >>> ben = Held(row=0, verdict="relabel", label="rust", reviewer="Ben")
    >>> agreed_decisions([anna, ben], lambda row: "rust")[0].reviewer
    'Anna'
    >>> agreed_decisions([anna, ben], lambda row: "healthy")
    {}
    """
    by_row: dict[int, list[Held]] = {}
    for each in decided:
        by_row.setdefault(each.row, []).append(each)
    agreed = {}
    for row, held in by_row.items():
        sure = [each for each in held if each.verdict != "unsure"]
        said = {given_label(row) or "" if each.verdict == "keep" else each.label for each in sure}
        if len(said) <= 1:
            agreed[row] = (sure or held)[0]
    return agreed


def photo_names(subject: Subject) -> list[str]:
    """(N,) paths below the data folder as text; the id where there is no photo."""
    root = f"{subject.photo_root}/"
    return [
        text_of_path(path.removeprefix(root)) if path else image_id
        for path, image_id in zip(subject.photo_paths, subject.image_ids, strict=True)
    ]
