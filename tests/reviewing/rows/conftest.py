"""Subjects and events of plain arrays, for the array parts of the review room."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.artifacts.decision_events import Event
from kiyome.reviewing.subject import Subject

START = datetime(2026, 1, 1, tzinfo=UTC)


def made_subject(
    num_rows: int, num_classes: int = 3, *, blind: bool = False, seed: int = 0, **changes: Any
) -> Subject:
    """Rows with random labels, guesses and chances; a blind one has none of them."""
    rng = np.random.default_rng(seed)
    pred_probs = rng.dirichlet(np.ones(num_classes), num_rows).astype(np.float32)
    given = rng.integers(num_classes, size=num_rows).astype(np.int32)
    probability = 1 - pred_probs[np.arange(num_rows), given].astype(np.float64)
    flagged = probability > 0.7
    likely = pred_probs.argmax(axis=1).astype(np.int32)
    ids = [f"photo/{row:07d}.png" for row in range(num_rows)]
    known = {
        "given_labels": given,
        "likely_labels": likely,
        "suggested_labels": np.where(flagged, likely, given),
        "probability": probability,
        "is_label_issue": flagged,
        "pred_probs": pred_probs,
        "ranking": np.lexsort((-probability, ~flagged)),
    }
    values: dict[str, Any] = {
        "run": "run",
        "title": "photos",
        "blind": blind,
        "audit": None,
        "image_ids": ids,
        "shown_ids": ids,
        "class_names": tuple(f"class {k}" for k in range(num_classes)),
        "fingerprint": "5eed" * 16,
        "table_content": "c0" * 32,
        "photo_root": Path(),
        "photo_paths": [""] * num_rows,
        "ranking": np.arange(num_rows),
    }
    return Subject(**(values | ({} if blind else known) | changes))


class MadeLog:
    """Writes events as a store would: numbers and sequences go up by one."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.events: list[Event] = []

    def append(
        self,
        reviewer: str,
        acts: dict[int, str | None],
        *,
        kind: str = "decide",
        undoes: str | None = None,
        at: float | None = None,
    ) -> list[Event]:
        """One batch: row -> verdict, or a class's name to relabel to, or None where nothing stands."""
        key = f"batch {len(self.events)}"
        when = START + timedelta(seconds=len(self.events) if at is None else at)
        for row, said in acts.items():
            image_id = self.subject.image_ids[row]
            is_label = said is not None and said in self.subject.class_names
            before = [e for e in self.events if e.reviewer == reviewer and e.image_id == image_id]
            self.events.append(
                Event(
                    number=len(self.events) + 1,
                    batch=key,
                    kind=kind,
                    undoes=undoes,
                    reviewer=reviewer,
                    image_id=image_id,
                    sequence=len(before) + 1,
                    verdict="relabel" if is_label else said,
                    label=said if is_label else None,
                    run="run",
                    table_content="",
                    seen={},
                    milliseconds=None,
                    decided_at=when.isoformat(),
                )
            )
        return self.events[-len(acts) :]


@pytest.fixture(scope="session")
def subject_of() -> Callable[..., Subject]:
    """Makes subjects."""
    return made_subject


@pytest.fixture(scope="session")
def log_of() -> type[MadeLog]:
    """Makes logs."""
    return MadeLog
