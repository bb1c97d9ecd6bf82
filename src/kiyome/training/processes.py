"""Which of several processes this is, under `accelerate launch`; alone, everything here is free of cost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def num_processes() -> int:
    """How many processes train one member together; 1 without a launcher.

    >>> num_processes()
    1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is the process that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_everyone() -> None:
    """Return when all processes have come here."""
    if num_processes() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


@contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process go through the block before the others, so that it alone has to store things."""
    if not is_main_process():
        wait_for_everyone()
    yield
    if is_main_process():
        wait_for_everyone()
