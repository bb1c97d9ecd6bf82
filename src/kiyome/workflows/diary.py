"""The diary as a table in the terminal, a page with plots, and a CSV: `kiyome diary`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, get_args
from urllib.parse import quote

from kiyome.artifacts.storage import write_csv
from kiyome.artifacts.table import TEST, VAL
from kiyome.errors import choose
from kiyome.estimates import FEWEST, Estimate, difference_of_proportions, rank_correlation
from kiyome.experiments import Entry, compared_with, read_diary
from kiyome.report.charts import Interval
from kiyome.report.pages import DiaryLine, LeaderboardChart, draw_leaderboard, write_diary_page
from kiyome.workflows.audit_scores import audit_scores_in

Sort = Literal["score", "time"]
DIGEST = re.compile(r"[0-9a-f]{32,}")
SCORE, DIFFERENCE = "{:.1f} ({:.1f} to {:.1f})", "{:+.2f} ({:+.2f} to {:+.2f})"
MOST_CHANGES = 4
"""Changes of a run that are listed; the others are counted."""

CSV_COLUMNS = (
    *("finished", "run", "command", "rows", "accuracy_on_given", "low", "high", "verdict"),
    *("difference", "difference_low", "difference_high", "p_value", "leaks", "changed", "seconds"),
    *("audited_rows", "audited_accuracy_on_true", "audited_low", "audited_high"),
    *(f"{split}_{name}" for split in (VAL, TEST) for name in ("rows", "accuracy_on_given", "low", "high")),
)
Audits = Mapping[str, tuple[str, Estimate | None]]
"""By digest of predictions: name of the audit and true accuracy; None where the audit has changed."""


@dataclass(frozen=True, kw_only=True)
class DiaryResult:
    """All experiments, and the files that show them."""

    entries: tuple[Entry, ...]
    """The oldest first."""
    audits: Audits
    lines: tuple[DiaryLine, ...]
    """One an entry, in the shown order: the best score first, or the oldest."""
    leaks: tuple[str, ...]
    """Leaks in words; lines have their numbers, from 1."""
    leaderboards: tuple[LeaderboardChart, ...]
    """Charts of leaderboard scores over out-of-fold scores, for two runs or more."""
    page: Path
    csv: Path

    def summary(self) -> dict[str, Any]:
        """Return the diary as JSON values."""
        return {
            "experiments": [
                dict(zip(CSV_COLUMNS, _cells(entry, self.audits), strict=True))
                | {"leaderboard": dict(entry.leaderboard), "leaderboard_rows": dict(entry.leaderboard_rows)}
                for entry in self.entries
            ],
            "page": str(self.page),
            "csv": str(self.csv),
        }


def diary(runs: Path | str = "runs", *, baseline: str | None = None, sort: Sort = "score") -> DiaryResult:
    """Show every experiment in a folder of runs, compared with the first one or a named one.

    Parameters
    ----------
    runs
        The folder with ``diary.jsonl``. ``diary.html`` and ``diary.csv`` are written beside it.
    baseline
        The run to compare with, where both runs still exist.
    sort
        Order of the table and the page: ``score``, the best first, or ``time``, the oldest first. The CSV and
        `entries` are always in the order of time.

    Raises
    ------
    InputError
        A folder without a diary, or a baseline that is not in it.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_digits(folder / "digits", num_photos=200)
    >>> _ = find(folder / "digits", backbone="tiny", output=folder / "runs" / "a", cache_folder=folder)
    >>> [entry.verdict() for entry in diary(folder / "runs").entries]
    ['the baseline']
    """
    choose("order", sort, get_args(Sort))
    folder = Path(runs)
    entries = read_diary(folder)
    if baseline is not None:
        entries = compared_with(entries, folder, baseline)
    audits = audit_scores_in(folder)
    leaks = tuple(dict.fromkeys(leak for entry in entries for leak in entry.leaks))
    ordered = sorted(entries, key=_worst_last) if sort == "score" else entries
    lines = tuple(_line(entry, folder, audits, leaks) for entry in ordered)
    names = tuple(dict.fromkeys(name for entry in entries for name in entry.leaderboard))
    charts = tuple(chart for name in names if (chart := _leaderboard(name, entries)) is not None)
    page, csv = folder / "diary.html", folder / "diary.csv"
    write_diary_page(lines, page, title=folder.resolve().name, leaks=leaks, charts=charts)
    columns = [f"leaderboard_{name}{end}" for name in names for end in ("", "_low", "_high")]
    cells = (
        (*_cells(entry, audits), *(each for name in names for each in _leaderboard_cells(entry, name)))
        for entry in entries
    )
    write_csv(csv, [(*CSV_COLUMNS, *columns), *cells])
    return DiaryResult(
        entries=entries, audits=audits, lines=lines, leaks=leaks, leaderboards=charts, page=page, csv=csv
    )


def _worst_last(entry: Entry) -> float:
    return 1.0 if entry.accuracy_on_given is None else -entry.accuracy_on_given.value


def _leaderboard(name: str, entries: Sequence[Entry]) -> LeaderboardChart | None:
    """Return a chart of one leaderboard's scores over out-of-fold scores, on the newest such run's rows."""
    noted = [entry for entry in entries if name in entry.leaderboard]
    alike = [entry for entry in noted if entry.rows == noted[-1].rows]
    points = [
        (interval, entry.leaderboard[name], bool(entry.leaks))
        for entry in alike
        if (interval := _interval(entry.run, entry.accuracy_on_given)) is not None
    ]
    if len(points) < 2:
        return None
    honest = [(each.value or 0.0, score) for each, score, leaks in points if not leaks]
    sentence = f"{len(honest)} runs without a leak: too few for a rank correlation, which needs {FEWEST}."
    if len(honest) >= FEWEST:
        found = rank_correlation(*zip(*honest, strict=True))
        sentence = (
            f"Rank correlation of {name} and the out-of-fold score: {found.value:.2f} ({found.low:.2f} to"
            f" {found.high:.2f}, n = {found.num_rows} runs without a leak)."
        )
    return draw_leaderboard(name, points, caption=sentence)


def _line(entry: Entry, folder: Path, audits: Audits, leaks: Sequence[str]) -> DiaryLine:
    scores = {"on true labels": entry.accuracy_on_true, "on kept rows only": entry.accuracy_on_kept}
    report = folder / entry.run / "report.html"
    given, seen = entry.accuracy_on_given, entry.against_baseline
    return DiaryLine(
        run=entry.run,
        command=entry.command,
        finished=entry.finished[:16].replace("T", " "),
        changed=_changed(entry),
        score="" if given is None else _points(given, SCORE),
        num_rows=0 if given is None else given.num_rows,
        interval=_interval(entry.run, given),
        in_truth=_interval(f"{entry.run}, true", audits.get(entry.result, ("", None))[1]),
        beside=[
            *_audited(entry, audits),
            *(f"{name} {score.as_percent()}" for name, score in scores.items() if score is not None),
        ],
        verdict=entry.verdict() if seen is None else seen.verdict,
        difference="" if seen is None else _points(seen.difference, DIFFERENCE),
        difference_interval=None if seen is None else _interval(entry.run, seen.difference),
        leaks=[leaks.index(leak) + 1 for leak in entry.leaks],
        by_split={name: _beside_train(found, given) for name, found in entry.by_split.items()},
        leaderboard={name: _on_leaderboard(entry, name) for name in entry.leaderboard},
        took=_took(entry),
        report=f"{quote(entry.run)}/report.html" if report.is_file() else "",
    )


def _beside_train(found: Estimate, of_train: Estimate | None) -> list[str]:
    """Return the score of a split, its rows, and its difference to the score out of fold."""
    lines = [_points(found, SCORE), f"n = {found.num_rows:,}"]
    if of_train is not None and of_train != found:
        lines.append(_points(difference_of_proportions(found, of_train), DIFFERENCE))
    return lines


def _on_leaderboard(entry: Entry, name: str) -> list[str]:
    """Return a leaderboard's score, and its interval where its rows are known."""
    found = entry.leaderboard_range(name)
    spread = [] if found is None else [f"{found.low:.3f} to {found.high:.3f}", f"n = {found.num_rows:,}"]
    return [f"{entry.leaderboard[name]:g}", *spread]


def _leaderboard_cells(entry: Entry, name: str) -> tuple[float | None, ...]:
    found = entry.leaderboard_range(name)
    return (entry.leaderboard.get(name), *((None, None) if found is None else (found.low, found.high)))


def _points(found: Estimate, form: str) -> str:
    return form.format(*(100 * each for each in (found.value, found.low, found.high)))


def _interval(name: str, found: Estimate | None) -> Interval | None:
    return None if found is None else Interval(name=name, low=found.low, value=found.value, high=found.high)


def _audited(entry: Entry, audits: Audits) -> list[str]:
    name, score = audits.get(entry.result, ("", None))
    if score is not None:
        return [f"true accuracy {score.as_percent()} by audit"]
    return [f"{name} has changed since it was drawn and is not used"] if name else []


def _changed(entry: Entry) -> str:
    """Return the differences from the baseline's config, such as `loss: elr → mix`, without digests."""
    changes = [
        f"{name.removeprefix('recipes.').removesuffix('.path')}: {_change(before, now)}"
        for name, (before, now) in entry.changed.items()
        if not any(DIGEST.fullmatch(str(value)) for value in (before, now))
    ]
    more = len(changes) - MOST_CHANGES
    return ", ".join(changes[:MOST_CHANGES]) + (f" and {more} more" if more > 0 else "")


def _change(before: Any, now: Any) -> str:
    return _as_text(now) if before is None else f"{_as_text(before)} → {_as_text(now)}"


def _as_text(value: Any) -> str:
    """Return a value of a config as a short text.

    >>> _as_text([{"path": "a"}, {"path": "../b"}]), _as_text("global:runs/a"), _as_text(None), _as_text(0.5)
    ('a, b', 'global:a', 'none', '0.5')
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value)) or "none"
    if isinstance(value, Mapping):
        return _as_text(value["path"]) if "path" in value else str(dict(value))
    if value is None or value == "":
        return "none"
    kind, colon, path = str(value).rpartition(":")
    return f"{kind}{colon}{PurePath(path).name or path}"


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
    rest = ("; ".join(entry.leaks), _changed(entry), entry.seconds)
    _, true_accuracy = audits.get(entry.result, ("", None))
    audited = nothing if true_accuracy is None else _ends(true_accuracy)
    splits = (_ends(entry.by_split[name]) if name in entry.by_split else nothing for name in (VAL, TEST))
    others = (*audited, *(cell for split in splits for cell in split))
    return (entry.finished, entry.run, entry.command, *scored, entry.verdict(), *compared, *rest, *others)


def _ends(found: Estimate) -> tuple[float, ...]:
    return found.num_rows, found.value, found.low, found.high
