"""The diary: every experiment, its score with an interval, and whether it beats the first by more than luck.

    runs/
      diary.jsonl     one line an experiment, appended and never changed; made by the verbs themselves
      leaves-train/   a run; its predictions are compared row by row with those of the baseline

The baseline is the first experiment on the same rows and given labels. Scores are always on all rows and on
given labels, so that a cleaning step cannot choose what it is judged on. N rows.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.finished_run import FinishedRun, deal_of, open_run
from kiyome.artifacts.run import Manifest, verify_run
from kiyome.artifacts.sources import read_table
from kiyome.artifacts.storage import open_in_place, sync_folder
from kiyome.artifacts.table import UNKNOWN, Table
from kiyome.errors import InputError, KiyomeError, StaleArtifact
from kiyome.evaluation.compare import Comparison, compare
from kiyome.evaluation.shares import Estimate, share_of_rows

DIARY = "diary.jsonl"
REWORKING = ("calibrate", "correct")
"""Verbs whose runs rework the predictions of another run, and are no experiments of their own."""
UNKNOWN_FOLDS = "folds unknown: whether predictions are out of fold cannot be told"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One experiment, as it was when it ended."""

    run: str
    """Name of the run folder, beside the diary."""
    command: str
    finished: str
    """UTC, ISO 8601."""
    seconds: float
    """What the last stretch took: all of it, unless `resumed`."""
    resumed: bool
    rows: str
    """Digest of ids, their order, class names and given labels: what must agree to compare row by row."""
    deal: str | None
    """Digest of the folds."""
    result: str
    """SHA-256 of the predictions, or of the table that a step without score made."""
    config: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]
    """Config that differs from the entry before by the same command: before and now."""
    accuracy_on_given: Estimate | None = None
    """Of all rows, against the labels as received; None for a step that only makes a table."""
    accuracy_on_true: Estimate | None = None
    """Of the rows whose true label is known."""
    accuracy_on_kept: Estimate | None = None
    """Of the rows that a cleaning step kept: an illusion beside the first, never alone."""
    leaks: tuple[str, ...] = ()
    """What the score owes to labels that it is judged on, in words."""
    baseline: str | None = None
    """The run that this one is compared with; None for the first."""
    against_baseline: Comparison | None = None
    not_compared: str = ""
    """Why there is a baseline and no comparison."""

    def verdict(self) -> str:
        """In words, against the baseline."""
        if self.accuracy_on_given is None:
            return "no score"
        if self.against_baseline is not None:
            return self.against_baseline.in_words()
        return f"not compared: {self.not_compared}" if self.not_compared else "the baseline"


def note_run(
    run: str | Path, *, leaks: Sequence[str] = (), is_kept: NDArray[np.bool_] | None = None
) -> Entry:
    """The run's entry in the diary beside it, written unless it is there already.

    Parameters
    ----------
    run
        The folder of a finished run that predicts every row of a table.
    leaks
        What the score owes to labels that it is judged on, in words; it stays with the number.
    is_kept
        (N,) rows that a cleaning step kept, where there was one.

    Raises
    ------
    StaleArtifact
        When the run was cut off or changed.
    """
    return _noted(Path(run), lambda before: _scored(open_run(run), before, leaks, is_kept))


def note_step(run: str | Path) -> Entry:
    """The entry of a run that made a table and no score, such as a curation; written unless it is there.

    Raises
    ------
    StaleArtifact
        When the run was cut off or changed.
    """
    return _noted(Path(run), lambda before: _step(Path(run), before))


def _noted(run: Path, entry_of: Callable[[Sequence[Entry]], Entry]) -> Entry:
    path = run.resolve().parent / DIARY
    with open_in_place(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = read_diary(path.parent)
        entry = entry_of(before)
        known = [old for old in before if (old.run, old.result) == (entry.run, entry.result)]
        if known:
            return known[-1]
        _append(file.fileno(), path, entry)
    sync_folder(path.parent)
    return entry


def read_diary(folder: str | Path) -> tuple[Entry, ...]:
    """All entries, the oldest first; a last line that a kill cut short is left out.

    Raises
    ------
    InputError
        When the folder has no diary, or a line of it is none of ours.
    """
    path = Path(folder) / DIARY
    if not path.is_file():
        raise InputError(
            "A diary lies beside the runs that it tells of.",
            came=f"no {path}",
            remedy="Train something, or name the folder of your runs.",
        )
    *lines, _unfinished = path.read_bytes().split(b"\n")
    return tuple(_entry_of(line, number, path) for number, line in enumerate(lines, start=1) if line)


def compared_with(entries: Sequence[Entry], folder: str | Path, baseline: str) -> tuple[Entry, ...]:
    """The same entries, each compared with this run, as far as both runs are still there.

    Raises
    ------
    InputError
        When no entry has that name.
    """
    scored = [entry for entry in entries if entry.accuracy_on_given]
    chosen = next((entry for entry in reversed(scored) if entry.run == baseline), None)
    if chosen is None:
        raise InputError(
            "The baseline is an entry of the diary that has a score.",
            came=repr(baseline),
            remedy=f"Name one of {', '.join(dict.fromkeys(entry.run for entry in scored))}.",
        )
    return tuple(_against(entry, chosen, Path(folder)) for entry in entries)


def digest_of_rows(table: Table) -> str:
    """A digest of ids, their order, class names and given labels: what must agree to compare row by row."""
    return hashlib.sha256(table.fingerprint.encode() + table.given_labels.tobytes()).hexdigest()


def first_run_on_folds(folder: str | Path, table: Table) -> str | None:
    """Return the oldest run in the folder on the same rows, given labels and folds; None without one."""
    rows, deal = digest_of_rows(table), deal_of(table)
    return next((old.run for old in _entries(folder) if (old.rows, old.deal) == (rows, deal)), None)


def folds_beside(folder: str | Path, table: Table) -> Iterator[NDArray[np.int16]]:
    """Yield the folds (N,) of runs on the same rows and given labels, the oldest first, if still there."""
    rows = digest_of_rows(table)
    for entry in _entries(folder):
        if entry.rows == rows and entry.deal is not None:
            folds = folds_of_run(Path(folder) / entry.run, table)
            if folds is not None and deal_of(table.with_folds(folds)) == entry.deal:
                yield folds


def folds_of_run(run: Path, table: Table) -> NDArray[np.int16] | None:
    """Return the folds (N,) of a run folder's table, where it has the rows and given labels of `table`."""
    try:
        held = read_table(run / "table.parquet", allow_missing=True)
    except (KiyomeError, OSError):
        return None  # gone, or never finished
    return held.folds if digest_of_rows(held) == digest_of_rows(table) else None


def origin_of(entry: Entry, entries: Sequence[Entry]) -> Entry:
    """Return the entry of the run that a calibration or correction reworks; of any other run its own."""
    if entry.command not in REWORKING:
        return entry
    others = [old for old in entries if old is not entry and old.accuracy_on_given]
    source = [old for old in others if old.run == entry.config["runs"][0]["path"]]
    return origin_of(source[-1], others) if source else entry


def _entries(folder: str | Path) -> tuple[Entry, ...]:
    return read_diary(folder) if (Path(folder) / DIARY).is_file() else ()


def _scored(
    run: FinishedRun, before: Sequence[Entry], leaks: Sequence[str], is_kept: NDArray[np.bool_] | None
) -> Entry:
    table, right = run.table, run.right_on_given
    entry = replace(
        _unscored(run.path, run.manifest, table, before),
        result=hashlib.sha256(run.predictions.pred_probs.tobytes()).hexdigest(),
        accuracy_on_given=share_of_rows(right, groups=table.groups),
        accuracy_on_true=_accuracy_on_true(run),
        accuracy_on_kept=None if is_kept is None or not is_kept.any() else share_of_rows(right[is_kept]),
        leaks=(*leaks, *([UNKNOWN_FOLDS] if run.deal is None else [])),
    )
    baseline = next((old for old in before if old.rows == entry.rows and old.accuracy_on_given), None)
    return entry if baseline is None else _against(entry, baseline, run.path.resolve().parent)


def _step(run: Path, before: Sequence[Entry]) -> Entry:
    return _unscored(run, verify_run(run), read_table(run / "table.parquet", allow_missing=True), before)


def _unscored(run: Path, manifest: Manifest, table: Table, before: Sequence[Entry]) -> Entry:
    """What is known of any run; a table that was curated is told beside the config."""
    rows = digest_of_rows(table)
    name, config = run.resolve().name, {**manifest["config"], **_curation_of(table)}
    alike = [
        old for old in before if (old.rows, old.command) == (rows, manifest["command"]) and old.run != name
    ]
    return Entry(
        run=name,
        command=manifest["command"],
        finished=manifest["finished"],
        seconds=manifest["seconds"],
        resumed=manifest["resumed"],
        rows=rows,
        deal=deal_of(table),
        result=table.content_digest,
        config=config,
        changed=_difference(alike[-1].config, config) if alike else {},
    )


def _curation_of(table: Table) -> dict[str, int]:
    """How many rows do not teach the label that they were given."""
    dropped = 0 if table.weights is None else int((table.weights == 0).sum())
    return {"rows_relabeled": int((table.labels != table.given_labels).sum()), "rows_dropped": dropped}


def _accuracy_on_true(run: FinishedRun) -> Estimate | None:
    true = run.table.true_labels
    if true is None or not (known := true != UNKNOWN).any():
        return None
    groups = None if run.table.groups is None else run.table.groups[known]
    return share_of_rows((run.predictions.pred_probs.argmax(axis=1) == true)[known], groups=groups)


def _against(entry: Entry, baseline: Entry, folder: Path) -> Entry:
    """The entry, compared row by row with a baseline whose run lies in the folder."""
    if entry.run == baseline.run or entry.accuracy_on_given is None:
        return replace(entry, baseline=None, against_baseline=None, not_compared="")
    compared, reason = None, ""
    if entry.rows != baseline.rows:
        reason = f"other rows or given labels than {baseline.run}"
    elif entry.deal != baseline.deal:
        reason = f"other folds than {baseline.run}"
    else:
        try:
            ours, theirs = (_unchanged(folder, each) for each in (entry, baseline))
            compared = compare(ours.right_on_given, theirs.right_on_given, groups=ours.table.groups)
        except KiyomeError as error:
            reason = error.came
    return replace(entry, baseline=baseline.run, against_baseline=compared, not_compared=reason)


def _unchanged(folder: Path, entry: Entry) -> FinishedRun:
    run = open_run(folder / entry.run)
    if hashlib.sha256(run.predictions.pred_probs.tobytes()).hexdigest() != entry.result:
        raise StaleArtifact(
            "A run holds what the diary tells of.",
            came=f"{entry.run} has another result by now",
            remedy="Run both again.",
        )
    return run


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two configs, by dotted names."""
    old, new = _flat(before), _flat(now)
    names = dict.fromkeys([*old, *new])
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names; of several recipes each by its place."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        value = value[0] if len(value) == 1 else {str(place): each for place, each in enumerate(value)}
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, each in value.items():
        flat |= _flat(each, f"{name}.{key}" if name else key)
    return flat


def _append(handle: int, path: Path, entry: Entry) -> None:
    """One line at the end, and on the disk; what a kill left of a line before it is cut away."""
    content = path.read_bytes()
    os.ftruncate(handle, content.rfind(b"\n") + 1)
    os.write(handle, json.dumps(asdict(entry)).encode() + b"\n")
    os.fsync(handle)


def _entry_of(line: bytes, number: int, path: Path) -> Entry:
    try:
        fields = json.loads(line)
        for name in ("accuracy_on_given", "accuracy_on_true", "accuracy_on_kept"):
            fields[name] = None if fields[name] is None else Estimate(**fields[name])
        if (seen := fields["against_baseline"]) is not None:
            fields["against_baseline"] = Comparison(**seen | {"difference": Estimate(**seen["difference"])})
        fields["changed"] = {name: tuple(pair) for name, pair in fields["changed"].items()}
        return Entry(**fields | {"leaks": tuple(fields["leaks"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "Each line of a diary is an entry that kiyome wrote.",
            came=f"line {number} of {path} ({error})",
            remedy="Put that line right, or move the diary away; runs are not touched.",
        ) from error
