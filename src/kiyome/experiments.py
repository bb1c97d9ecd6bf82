"""The diary: every experiment, its score with an interval, and its comparison with the baseline. N rows.

    runs/
      diary.jsonl     one line an experiment, appended by the verbs and never changed
      leaves-train/   a run; its predictions are compared row by row with those of the baseline

The baseline is the first experiment on the same rows, given labels and folds. Scores are always on all rows
of train, out of fold, and on given labels, so that a cleaning step cannot choose the rows it is scored on;
those of val and test stand beside them. Scores that others measured, such as a leaderboard's, are lines of
their own; each belongs to the newest entry of its run above it.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.manifest import Manifest
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import open_in_place, sync_folder
from kiyome.artifacts.table import TEST, TRAIN, UNKNOWN, VAL, Table
from kiyome.artifacts.table_files import load_table
from kiyome.errors import InputError, KiyomeError, StaleArtifact
from kiyome.estimates import Estimate, proportion_of_rows, wilson_interval
from kiyome.evaluation.compare import Comparison, compare
from kiyome.reading.finished_run import FinishedRun, folds_digest, open_run

DIARY = "diary.jsonl"
SCORE_NAME = re.compile(r"[A-Za-z][\w.-]*")
REWORKING = ("calibrate", "correct")
"""Verbs whose runs rework the predictions of another run, and are no experiments of their own."""
UNKNOWN_FOLDS = "folds unknown: predictions may not be out of fold"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One experiment, as it was when it ended."""

    run: str
    """Name of the run folder, beside the diary."""
    command: str
    finished: str
    """UTC, ISO 8601."""
    seconds: float
    """Duration since the last start: of the whole run, unless `resumed`."""
    resumed: bool
    rows: str
    """Digest of ids, their order, class names and given labels: what must agree to compare row by row."""
    deal: str | None
    """Digest of the folds."""
    result: str
    """SHA-256 of the predictions, or of the table that a step without score made."""
    config: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]
    """Config that differs from the baseline's: (there, here). For another verb: the verb, and differences
    from the first run of this verb."""
    accuracy_on_given: Estimate | None = None
    """Of all rows of train, out of fold, against given labels; where the table has no train, of its labeled
    rows. None for a step that only makes a table."""
    accuracy_on_true: Estimate | None = None
    """Of the rows whose true label is known."""
    accuracy_on_kept: Estimate | None = None
    """Of the rows that a cleaning step kept: biased upward."""
    leaks: tuple[str, ...] = ()
    """Leaks of labels into predictions that are scored on them, in words."""
    baseline: str | None = None
    """The run that this one is compared with; None for the first."""
    against_baseline: Comparison | None = None
    not_compared: str = ""
    """The reason why there is a baseline and no comparison."""
    by_split: Mapping[str, Estimate] = field(default_factory=dict)
    """Accuracy on given labels of the rows of val and of test, by models that never saw them."""
    leaderboard: Mapping[str, float] = field(default_factory=dict)
    """Scores that others measured, by name: the newest of each."""
    leaderboard_rows: Mapping[str, int] = field(default_factory=dict)
    """Rows behind these scores, where known."""

    def verdict(self) -> str:
        """Return the comparison with the baseline in words."""
        if self.accuracy_on_given is None:
            return "no score"
        if self.against_baseline is not None:
            return self.against_baseline.describe()
        return f"not compared: {self.not_compared}" if self.not_compared else "the baseline"

    def leaderboard_range(self, name: str) -> Estimate | None:
        """Return a leaderboard's score with the interval of a proportion; None where its rows are unknown."""
        rows = self.leaderboard_rows.get(name)
        if rows is None:
            return None
        low, high = wilson_interval(self.leaderboard[name], rows)
        return Estimate(value=self.leaderboard[name], low=low, high=high, num_rows=rows)


def note_run(
    run: str | Path, *, leaks: Sequence[str] = (), is_kept: NDArray[np.bool_] | None = None
) -> Entry:
    """Return the entry of a finished run in the diary beside it, written unless it exists.

    `leaks` are sentences that stay with the score, `is_kept` (N,) the rows that a cleaning step kept.
    """
    return _noted(Path(run), lambda before: _scored(open_run(run), before, leaks, is_kept))


def note_step(run: str | Path) -> Entry:
    """Return the entry of a run without a score, such as a curation, written unless it exists."""
    return _noted(Path(run), lambda before: _step(Path(run), before))


def note_scores(
    run: str | Path, scores: Mapping[str, float], *, rows: Mapping[str, int] | None = None
) -> Entry:
    """Note scores of a run that others measured, such as a leaderboard's, in the diary.

    Parameters
    ----------
    run
        The run folder; it may be deleted if the diary beside it has an entry with a score.
    scores
        By name, such as ``public`` and ``private``; the newest of each name counts.
    rows
        Rows behind each score, where known and the score is a share of right rows: it then has an interval.

    Returns
    -------
    Entry
        The run's entry with all its noted scores.

    Raises
    ------
    InputError
        A run without an entry; a name or number of a wrong form; rows of a score that is no share.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_digits(folder / "digits", num_photos=200)
    >>> _ = find(folder / "digits", backbone="tiny", output=folder / "runs" / "a", cache_folder=folder)
    >>> _ = note_scores(folder / "runs" / "a", {"public": 0.9})
    >>> note_scores(folder / "runs" / "a", {"public": 0.903, "private": 0.899}).leaderboard
    {'public': 0.903, 'private': 0.899}
    """
    path = Path(run).resolve()
    rows = rows or {}
    _check_scores(scores, rows)
    _entry_with_score(read_diary(path.parent), path.name)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"note": path.name, "at": at, "scores": dict(scores), **({"rows": dict(rows)} if rows else {})}
    with _locked_diary(path.parent) as file:
        _append(file, path.parent / DIARY, line)
    return _entry_with_score(read_diary(path.parent), path.name)


def _check_scores(scores: Mapping[str, float], rows: Mapping[str, int]) -> None:
    if not scores:
        raise InputError("There is no score.", remedy="Pass public=0.903, for example.")
    for name, score in scores.items():
        if not SCORE_NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no name of a score.",
                expected="Expected letters, digits, dots and dashes, with a letter first.",
                remedy="Pass public=0.903, for example.",
            )
        if not isfinite(score):
            raise InputError(f"{name}={score} is not a finite number.", remedy="Leave it out.")
    for name, num_rows in rows.items():
        if num_rows < 1 or not 0 <= scores.get(name, -1) <= 1:
            raise InputError(
                f"{name}={scores.get(name)} of {num_rows} rows is no share of right rows.",
                expected="Expected a score from 0 to 1, of one row or more.",
                remedy="Leave its number of rows out.",
            )


@contextmanager
def _locked_diary(folder: Path) -> Iterator[BinaryIO]:
    """Open the diary's file to append to, locked."""
    with open_in_place(folder / DIARY) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    sync_folder(folder)


def _noted(run: Path, entry_of: Callable[[Sequence[Entry]], Entry]) -> Entry:
    folder = run.resolve().parent
    with _locked_diary(folder) as file:
        before = read_diary(folder)
        entry = entry_of(before)
        known = [old for old in before if (old.run, old.result) == (entry.run, entry.result)]
        if known:
            return known[-1]
        _append(file, folder / DIARY, asdict(entry))
    return entry


def read_diary(folder: str | Path) -> tuple[Entry, ...]:
    """Return all entries, the oldest first, without a last line that was cut off.

    Raises
    ------
    InputError
        A folder without a diary, or a line that kiyome did not write.
    """
    path = Path(folder) / DIARY
    if not path.is_file():
        raise InputError(
            f"There is no diary {path}.",
            expected="Expected a folder of runs.",
            remedy="Train something, or name the folder of your runs.",
        )
    *lines, _unfinished = path.read_bytes().split(b"\n")
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        if line:
            _take_line(entries, line, f"line {number} of {path}")
    return tuple(entries)


def compared_with(entries: Sequence[Entry], folder: str | Path, baseline: str) -> tuple[Entry, ...]:
    """Return the same entries, each compared with this run where both runs still exist."""
    first = _entry_with_score(entries, baseline)
    return tuple(_against(entry, first, entries, Path(folder)) for entry in entries)


def _entry_with_score(entries: Sequence[Entry], run: str) -> Entry:
    """Return the newest entry of this run; it must have a score."""
    scored = [entry for entry in entries if entry.accuracy_on_given]
    found = next((entry for entry in reversed(scored) if entry.run == run), None)
    if found is None:
        names = ", ".join(dict.fromkeys(entry.run for entry in scored))
        raise InputError(
            f"{run!r} has no score in the diary.",
            remedy=f"Name one of {names}." if names else "Train something first.",
        )
    return found


def digest_of_rows(table: Table) -> str:
    """Return a digest of ids, their order, class names and given labels, which a paired comparison needs."""
    return hashlib.sha256(table.fingerprint.encode() + table.given_labels.tobytes()).hexdigest()


def origin_of(entry: Entry, entries: Sequence[Entry]) -> Entry:
    """Return the entry of the run that a calibration or correction reworks; of any other run its own."""
    if entry.command not in REWORKING:
        return entry
    others = [old for old in entries if old is not entry and old.accuracy_on_given]
    source = [old for old in others if old.run == entry.config["runs"][0]["path"]]
    return origin_of(source[-1], others) if source else entry


def _scored(
    run: FinishedRun, before: Sequence[Entry], leaks: Sequence[str], is_kept: NDArray[np.bool_] | None
) -> Entry:
    scored, right = _scored_part(run), run.right_on_given
    kept = None if is_kept is None else is_kept & run.table.in_split(TRAIN)
    entry = replace(
        _unscored(run.path, run.manifest, run.table),
        result=hashlib.sha256(run.predictions.pred_probs.tobytes()).hexdigest(),
        accuracy_on_given=_accuracy_on_given(scored),
        accuracy_on_true=_accuracy_on_true(scored),
        accuracy_on_kept=None if kept is None or not kept.any() else proportion_of_rows(right[kept]),
        by_split={
            name: _accuracy_on_given(run.in_split(name))
            for name in run.table.splits_in_use
            if name in (VAL, TEST)
        },
        leaks=(*leaks, *([UNKNOWN_FOLDS] if run.folds_digest is None else [])),
    )
    return _against_first(entry, before, run.path.resolve().parent)


def _step(run: Path, before: Sequence[Entry]) -> Entry:
    entry = _unscored(run, verify_run(run), load_table(run / "table.parquet"))
    return _against_first(entry, before, run.resolve().parent)


def _unscored(run: Path, manifest: Manifest, table: Table) -> Entry:
    """Return the entry of any run without a score; its config includes the curation of the table."""
    return Entry(
        run=run.resolve().name,
        command=manifest["command"],
        finished=manifest["finished"],
        seconds=manifest["seconds"],
        resumed=manifest["resumed"],
        rows=digest_of_rows(table),
        deal=folds_digest(table),
        result=table.content_digest,
        config={**manifest["config"], **_curation_of(table)},
        changed={},
    )


def _curation_of(table: Table) -> dict[str, int]:
    """Return how many rows were relabeled and dropped."""
    dropped = 0 if table.weights is None else int((table.weights == 0).sum())
    return {"rows_relabeled": int((table.labels != table.given_labels).sum()), "rows_dropped": dropped}


def _scored_part(run: FinishedRun) -> FinishedRun:
    """Return the rows of train, else of the first split with labels."""
    splits = run.table.splits_in_use
    return run.in_split(next(name for name in (TRAIN, VAL, TEST, *splits) if name in splits))


def _accuracy_on_given(run: FinishedRun) -> Estimate:
    return proportion_of_rows(run.right_on_given, groups=run.table.groups)


def _accuracy_on_true(run: FinishedRun) -> Estimate | None:
    true = run.table.true_labels
    if true is None or not (known := true != UNKNOWN).any():
        return None
    groups = None if run.table.groups is None else run.table.groups[known]
    return proportion_of_rows((run.predictions.pred_probs.argmax(axis=1) == true)[known], groups=groups)


def _against_first(entry: Entry, before: Sequence[Entry], folder: Path) -> Entry:
    """Return the entry, compared with the first one before it with a score on the same rows and folds."""
    alike = [old for old in before if (old.rows, old.deal) == (entry.rows, entry.deal)]
    first = next((old for old in alike if old.accuracy_on_given), None)
    return entry if first is None else _against(entry, first, before, folder)


def _against(entry: Entry, baseline: Entry, entries: Sequence[Entry], folder: Path) -> Entry:
    """Return the entry, compared row by row with a baseline whose run is in the folder."""
    entry = replace(entry, baseline=None, against_baseline=None, not_compared="", changed={})
    if entry.run == baseline.run:
        return entry
    entry = replace(entry, changed=_changed(entry, baseline, entries))
    if entry.accuracy_on_given is None:
        return entry
    compared, reason = None, ""
    if entry.rows != baseline.rows:
        reason = f"other rows or given labels than {baseline.run}"
    elif entry.deal != baseline.deal:
        reason = f"other folds than {baseline.run}"
    else:
        try:
            ours, theirs = (_scored_part(_unchanged(folder, each)) for each in (entry, baseline))
            compared = compare(ours.right_on_given, theirs.right_on_given, groups=ours.table.groups)
        except KiyomeError as error:
            reason = error.problem.rstrip(".")
    return replace(entry, baseline=baseline.run, against_baseline=compared, not_compared=reason)


def _changed(entry: Entry, baseline: Entry, entries: Sequence[Entry]) -> dict[str, tuple[Any, Any]]:
    """Return the config that differs, (baseline's, entry's) by dotted names."""
    if entry.command == baseline.command:
        return _difference(baseline.config, entry.config)
    alike = (entry.rows, entry.deal, entry.command)
    first = next((old for old in entries if (old.rows, old.deal, old.command) == alike), entry)
    there, apart = _flat(baseline.config), _difference(first.config, entry.config)
    now = {name: (there.get(name), here) for name, (_, here) in apart.items()}
    return {"command": (baseline.command, entry.command), **now}


def _unchanged(folder: Path, entry: Entry) -> FinishedRun:
    run = open_run(folder / entry.run)
    if hashlib.sha256(run.predictions.pred_probs.tobytes()).hexdigest() != entry.result:
        raise StaleArtifact(
            f"{entry.run} has another result than in the diary.",
            remedy="Run both again.",
        )
    return run


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the differences of two configs, by dotted names."""
    old, new = _flat(before), _flat(now)
    names = dict.fromkeys([*old, *new])
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted names; several recipes by their index."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        value = value[0] if len(value) == 1 else {str(index): each for index, each in enumerate(value)}
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, each in value.items():
        flat |= _flat(each, f"{name}.{key}" if name else key)
    return flat


def _append(file: BinaryIO, path: Path, line: Mapping[str, Any]) -> None:
    """Append a line and sync it; a line that was cut off before is removed."""
    content = path.read_bytes()
    file.truncate(content.rfind(b"\n") + 1)
    file.write(json.dumps(line).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _take_line(entries: list[Entry], line: bytes, where: str) -> None:
    """Add one line of the diary to the entries above it: another entry, or scores of one of them."""
    try:
        fields = json.loads(line)
        if "note" not in fields:
            entries.append(_entry_of(fields))
            return
        at = max(number for number, entry in enumerate(entries) if entry.run == fields["note"])
        kept = {**entries[at].leaderboard, **{name: float(score) for name, score in fields["scores"].items()}}
        # a newer score without rows has none
        rows = {name: of for name, of in entries[at].leaderboard_rows.items() if name not in fields["scores"]}
        rows |= {name: int(of) for name, of in fields.get("rows", {}).items()}
        entries[at] = replace(entries[at], leaderboard=kept, leaderboard_rows=rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The {where} is no entry that kiyome wrote ({error}).",
            remedy="Correct that line, or move the diary away; runs are not affected.",
        ) from error


def _entry_of(fields: dict[str, Any]) -> Entry:
    for name in ("accuracy_on_given", "accuracy_on_true", "accuracy_on_kept"):
        fields[name] = None if fields[name] is None else Estimate(**fields[name])
    if (seen := fields["against_baseline"]) is not None:
        fields["against_baseline"] = Comparison(**seen | {"difference": Estimate(**seen["difference"])})
    fields["by_split"] = {name: Estimate(**each) for name, each in fields.get("by_split", {}).items()}
    fields["changed"] = {name: tuple(pair) for name, pair in fields["changed"].items()}
    return Entry(**fields | {"leaks": tuple(fields["leaks"])})
