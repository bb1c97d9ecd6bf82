"""From the diary's lines to a table in the terminal, a page with a plot, and a CSV."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kiyome.artifacts.storage import write_csv
from kiyome.evaluation.shares import Estimate
from kiyome.experiments import Entry, compared_with, read_diary
from kiyome.recipes.audited import audited_scores_in
from kiyome.report.diary_page import DiaryLine, write_diary_page
from kiyome.report.intervals import Interval

CSV_COLUMNS = (
    *("finished", "run", "command", "rows", "accuracy_on_given", "low", "high", "verdict"),
    *("difference", "difference_low", "difference_high", "p_value", "leaks", "changed", "seconds"),
    *("audited_rows", "audited_accuracy_on_true", "audited_low", "audited_high"),
)
Audits = Mapping[str, tuple[str, Estimate | None]]
"""By digest of predictions: who audited them, and the true accuracy; None where the audit changed since."""


@dataclass(frozen=True, kw_only=True)
class DiaryResult:
    """All experiments, and where they can be looked at."""

    entries: tuple[Entry, ...]
    audits: Audits
    lines: tuple[DiaryLine, ...]
    page: Path
    csv: Path

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {
            "experiments": [
                dict(zip(CSV_COLUMNS, _cells(entry, self.audits), strict=True)) for entry in self.entries
            ],
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

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.recipes.find import find
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_digits(folder / "digits", num_photos=200)
    >>> _ = find(folder / "digits", backbone="tiny", output=folder / "runs" / "a", cache_folder=folder)
    >>> [entry.verdict() for entry in diary(folder / "runs").entries]
    ['the baseline']
    """
    folder = Path(runs)
    entries = read_diary(folder)
    if baseline is not None:
        entries = compared_with(entries, folder, baseline)
    audits = audited_scores_in(folder)
    lines = tuple(_line(entry, folder, audits) for entry in entries)
    page, csv = folder / "diary.html", folder / "diary.csv"
    write_diary_page(lines, page, title=folder.resolve().name)
    write_csv(csv, [CSV_COLUMNS, *(_cells(entry, audits) for entry in entries)])
    return DiaryResult(entries=entries, audits=audits, lines=lines, page=page, csv=csv)


def _line(entry: Entry, folder: Path, audits: Audits) -> DiaryLine:
    scores = {"on true labels": entry.accuracy_on_true, "on kept rows only": entry.accuracy_on_kept}
    report = folder / entry.run / "report.html"
    given = entry.accuracy_on_given
    return DiaryLine(
        run=entry.run,
        command=entry.command,
        finished=entry.finished[:16].replace("T", " "),
        changed=_changed(entry),
        score="" if given is None else given.as_percent(),
        interval=_interval(entry.run, given),
        in_truth=_interval(f"{entry.run}, in truth", audits.get(entry.result, ("", None))[1]),
        beside=[
            *_audited(entry, audits),
            *(f"{name} {score.as_percent()}" for name, score in scores.items() if score is not None),
        ],
        verdict=entry.verdict(),
        marks=entry.leaks,
        took=_took(entry),
        report=f"{quote(entry.run)}/report.html" if report.is_file() else "",
    )


def _interval(name: str, found: Estimate | None) -> Interval | None:
    return None if found is None else Interval(name=name, low=found.low, value=found.value, high=found.high)


def _audited(entry: Entry, audits: Audits) -> list[str]:
    name, score = audits.get(entry.result, ("", None))
    if score is not None:
        return [f"in truth {score.as_percent()}, by rows that people checked"]
    return [f"{name} changed since it was drawn, and counts no more"] if name else []


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


def _cells(entry: Entry, audits: Audits) -> tuple[object, ...]:
    given, seen = entry.accuracy_on_given, entry.against_baseline
    nothing: tuple[float | None, ...] = (None, None, None, None)
    scored = nothing if given is None else _ends(given)
    compared = nothing
    if seen is not None:
        compared = (seen.difference.value, seen.difference.low, seen.difference.high, seen.p_value)
    told = ("; ".join(entry.leaks), _changed(entry), entry.seconds)
    _, seen_by_people = audits.get(entry.result, ("", None))
    audited = nothing if seen_by_people is None else _ends(seen_by_people)
    return (entry.finished, entry.run, entry.command, *scored, entry.verdict(), *compared, *told, *audited)


def _ends(found: Estimate) -> tuple[float, ...]:
    return found.num_rows, found.value, found.low, found.high
