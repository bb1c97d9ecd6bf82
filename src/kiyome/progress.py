"""How long work tells that it goes on, without knowing who listens."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

Progress = Callable[[str, int, int], None]
"""Called as ``on_progress(stage, done, total)``; `kiyome.progress` turns it into bars."""


State = Literal["waiting", "learning", "predicting", "finished", "cached", "remote"]
"""`cached`: finished by an earlier run; `remote`: trained by another process."""


@dataclass(frozen=True, kw_only=True)
class MemberEvent:
    """The state of one member of a training, sent when it changes and after each epoch."""

    member: str
    """Its label, which is also its stage in `Progress`."""
    state: State
    config: Mapping[str, Any]
    """The fields of its recipe, `epochs` among them, its folds and seed."""
    metrics: tuple[Mapping[str, Any], ...] = ()
    """One line for each epoch that is done, the first one first, as in metrics.jsonl."""


OnEvent = Callable[[MemberEvent], None]
"""Called as ``on_event(event)``; the command line shows a table of members, trackers log metrics."""


Notes = Callable[[str], None]
"""Called as ``on_note(note)`` with a sentence that people should hear at once."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Do nothing: the default listener for progress."""


def ignore_event(event: MemberEvent) -> None:
    """Do nothing: the default listener for events."""


def ignore_note(note: str) -> None:
    """Do nothing: the default listener for notes."""


Given = ParamSpec("Given")
Result = TypeVar("Result")


def shows_progress(verb: Callable[Given, Result]) -> Callable[Given, Result]:
    """The verb with bars on stderr while it works, in a terminal or a notebook.

    It is silent with ``progress=False``, where `on_progress` listens, and in pipes and files.
    """
    call: Callable[..., Result] = verb

    @wraps(verb)
    def watched(*args: Given.args, **options: Given.kwargs) -> Result:
        if "on_progress" in options or not options.get("progress", True):
            return verb(*args, **options)
        if not (sys.stderr.isatty() or _in_notebook()):
            return verb(*args, **options)
        with bars_on_stderr() as on_progress:
            return call(*args, **options, on_progress=on_progress)

    return watched


def _in_notebook() -> bool:
    from rich.console import Console

    return Console().is_jupyter


@contextmanager
def bars_on_stderr() -> Iterator[Progress]:
    """A listener that shows a bar for each stage, from the first that is told to the end of the block."""
    from rich.console import Console

    bars, on_stage = new_bars(Console(stderr=True))

    def on_progress(stage: str, done: int, total: int) -> None:
        bars.start()
        on_stage(stage, done, total)

    try:
        yield on_progress
    finally:
        if bars.tasks:
            bars.stop()


def new_bars(console: "Console") -> "tuple[RichProgress, Progress]":
    """A bar for each stage, not shown yet, and what moves them."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    bars, tasks = RichProgress(*columns, console=console), {}

    def on_stage(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    return bars, on_stage
