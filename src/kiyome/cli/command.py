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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from kiyome.cli.options import with_verbs
from kiyome.errors import KiyomeError, TimeLimitReached
from kiyome.progress import Progress, bars_on_stderr

Data = Annotated[
    Path,
    typer.Argument(
        help="A folder of class folders, a CSV or Parquet table, or a Hugging Face style metadata file."
    ),
]
Images = Annotated[
    Path | None, typer.Option(help="The folder of the photos of a table; by default searched for nearby.")
]
ClassMap = Annotated[Path | None, typer.Option(help="JSON file: label number to class name.")]
IdColumn = Annotated[str | None, typer.Option(help="Column of photo names; by default found by name.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of labels; by default found by name.")]
LabelFromName = Annotated[
    str | None,
    typer.Option(
        help="Labels are in the names of photos: a regular expression for names without their ending, whose"
        " only group is the class, such as '(.+)_[0-9]+'."
    ),
]
GroupColumn = Annotated[
    str | None, typer.Option(help="Column of groups, such as patients, whose rows stay in one fold.")
]
WeightColumn = Annotated[str | None, typer.Option(help="Column of weights of rows in training.")]
SplitColumn = Annotated[
    str | None, typer.Option(help="Column of splits: train, val, test, unlabeled; by default found by name.")
]
IgnoreSplits = Annotated[
    bool,
    typer.Option("--ignore-splits", help="Use all rows for training, whatever folders or a column say."),
]
TestSet = Annotated[
    Path | None,
    typer.Option(
        "--test", help="Test photos: a table, a sample submission, or a folder; with labels or without."
    ),
]
TestImages = Annotated[
    Path | None, typer.Option(help="The folder of the photos of --test; by default searched for nearby.")
]
FollowLinks = Annotated[
    bool,
    typer.Option("--follow-links", help="Follow links that leave the data folder; a file counts once."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The run folder; by default runs/NAME.")]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Make new folds with this seed; by default the folds of the oldest run of this"
        " table beside the output, else new ones with seed 0."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="Do not escape cells of CSV lists that a spreadsheet would run as formulas."),
]
Run = Annotated[
    Path,
    typer.Argument(help="The folder of a finished run of find or train, or of a combination."),
]
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
        " the same command continues."
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        envvar="KIYOME_GROUP",
        help="A group of users who may also read and write it; by default only you.",
    ),
]
MaxLeftOut = Annotated[
    float,
    typer.Option(
        help="Largest proportion of a class that flags may remove; if more are flagged, only the most"
        " probable errors are removed."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        envvar="KIYOME_STORE",
        help="Where decisions are stored: sqlite:///PATH or postgresql://USER@HOST/DB; else in the run.",
    ),
]

GOES_ON = 75
"""EX_TEMPFAIL of sysexits.h: try again."""
NOTHING_LOST = "What was finished before is complete."

Emit = Callable[[dict[str, Any], Callable[[], None]], None]


@contextmanager
def command_output(as_json: bool) -> Iterator[tuple[Emit, Progress]]:
    """Progress on stderr, the result on stdout, errors as text or JSON, each with its exit code."""

    def emit(summary: dict[str, Any], show: Callable[[], None]) -> None:
        results.append((summary, show))

    results: list[tuple[dict[str, Any], Callable[[], None]]] = []
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP), bars_on_stderr() as on_progress:
            yield emit, on_progress
    except (KiyomeError, OSError, MemoryError) as error:
        _print_error(error, as_json)
        raise typer.Exit(GOES_ON if isinstance(error, TimeLimitReached) else 2) from error
    except KeyboardInterrupt as stop:
        print("Stopped. The same command continues where it stopped.", file=sys.stderr)
        raise typer.Exit(128 + (stop.args or (signal.SIGINT,))[0]) from stop
    for summary, show in results:
        if as_json:
            if "notes" in summary:
                summary = summary | {"notes": list(map(with_verbs, summary["notes"]))}
            print(json.dumps(summary, indent=2))
        else:
            show()


def _print_error(error: KiyomeError | OSError | MemoryError, as_json: bool) -> None:
    if isinstance(error, KiyomeError):
        parts = {name: getattr(error, name) for name in ("problem", "expected", "remedy")}
        text, parts["remedy"] = with_verbs(str(error)), with_verbs(error.remedy)
    else:
        problem = "There is not enough memory."
        if isinstance(error, OSError):
            problem = f"{error}{_free_space(error)}."
        text, parts = (
            f"{problem} {NOTHING_LOST}",
            {"problem": problem, "expected": "", "remedy": NOTHING_LOST},
        )
    if as_json:
        print(json.dumps({"error": {"kind": type(error).__name__, **parts}}))
    else:
        print(f"{'' if isinstance(error, TimeLimitReached) else 'error: '}{visible(text)}", file=sys.stderr)


def _free_space(error: OSError) -> str:
    """Return the free space on a full disk; empty for other errors, and without a file name."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not isinstance(error.filename, str):
        return ""
    with suppress(OSError):
        free = shutil.disk_usage(Path(error.filename).parent).free
        return f" ({free / 1e6:,.1f} MB are free there: free some more, then repeat the command)"
    return ""


@contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Let these signals stop the work as Ctrl-C does, unless they are handled or ignored already."""

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
    r"""Return the text with its control characters escaped: names and labels come from strangers.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def print_notes(notes: Iterable[str], file: TextIO | None = None) -> None:
    """Print notes, each with the verbs that have the options in it if this one lacks them."""
    for note in notes:
        print(f"note: {visible(with_verbs(note))}", file=file)


def line(text: str = "") -> None:
    """Print one line that may hold names of strangers."""
    print(visible(text))
