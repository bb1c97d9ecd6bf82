"""From the diary's lines to a table in the terminal, a page with a plot, and a CSV."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kiyome.artifacts.storage import write_csv
from kiyome.diary import Entry, compared_with, read_diary
from kiyome.report.diary_page import DiaryLine, write_diary_page

CSV_COLUMNS = (
    *("finished", "run", "command", "rows", "accuracy_on_given", "low", "high", "verdict"),
    *("difference", "difference_low", "difference_high", "p_value", "leaks", "changed", "seconds"),
)


@dataclass(frozen=True, kw_only=True)
class DiaryResult:
    """All experiments, and where they can be looked at."""

    entries: tuple[Entry, ...]
    lines: tuple[DiaryLine, ...]
    page: Path
    csv: Path

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {
            "experiments": [dict(zip(CSV_COLUMNS, _cells(entry), strict=True)) for entry in self.entries],
            "page": str(self.page),
            "csv": str(self.csv),
        }


def diary(runs: Path | str = "runs", *, baseline: str | None = None) -> DiaryResult:
    """Every experiment in a folder of runs, with its verdict against the first one or a named one.

    Parameters
    ----------
    runs
        The folder that holds ``diary.jsonl``. ``diary.html`` and ``diary.csv`` are written beside it.
    baseline
        The run to compare with, as far as both runs are still there.

    Raises
    ------
    InputError
        Where there is no diary, or no such run in it.
    """
    folder = Path(runs)
    entries = read_diary(folder)
    if baseline is not None:
        entries = compared_with(entries, folder, baseline)
    lines = tuple(_line(entry, folder) for entry in entries)
    page, csv = folder / "diary.html", folder / "diary.csv"
    write_diary_page(lines, page, title=folder.resolve().name)
    write_csv(csv, [CSV_COLUMNS, *map(_cells, entries)])
    return DiaryResult(entries=entries, lines=lines, page=page, csv=csv)


def _line(entry: Entry, folder: Path) -> DiaryLine:
    scores = {"on true labels": entry.accuracy_on_true, "on kept rows only": entry.accuracy_on_kept}
    report = folder / entry.run / "report.html"
    given = entry.accuracy_on_given
    return DiaryLine(
        run=entry.run,
        command=entry.command,
        finished=entry.finished[:16].replace("T", " "),
        changed=_changed(entry),
        score="" if given is None else given.as_percent(),
        interval=None if given is None else (given.low, given.value, given.high),
        beside=[f"{name} {score.as_percent()}" for name, score in scores.items() if score is not None],
        verdict=entry.verdict(),
        marks=entry.leaks,
        took=_took(entry),
        report=f"{quote(entry.run)}/report.html" if report.is_file() else "",
    )


def _changed(entry: Entry) -> str:
    """The config's difference to the entry before by the same command, such as `loss: elr → mix`."""
    return ", ".join(
        f"{name.removeprefix('recipes.')}: {_said(before)} → {_said(now)}"
        for name, (before, now) in entry.changed.items()
    )


def _said(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)


def _took(entry: Entry) -> str:
    minutes, seconds = divmod(round(entry.seconds), 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return f"{took} since resumed" if entry.resumed else took


def _cells(entry: Entry) -> tuple[object, ...]:
    given, seen = entry.accuracy_on_given, entry.against_baseline
    nothing: tuple[float | None, ...] = (None, None, None, None)
    scored = nothing if given is None else (given.num_rows, given.value, given.low, given.high)
    compared = nothing
    if seen is not None:
        compared = (seen.difference.value, seen.difference.low, seen.difference.high, seen.p_value)
    told = ("; ".join(entry.leaks), _changed(entry), entry.seconds)
    return (entry.finished, entry.run, entry.command, *scored, entry.verdict(), *compared, *told)
