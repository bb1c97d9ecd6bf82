"""How long work tells that it goes on, without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as ``on_progress(stage, done, total)``; only the command line turns it into bars."""


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing: the default listener."""
