"""Parts of every command: its options, its progress bars, its answer, its errors and its exit code.

Exit codes: 0 done; 1 a defect of kiyome; 2 the input or the command must change; 75 stopped by --stop-after,
and the same command continues; 130 stopped by the user, 143 by SIGTERM, 129 by a terminal that was closed.
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
from typing import Annotated, Any

import typer

from kiyome.errors import KiyomeError, TimeLimitReached
from kiyome.progress import Progress, bars_on_stderr

Data = Annotated[
    Path,
    typer.Argument(
        help="A folder of class folders, a CSV or Parquet table, or a Hugging Face style metadata file."
    ),
]
Images = Annotated[
    Path | None, typer.Option(help="The folder of photos that a table speaks of; found by itself if near.")
]
ClassMap = Annotated[Path | None, typer.Option(help="JSON file: label number to class name.")]
IdColumn = Annotated[str | None, typer.Option(help="Column of photo names; found by itself if usual.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of labels; found by itself if usual.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder; runs/NAME if not given.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="A new split into folds, by this seed; else the folds of the oldest run of this table beside the"
        " output, else new ones by seed 0."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines, no words.")]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="Exact cells in CSV lists: for programs, not for spreadsheets."),
]
Run = Annotated[Path, typer.Argument(help="The folder of a finished run of find or train, or made of such.")]
Runs = Annotated[list[Path], typer.Argument(help="Folders of finished runs on the same rows and folds.")]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Where independent parts run: here, processes[:N], ray[://HOST:PORT] or slurm[:PARTITION].",
    ),
]
StopAfter = Annotated[
    str | None,
    typer.Option(
        help="Stop after the last whole epoch before this time, such as 8h, 30m or 90s, with exit code 75;"
        " the same command goes on."
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        envvar="KIYOME_GROUP",
        help="A group of this machine that may read and write it, too; you alone if not given.",
    ),
]
MaxLeftOut = Annotated[
    float,
    typer.Option(
        help="The largest share of a class that flags may take; where more are flagged, the surest stay."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        envvar="KIYOME_STORE",
        help="Where decisions are kept: sqlite:///PATH or postgresql://USER@HOST/DB; in the run if absent.",
    ),
]

GOES_ON = 75
"""EX_TEMPFAIL of sysexits.h: try again."""

Emit = Callable[[dict[str, Any], Callable[[], None]], None]


@contextmanager
def command_output(as_json: bool) -> Iterator[tuple[Emit, Progress]]:
    """Bars on stderr, the answer on stdout, errors in words (or JSON) with their exit code."""

    def emit(summary: dict[str, Any], show: Callable[[], None]) -> None:
        answer.append((summary, show))

    answer: list[tuple[dict[str, Any], Callable[[], None]]] = []
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP), bars_on_stderr() as on_progress:
            yield emit, on_progress
    except KiyomeError as error:
        if as_json:
            parts = {"problem": error.problem, "expected": error.expected, "remedy": error.remedy}
            print(json.dumps({"error": {"kind": type(error).__name__, **parts}}))
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
    for summary, show in answer:
        if as_json:
            print(json.dumps(summary, indent=2))
        else:
            show()


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
