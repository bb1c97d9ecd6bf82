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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.finished_run import FinishedRun, open_run
from kiyome.artifacts.storage import sync_folder
from kiyome.artifacts.table import UNKNOWN
from kiyome.errors import InputError, KiyomeError, StaleArtifact
from kiyome.evaluate.compare import Comparison, compare
from kiyome.evaluate.shares import Estimate, share_of_rows

DIARY = "diary.jsonl"
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
    """SHA-256 of the predictions."""
    config: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]
    """Config that differs from the entry before by the same command: before and now."""
    accuracy_on_given: Estimate
    """Of all rows, against the labels as received."""
    accuracy_on_true: Estimate | None
    """Of the rows whose true label is known."""
    accuracy_on_kept: Estimate | None
    """Of the rows that a cleaning step kept: an illusion beside the first, never alone."""
    leaks: tuple[str, ...]
    """What the score owes to labels that it is judged on, in words."""
    baseline: str | None = None
    """The run that this one is compared with; None for the first."""
    against_baseline: Comparison | None = None
    not_compared: str = ""
    """Why there is a baseline and no comparison."""

    def verdict(self) -> str:
        """In words, against the baseline."""
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
    opened = open_run(run)
    path = opened.path.resolve().parent / DIARY
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = read_diary(path.parent)
        entry = _entry(opened, before, leaks, is_kept)
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
    chosen = next((entry for entry in reversed(entries) if entry.run == baseline), None)
    if chosen is None:
        raise InputError(
            "The baseline is an entry of the diary.",
            came=repr(baseline),
            remedy=f"Name one of {', '.join(dict.fromkeys(entry.run for entry in entries))}.",
        )
    return tuple(_against(entry, chosen, Path(folder)) for entry in entries)


def _entry(
    run: FinishedRun, before: Sequence[Entry], leaks: Sequence[str], is_kept: NDArray[np.bool_] | None
) -> Entry:
    table, right = run.table, run.right_on_given
    entry = Entry(
        run=run.name,
        command=run.command,
        finished=run.manifest["finished"],
        seconds=run.manifest["seconds"],
        resumed=run.manifest["resumed"],
        rows=hashlib.sha256(table.fingerprint.encode() + table.given_labels.tobytes()).hexdigest(),
        deal=run.deal,
        result=hashlib.sha256(run.predictions.pred_probs.tobytes()).hexdigest(),
        config=run.manifest["config"],
        changed={},
        accuracy_on_given=share_of_rows(right, groups=table.groups),
        accuracy_on_true=_accuracy_on_true(run),
        accuracy_on_kept=None if is_kept is None or not is_kept.any() else share_of_rows(right[is_kept]),
        leaks=(*leaks, *([UNKNOWN_FOLDS] if run.deal is None else [])),
    )
    alike = [old for old in before if old.rows == entry.rows and old.run != entry.run]
    by_same_command = [old for old in alike if old.command == entry.command]
    if by_same_command:
        entry = replace(entry, changed=_difference(by_same_command[-1].config, entry.config))
    return _against(entry, alike[0], run.path.resolve().parent) if alike else entry


def _accuracy_on_true(run: FinishedRun) -> Estimate | None:
    true = run.table.true_labels
    if true is None or not (known := true != UNKNOWN).any():
        return None
    groups = None if run.table.groups is None else run.table.groups[known]
    return share_of_rows((run.predictions.pred_probs.argmax(axis=1) == true)[known], groups=groups)


def _against(entry: Entry, baseline: Entry, folder: Path) -> Entry:
    """The entry, compared row by row with a baseline whose run lies in the folder."""
    if entry.run == baseline.run:
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
