"""Progress of long work: callbacks for it, and bars in a terminal or notebook."""

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
"""Called as ``on_progress(stage, done, total)``."""


State = Literal["waiting", "learning", "predicting", "finished", "cached", "remote"]
"""`cached`: finished by an earlier run; `remote`: trained by another process."""


@dataclass(frozen=True, kw_only=True)
class MemberEvent:
    """State of one member of a training, after each change and each epoch."""

    member: str
    """Its label, which is also its stage of `Progress`."""
    state: State
    config: Mapping[str, Any]
    """The fields of its recipe, with `epochs`, folds and seed."""
    metrics: tuple[Mapping[str, Any], ...] = ()
    """One line for each finished epoch, in order, as in metrics.jsonl."""


OnEvent = Callable[[MemberEvent], None]
"""Called as ``on_event(event)``; the command line shows a table, trackers record it."""


Notes = Callable[[str], None]
"""Called as ``on_note(note)`` with a sentence to show at once."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress: the default callback."""


def ignore_event(event: MemberEvent) -> None:
    """Ignore an event: the default callback."""


def ignore_note(note: str) -> None:
    """Ignore a note: the default callback."""


Given = ParamSpec("Given")
Result = TypeVar("Result")


def shows_progress(verb: Callable[Given, Result]) -> Callable[Given, Result]:
    """Return the verb with bars on stderr while it works, in a terminal or a notebook.

    There are no bars with ``progress=False``, with a callback `on_progress`, and in pipes and files.
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
    """Yield a callback that shows a bar for each stage, from its first call to the end of the block."""
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
    """Return bars that are not shown yet, and the callback that moves them."""
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
