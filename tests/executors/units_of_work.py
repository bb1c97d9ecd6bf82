"""Work for the tests, where other processes find it by name."""

import os
import signal
import time
from pathlib import Path

from kiyome.errors import InputError


def double(number):
    return 2 * number


def fail(number):
    if number == 1:
        raise InputError(f"{number} is odd.", remedy="Double it.")
    return number


def divide(number):
    return 1 / number


class Stubborn(Exception):
    """Cannot be made of its words alone, so it does not come whole out of another process."""

    def __init__(self, *, words):
        super().__init__(words)


def be_stubborn(number):
    raise Stubborn(words=f"no {number}")


def die_at_first(place):
    """Count the tries in a file; the first is killed."""
    place = Path(place)
    with place.open("a") as file:
        file.write("x")
    if len(place.read_text()) == 1 and "killed" in place.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(place.read_text())


def always_die(place):
    with Path(place).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def linger(place):
    Path(place).write_text(str(os.getpid()))
    time.sleep(600)


def what_is_mine(_):
    time.sleep(0.5)  # so that the other process has its turn
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), len(os.sched_getaffinity(0))
