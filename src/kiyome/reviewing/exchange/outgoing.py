"""From what stands in a review to what goes out. N rows."""

from kiyome.artifacts.names import text_of_path
from kiyome.reviewing.agreement import Rule, consensus
from kiyome.reviewing.exchange.values import Held, Reviewed
from kiyome.reviewing.standing import NOTHING, Standing, decision_of
from kiyome.reviewing.subject import Subject


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
