"""Members as units of work: each by itself, on any executor, in a folder named by all that decides it.

    members ── finished ones are taken ── the others run, here or elsewhere ── FinishedMember

Whoever does a member holds its folder's lock. What other processes write there is read about every second, so
that listeners hear of members elsewhere what they hear of those here, but for steps within an epoch.
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from kiyome.artifacts.storage import open_in_place
from kiyome.errors import InputError, RunBusy, TimeLimitReached
from kiyome.executors import HERE, Executor, Here
from kiyome.progress import MemberEvent, OnEvent, Progress, ignore_event, no_progress
from kiyome.training.member import (
    SEAL,
    FinishedMember,
    Member,
    metrics_until,
    news_elsewhere,
    news_of,
    seen_on_disk,
)
from kiyome.training.processes import is_main_process
from kiyome.training.time_limit import TimeLimit
from kiyome.training.train_member import take_finished, train_member

MEMBERS = "members"
Unit = tuple[Member, Path, TimeLimit | None]


def train_members(
    members: Sequence[Member],
    folder: Path,
    *,
    below: str = "",
    others: Sequence[Member] = (),
    executor: Executor = HERE,
    limit: TimeLimit | None = None,
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
) -> list[FinishedMember]:
    """The members, finished, each in its folder below ``folder / below / "members"``.

    `on_progress` hears a stage for each member trained here by its label, after each step; `on_event` hears
    first that all are waiting, then what becomes of each, and with it what lies on disk of `others`, which
    other commands see to. Members come out the same, to the last bit, wherever they are trained with as many
    threads on the same kind of processor.

    Raises
    ------
    RunBusy
        Where another process trains one of them.
    WorkerLost
        Where the process or machine of a member died again and again.
    TimeLimitReached
        Where the limit came first: each member that was begun stopped after a whole epoch, the others were
        not begun.
    """
    root = folder / below / MEMBERS

    def tell_of_others() -> None:
        for other in others:
            on_event(seen_on_disk(other, root / other.folder_name))

    def tell(news: MemberEvent) -> None:
        on_event(news)
        tell_of_others()

    units = {member.label: (member, root / member.folder_name, limit) for member in members}
    for member in members if is_main_process() else ():
        tell(news_of(member, "waiting"))
    if isinstance(executor, Here):

        def train_here(unit: Unit) -> FinishedMember | None:
            return _train_held(unit, on_progress=on_progress, on_event=tell)

        trained = [finished for _, finished in executor.run(train_here, units)]
    else:
        trained = _train_elsewhere(units, executor, on_event, tell_of_others)
    finished = [member for member in trained if member is not None]
    if limit is not None and len(finished) < len(trained):
        raise TimeLimitReached(
            f"Training stopped at its limit of {limit.text}. {len(finished)} of {len(trained)} members are"
            f" finished, every whole epoch is in {folder}.",
            remedy="The same command goes on there, to the same result.",
            folder=folder,
        )
    return finished


def _train_elsewhere(
    units: Mapping[str, Unit], executor: Executor, on_event: OnEvent, tell_of_others: Callable[[], None]
) -> list[FinishedMember | None]:
    finished: dict[str, FinishedMember | None] = {
        label: taken
        for label, (member, place, _) in units.items()
        if (taken := take_finished(member, place, on_event=on_event)) is not None
    }

    def look() -> None:
        for label, (member, place, _) in units.items():
            if label not in finished:
                on_event(news_elsewhere(member, place))
        tell_of_others()

    left = {label: unit for label, unit in units.items() if label not in finished}
    with closing(executor.run(facts_of_trained, left, on_wait=look)) as done:
        for label, facts in done:
            member, place, _ = units[label]
            if facts is None:
                finished[label] = None
                continue
            if not (place / SEAL).is_file():
                raise InputError(
                    "All workers see one run folder.",
                    came=f"no finished {label} in {place}",
                    remedy="Name a folder that every host shares with --output.",
                )
            finished[label] = FinishedMember(member=member, folder=place, facts=facts)
            for state in ("learning", "finished"):  # a quick one was perhaps not seen learning
                on_event(news_of(member, state, metrics_until(place, member.recipe.epochs)))
    return [finished[label] for label in units]


def facts_of_trained(unit: Unit) -> dict[str, Any] | None:
    """What member.json says of a member, once it is finished in its folder: the work of a unit.

    None where the time limit came first.
    """
    trained = _train_held(unit)
    return None if trained is None else trained.facts


def _train_held(
    unit: Unit, *, on_progress: Progress = no_progress, on_event: OnEvent = ignore_event
) -> FinishedMember | None:
    member, place, limit = unit
    place.mkdir(parents=True, exist_ok=True)

    def of_member(stage: str, done: int, total: int) -> None:
        if stage == "train":
            on_progress(member.label, done, total)

    with _held(place):
        try:
            return train_member(member, place, limit=limit, on_progress=of_member, on_event=on_event)
        except TimeLimitReached:
            return None  # so that workers beside it come to the end of their epoch


@contextmanager
def _held(place: Path) -> Iterator[None]:
    """Hold the member's folder; the system lets go of it however this process ends."""
    if not is_main_process():
        yield
        return
    with open_in_place(place.with_name(f".{place.name}.lock")) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunBusy(
                "One process trains a member.",
                came=f"another one that trains {place.name}",
                remedy="Wait for it, or pick other members with --members fold=...",
            ) from error
        yield
