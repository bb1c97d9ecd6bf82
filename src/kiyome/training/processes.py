"""Several processes that train one member together, and the time limit of a training.

    torchrun --nproc-per-node 2 -m kiyome train photos/ --output runs/leaves
    accelerate launch --multi_gpu --num_processes 2 -m kiyome train photos/ --output runs/leaves

`--multi_gpu` starts processes on a machine without GPUs, too; `--cpu` starts one (accelerate 1.15).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING

from kiyome.errors import InputError, MissingExtra
from kiyome.executors import Executor, Here

if TYPE_CHECKING:
    from accelerate import PartialState

SECONDS = {"h": 3600, "m": 60, "s": 1}


@dataclass(kw_only=True, eq=False)
class TimeLimit:
    """The moment by which a training ends: no epoch begins that would probably end after it.

    Workers get copies, each of which knows only the epochs of its own member.
    """

    text: str
    """The user's text."""
    ends: float
    """Seconds since 1970, which is the same on all machines."""
    longest_epoch: float = 0.0
    """Seconds of the longest epoch so far."""

    @staticmethod
    def of(text: "str | TimeLimit | None") -> "TimeLimit | None":
        """Return the limit that begins now, from a number with its unit (8h, 30m, 90s, 1.5h), or what is one.

        >>> round(TimeLimit.of("1.5h").ends - time())
        5400
        """
        if not isinstance(text, str):
            return text
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)([hms])", text.strip())
        if parts is None:
            raise InputError(
                f"The time limit {text!r} is not a number with h, m or s.",
                remedy="Write 8h, 30m or 90s, for hours, minutes or seconds.",
            )
        return TimeLimit(text=text.strip(), ends=time() + float(parts[1]) * SECONDS[parts[2]])

    def count_epoch(self, seconds: float) -> None:
        """Take up how long an epoch took."""
        self.longest_epoch = max(self.longest_epoch, seconds)

    @property
    def is_reached(self) -> bool:
        """Whether another epoch, as long as the longest so far, would end too late."""
        return time() + self.longest_epoch > self.ends


PATIENCE = timedelta(hours=12)
"""The longest wait of a process for the others, one of which predicts and writes."""


def num_processes() -> int:
    """Return the number of processes that train one member together; 1 without a launcher.

    >>> num_processes()
    1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is the process that writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def check_executor(executor: Executor) -> None:
    """Refuse an executor under a launcher, since either batches or members are shared out."""
    if num_processes() > 1 and not isinstance(executor, Here):
        raise InputError(
            f"There are {num_processes()} processes and an executor.",
            expected="Expected one of both: torchrun shares out batches, an executor members.",
            remedy="Leave --executor out, or torchrun.",
        )


def join_processes() -> "PartialState":
    """Join the other processes and return Accelerate's view of all of them.

    The first call of Accelerate decides for good whether processes find each other on CPUs, and how long they
    wait; so every caller goes through here. Processes that do not find each other are an error, since each
    would train by itself.
    """
    try:
        import torch
        from accelerate import PartialState
    except ImportError as error:
        raise MissingExtra("Training", extra="torch") from error
    started = num_processes()
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    if state.num_processes != started:
        raise InputError(
            f"WORLD_SIZE is {started}, but {state.num_processes} of these processes found each other.",
            remedy="Start them with torchrun, or with accelerate launch --multi_gpu, also without GPUs.",
        )
    return state


def wait_for_everyone() -> None:
    """Return when all processes have come here."""
    if num_processes() > 1:
        join_processes().wait_for_everyone()


def as_main_process_says(answer: bool) -> bool:  # noqa: FBT001
    """The main process's answer, in every process: clocks differ, and they have to go on or stop together.

    >>> as_main_process_says(True)
    True
    """
    if num_processes() == 1:
        return answer
    join_processes()
    from accelerate.utils import broadcast_object_list

    [shared] = broadcast_object_list([answer])
    return bool(shared)


@contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process go through the block before the others, so that it alone has to store things."""
    if not is_main_process():
        wait_for_everyone()
    yield
    if is_main_process():
        wait_for_everyone()
