"""How long work tells that it goes on, without knowing who listens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Progress = Callable[[str, int, int], None]
"""Called as ``on_progress(stage, done, total)``; `kiyome.bars` turns it into bars."""


State = Literal["waiting", "learning", "predicting", "finished", "taken", "elsewhere"]
"""`taken`: finished before, and as it was; `elsewhere`: another process sees to it."""


@dataclass(frozen=True, kw_only=True)
class MemberNews:
    """What has become of one member of a training, told when it changes and after each epoch."""

    member: str
    """Its label, which is the stage that `Progress` hears, too."""
    state: State
    config: Mapping[str, Any]
    """The fields of its recipe, `epochs` among them, its folds and seed."""
    metrics: tuple[Mapping[str, Any], ...] = ()
    """One line for each epoch that is done, the first one first, as in metrics.jsonl."""


News = Callable[[MemberNews], None]
"""Called as ``on_news(news)``; the command line makes a table of it, trackers write it down."""


Notes = Callable[[str], None]
"""Called as ``on_note(note)`` with a sentence that people should hear at once."""


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing: the default listener."""


def unheard(news: MemberNews) -> None:
    """Take no notice: the default listener for news."""


def ignore_note(note: str) -> None:
    """Take no notice: the default listener for notes."""
