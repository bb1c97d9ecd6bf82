"""The members of a training as a live table on a terminal, and as plain lines in a pipe or in CI."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from kiyome.cli.command import visible
from kiyome.progress import MemberEvent, OnEvent, Progress, new_bars

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

OTHER_LINES = 12
"""Lines of a terminal beside the members: bars, heads, total, and some earlier output."""


@dataclass(kw_only=True)
class MemberLine:
    """The progress of one member, as far as this process knows."""

    event: MemberEvent
    began: float | None = None
    """When it began to train here, with `share_before` of it done already."""
    share_before: float = 0.0
    steps: tuple[int, int] = (0, 0)
    """Steps done, and all steps."""

    @property
    def epochs(self) -> str:
        """Epochs done of all, such as 3/10."""
        return f"{len(self.event.metrics)}/{self.event.config['epochs']}"

    @property
    def share(self) -> float:
        """The share that is done, 0 to 1."""
        if self.event.state in ("finished", "cached"):
            return 1.0
        done, total = self.steps if self.steps[1] else (len(self.event.metrics), self.event.config["epochs"])
        return done / total

    @property
    def state(self) -> str:
        """The state in words."""
        epochs = self.event.config["epochs"]
        return {
            "waiting": "waiting",
            "learning": f"epoch {min(len(self.event.metrics) + 1, epochs)}/{epochs}",
            "predicting": "predicting",
            "finished": "done",
            "cached": "done before",
            "remote": f"remote, {self.epochs}",
        }[self.event.state]

    @property
    def last(self) -> tuple[str, str]:
        """Training loss and held-out agreement with labels after the last epoch."""
        if not self.event.metrics:
            return "", ""
        line = self.event.metrics[-1]
        return f"{line['train_loss']:.4f}", f"{line['held_out_accuracy_on_labels']:.1%}"

    def seconds_left(self, now: float) -> float | None:
        """Seconds left at the pace so far; None before there is a pace."""
        learned = self.share - self.share_before
        if self.event.state != "learning" or self.began is None or learned <= 0:
            return None
        return (now - self.began) / learned * (1 - self.share)


class MemberTable:
    """The progress of all members."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.lines: dict[str, MemberLine] = {}
        self._clock = clock

    def on_event(self, event: MemberEvent) -> None:
        """Record an event of a member."""
        line = self.lines.setdefault(event.member, MemberLine(event=event))
        line.event = event
        if event.state == "learning" and line.began is None:
            line.began, line.share_before = self._clock(), line.share

    def on_step(self, member: str, done: int, total: int) -> None:
        """Record a step of a member's training."""
        self.lines[member].steps = (done, total)

    @property
    def plan(self) -> str:
        """The number of trainings, with the pairs of folds of nested recipes apart.

        >>> MemberTable().plan
        '0 members'
        """
        pairs = sum("+" in str(line.event.config.get("fold")) for line in self.lines.values())
        members = f"{len(self.lines) - pairs} members"
        return f"{pairs} pairs of folds, {members}" if pairs else members

    def seconds_left(self) -> float | None:
        """Seconds left for all members that this process trains, each as long as those before."""
        local = [line for line in self.lines.values() if line.event.state != "remote"]
        began = [line.began for line in local if line.began is not None]
        learned = sum(line.share - line.share_before for line in local if line.began is not None)
        if not began or learned <= 0:
            return None
        return (self._clock() - min(began)) / learned * sum(1 - line.share for line in local)

    def cells(self, most: int = 1000) -> list[tuple[str, str, float, str, str, str]]:
        """Return name, state, share done, loss, agreement and time left, of the total and of each member.

        At most `most` members are shown, those around the one that trains.
        """
        now, lines = self._clock(), list(self.lines.values())
        done = sum(line.share == 1 for line in lines)
        share = sum(line.share for line in lines) / max(1, len(lines))
        total = (self.plan, f"{done} done", share, "", "", clock_time(self.seconds_left()))
        active = [index for index, line in enumerate(lines) if line.event.state in ("learning", "predicting")]
        start = max(0, min((active or [0])[-1] - most // 2, len(lines) - most))
        shown = [
            (line.event.member, line.state, line.share, *line.last, clock_time(line.seconds_left(now)))
            for line in lines[start : start + most]
        ]
        return [total, *shown]


def clock_time(seconds: float | None) -> str:
    """Return a time as h:mm:ss, rounded up, so that 0:00 means that none is left.

    >>> clock_time(64.2), clock_time(3725), clock_time(None)
    ('1:05', '1:02:05', '')
    """
    if seconds is None:
        return ""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def watching(console: "Console | None" = None) -> Iterator[tuple[Progress, OnEvent]]:
    """Listeners that print to stderr: a live table on a terminal, else one line for each epoch."""
    from rich.console import Console

    console = console or Console(stderr=True)
    with (_live if console.is_terminal else _plain)(console) as listeners:
        yield listeners


@contextmanager
def _live(console: "Console") -> Iterator[tuple[Progress, OnEvent]]:
    from rich.console import Group
    from rich.live import Live

    table, bars, on_stage = MemberTable(), *new_bars(console)

    def rendered() -> "RenderableType":
        most = max(3, console.height - OTHER_LINES)
        return Group(bars, _rendered(table, most=most)) if table.lines else bars

    def on_progress(stage: str, done: int, total: int) -> None:
        live.start()
        (table.on_step if stage in table.lines else on_stage)(stage, done, total)

    live = Live(get_renderable=rendered, console=console, refresh_per_second=4)
    try:
        yield on_progress, table.on_event
    finally:
        live.stop()


def _rendered(table: MemberTable, *, most: int) -> "RenderableType":
    from rich.box import SIMPLE
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rendered = Table("member", "", "", box=SIMPLE, pad_edge=False)
    for head in ("loss", "agreement", "left"):
        rendered.add_column(head, justify="right")
    for name, state, share, *rest in table.cells(most):
        bar = ProgressBar(total=1.0, completed=share, width=20)
        rendered.add_row(Text(visible(name)), state, bar, *rest)
    return rendered


@contextmanager
def _plain(console: "Console") -> Iterator[tuple[Progress, OnEvent]]:
    table, begun = MemberTable(), list[str]()

    def on_progress(stage: str, done: int, total: int) -> None:
        if stage in table.lines:
            table.on_step(stage, done, total)
        elif done == total:
            emit(f"{stage}: {total:,}")

    def on_event(event: MemberEvent) -> None:
        before = table.lines.get(event.member)
        previous = (before.event.state, len(before.event.metrics)) if before else None
        if before and before.event.state == "waiting" != event.state and not begun:
            begun.append(event.member)
            if "pairs" in table.plan:
                emit(f"to train: {table.plan}")
        table.on_event(event)
        if previous != (event.state, len(event.metrics)) and (
            text := _line_text(table, table.lines[event.member])
        ):
            emit(f"{event.member}  {text}")

    def emit(text: str) -> None:
        print(visible(text), file=console.file)

    yield on_progress, on_event


def _line_text(table: MemberTable, line: MemberLine) -> str:
    """The text of a member's new state; empty where nothing is to be printed."""
    if line.event.state in ("finished", "cached"):
        return line.state
    if line.event.state != "learning" or not line.event.metrics:
        return ""
    loss, agreement = line.last
    left = clock_time(table.seconds_left())
    return f"epoch {line.epochs}  loss {loss}  agreement {agreement}" + (
        f"  {left} left in all" if left else ""
    )
