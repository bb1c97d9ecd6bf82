"""The experiments on a run's rows, each of which could be chosen as the best; and what a leaderboard adds.

diary, other runs ─► candidates ─┬─► public scores in the diary ─► which to choose, private scores to expect
                                 └─► labels of the test rows ─► how far a public part can be believed
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import TEST, UNLABELED, Table
from kiyome.errors import InputError, KiyomeError
from kiyome.evaluation.public_part import PublicPart, public_part
from kiyome.evaluation.submission import SubmissionChoice, choose_submission
from kiyome.experiments import Entry, origin_of
from kiyome.reading.finished_run import FinishedRun, open_run
from kiyome.workflows.caveats import FROM_FILE, leaks_of

PUBLIC = "public"
"""Name of the score on the public part, as people note it in the diary."""


class Candidate(NamedTuple):
    """An experiment on the same rows, which could be chosen as the best."""

    right: NDArray[np.bool_]
    """(N,) rows whose likeliest class is the given label."""
    leaks: tuple[str, ...]


def candidates_of(
    main: FinishedRun, others: Sequence[FinishedRun], experiments: Sequence[Entry], split: str
) -> dict[str, Candidate]:
    """Return each experiment on these rows that still exists, once: each was part of the choice."""
    beside = main.path.resolve().parent
    noted = {beside / entry.run for entry in experiments}
    folders: dict[str, Path] = {}
    for origin in [origin_of(entry, experiments) for entry in experiments]:
        folders.setdefault(origin.result, beside / origin.run)
    unnoted = [path for each in (main, *others) if (path := each.path.resolve()) not in noted]
    candidates = {}
    for folder in (*folders.values(), *unnoted):
        try:
            run = open_run(folder).in_split(split)
        except KiyomeError:
            continue  # gone or changed since; the caveats count it
        leaks = [leak for leak in leaks_of(run, experiments) if leak != FROM_FILE]
        candidates[run.name] = Candidate(right=run.right_on_given, leaks=tuple(leaks))
    return candidates


def choice_by_public_scores(
    main: FinishedRun,
    candidates: Mapping[str, Candidate],
    experiments: Sequence[Entry],
    *,
    num_public: int,
    num_private: int | None,
    seed: int,
) -> SubmissionChoice:
    """Return the choice among the candidates that have a public score in the diary."""
    public = {
        origin_of(entry, experiments).run: entry.leaderboard[PUBLIC]
        for entry in experiments
        if PUBLIC in entry.leaderboard
    }
    scored = {name: each for name, each in candidates.items() if name in public}
    if len(scored) < 2:
        raise InputError(
            f"{len(scored)} experiments on the rows of {main.path} have a public score.",
            expected="Expected two or more.",
            remedy="Note them with `kiyome diary --note RUN public=0.903`.",
        )
    return choose_submission(
        {name: each.right for name, each in scored.items()},
        {name: public[name] for name in scored},
        num_public=num_public,
        num_private=num_private,
        leaking=[name for name, each in scored.items() if each.leaks],
        groups=main.table.groups,
        seed=seed,
    )


def lottery_of_public_part(
    main: FinishedRun, candidates: Mapping[str, Candidate], *, num_public: int, seed: int
) -> PublicPart:
    """Return how far scores on a part of these rows can be believed, from their labels."""
    if len(candidates) < 2:
        raise InputError(
            f"{main.path} is the only experiment on these rows.",
            expected="Expected two or more, one of which leads on the public part.",
            remedy="Name another with --against RUN.",
        )
    rights = {name: each.right for name, each in candidates.items()}
    return public_part(rights, num_public, groups=main.table.groups, seed=seed)


def rows_left_for_private(table: Table, num_public: int) -> int | None:
    """Return the test and unlabeled rows of a table that are not public; None where it has no more."""
    left = int((table.in_split(TEST) | table.in_split(UNLABELED)).sum()) - num_public
    return left if left > 0 else None
