"""What the user sees while a verb works, and when it ends.

Exit codes: 0 done; 1 a defect of ours; 2 the input or the command must change; 75 stopped by --stop-after,
and the same command goes on; 130 stopped by the user, 143 by SIGTERM, 129 by a terminal that was closed.
"""

import errno
import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

from kiyome.errors import KiyomeError, TimeLimitReached
from kiyome.progress import Progress, bars_on_stderr

GOES_ON = 75
"""EX_TEMPFAIL of sysexits.h: try again."""

Say = Callable[[dict[str, Any], Callable[[], None]], None]


@contextmanager
def answering(as_json: bool) -> Iterator[tuple[Say, Progress]]:
    """Bars on stderr, the answer on stdout, errors in words (or JSON) with their exit code."""

    def say(summary: dict[str, Any], in_words: Callable[[], None]) -> None:
        answer.append((summary, in_words))

    answer: list[tuple[dict[str, Any], Callable[[], None]]] = []
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP), bars_on_stderr() as on_progress:
            yield say, on_progress
    except KiyomeError as error:
        if as_json:
            parts = {"kind": type(error).__name__, "must": error.must, "came": error.came}
            print(json.dumps({"error": {**parts, "remedy": error.remedy}}))
        else:
            prefix = "" if isinstance(error, TimeLimitReached) else "error: "
            print(f"{prefix}{visible(str(error))}", file=sys.stderr)
        raise typer.Exit(GOES_ON if isinstance(error, TimeLimitReached) else 2) from error
    except OSError as error:
        told = f"{error}{_room_for(error)}. What was finished before is whole."
        print(f"error: {visible(told)}", file=sys.stderr)
        raise typer.Exit(2) from error
    except MemoryError as error:
        print(
            "error: There is too little memory for this. What was finished before is whole.", file=sys.stderr
        )
        raise typer.Exit(2) from error
    except KeyboardInterrupt as stop:
        print("Stopped. The same command goes on where it was.", file=sys.stderr)
        raise typer.Exit(128 + (stop.args or (signal.SIGINT,))[0]) from stop
    for summary, in_words in answer:
        if as_json:
            print(json.dumps(summary, indent=2))
        else:
            in_words()


def _room_for(error: OSError) -> str:
    """What is free where a file found no room; empty for other errors, and where nobody knows the file."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not isinstance(error.filename, str):
        return ""
    with suppress(OSError):
        free = shutil.disk_usage(Path(error.filename).parent).free
        return f" ({free / 1e6:,.1f} MB are free there: free some more, and give the same command again)"
    return ""


@contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Let these signals stop the work as Ctrl-C does, but for those that are handled or ignored already."""

    def stop(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(number)

    in_main = threading.current_thread() is threading.main_thread()
    free = [each for each in signals if in_main and signal.getsignal(each) == signal.SIG_DFL]
    for each in free:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in free:
            signal.signal(each, signal.SIG_DFL)


def visible(text: str) -> str:
    r"""Text with nothing in it that a terminal would obey: names and labels come from strangers.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def line(text: str = "") -> None:
    """Print one line that may hold words of strangers."""
    print(visible(text))
