"""The fold of each row of `train`: one table has one set of folds, unless the user asks for another.

    `fold` column or the run folder's own table or the oldest run of the same table beside it or new

The last two are looked up once: a run folder keeps its table from the start, so that a resumed command stays
on its folds whatever was run or deleted since.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import is_machine_failure
from kiyome.artifacts.table import NO_FOLD, TRAIN, Labels, Table
from kiyome.artifacts.table_files import load_table, write_table
from kiyome.errors import InputError, KiyomeError
from kiyome.experiments import DIARY, Entry, digest_of_rows, read_diary
from kiyome.folds import assign_folds, join_groups
from kiyome.images.check import PhotoCheck
from kiyome.reading.columns import SHOWN, some
from kiyome.reading.finished_run import folds_digest
from kiyome.reading.plausible import check_duplicate_labels

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RunFolds:
    """The source of the folds of a table's readable rows."""

    run: Path
    """The run folder, which need not exist yet."""
    num_folds: int
    """Number of new folds."""
    seed: int
    """Seed of new folds."""
    is_own: bool
    """Whether the user gave folds, or asked for new ones."""
    fewest: int = 2
    """The least number of folds of an earlier run that are used again."""
    like: Path | None = None
    """A run whose folds come before those of the oldest."""

    def assign(self, table: Table, photos: PhotoCheck) -> Table:
        """Return the rows that can be read, with folds that split neither groups nor near duplicates."""
        return self.assign_rows(table.take(photos.readable), photos.duplicates.groups[photos.readable])

    def assign_rows(self, scored: Table, alike: Ints) -> Table:
        """Return the table with folds that split neither groups nor rows that are `alike`, (N,) or -1."""
        if scored.folds is not None:
            return scored
        is_train = _train_rows(scored)
        groups = join_groups(alike) if scored.groups is None else join_groups(scored.groups, alike)
        labels, groups = scored.given_labels[is_train], groups[is_train]
        folds = None if self.is_own else self._earlier(scored, is_train, groups)
        if folds is None:
            folds = np.full(len(scored), NO_FOLD, np.int16)
            folds[is_train] = assign_folds(
                labels,
                num_folds=self.num_folds,
                groups=groups,
                seed=self.seed,
                class_names=scored.class_names,
                allow_rare=True,
            )
        notes = (*scored.notes, *self._rare_classes(labels, groups, scored.class_names))
        return replace(scored.with_folds(folds), notes=notes)

    def _rare_classes(self, labels: Labels, groups: Ints, class_names: tuple[str, ...]) -> list[str]:
        """A note on classes with fewer groups of photos than folds."""
        counts = num_groups_of_classes(labels, groups, len(class_names))
        rare = np.flatnonzero((counts > 0) & (counts < self.num_folds))
        names = [class_names[label] for label in rare]
        note = f"{len(rare)} classes have fewer different photos than folds: {some(names)}."
        return [f"{note} The models that score them saw few of them."][: len(rare)]

    def keep(self, table: Table) -> None:
        """Write the table into the run folder, where the same command finds its folds again."""
        write_table(table, self.run / "table.parquet")

    def note(self, table: Table, *, say: str) -> list[str]:
        """Return a note on folds of an earlier run; `say` is the option that asks for new ones."""
        first = None if self.is_own or self.like else first_run_on_folds(self.run.parent, table)
        if first is None or first == self.run.name:
            return []
        num_folds = len(table.fold_numbers)
        instead = f" instead of {self.num_folds} new ones" if num_folds != self.num_folds else ""
        return [f"the {num_folds} folds of {self.run.parent / first}{instead}; {say} makes new folds"]

    def _earlier(self, scored: Table, is_train: NDArray[np.bool_], groups: Ints) -> NDArray[np.int16] | None:
        """Return the folds of this run folder, of `like` or of the oldest, splitting no group of train."""
        named = [folds_of_run(run, scored) for run in (self.run, self.like) if run is not None]
        first = [folds for folds in named if folds is not None][:1]
        for folds in first or folds_beside(self.run.parent, scored):
            if np.array_equal(folds != NO_FOLD, is_train) and self._fits(folds[is_train], groups):
                return folds
        return None

    def _fits(self, folds: NDArray[np.int16], groups: Ints) -> bool:
        num_folds = int(folds.max()) + 1
        parts = np.unique(groups * num_folds + folds)
        return len(np.unique(folds)) >= self.fewest and len(parts) == len(np.unique(groups))


def _train_rows(table: Table) -> NDArray[np.bool_]:
    """Return a mask (N,) of the rows to learn from; InputError where there is none."""
    is_train = table.in_split(TRAIN)
    if not is_train.any():
        raise InputError(
            f"The table has no rows of train; all {len(table):,} are {' or '.join(table.splits_in_use)}.",
            remedy="Give the rows of train in the same table.",
        )
    return is_train


def usable_photos(table: Table, photos: PhotoCheck) -> PhotoCheck:
    """Return the check with photos set aside whose class no model could learn from train.

    InputError where fewer than two classes are left, or the same photos stand under other labels throughout.
    Folds that a table has stay as they are.
    """
    if not photos.readable.any():
        row, reason = next(iter(photos.set_aside.items()))
        raise InputError(
            f"None of {photos.num_photos} photos can be read; row {row}: {reason}.",
            remedy="Run `kiyome check` for the list.",
        )
    check_duplicate_labels(_same_photos(photos, table.is_labeled), table.given_labels)
    is_train = _train_rows(table)
    rows = np.flatnonzero(photos.readable & is_train)
    reasons = {} if table.folds is not None else dict.fromkeys(_alone(table, photos, rows), ALONE)
    learned = np.setdiff1d(table.given_labels[rows], table.given_labels[list(reasons)])
    judged = photos.readable & ~is_train & table.is_labeled
    unseen = np.flatnonzero(judged & ~np.isin(table.given_labels, learned))
    reasons |= dict.fromkeys(unseen.tolist(), NOT_IN_TRAIN)
    if not reasons:
        return photos
    records = list(photos.records)
    for row, reason in reasons.items():
        records[row] = replace(records[row], facts=None, prepared=None, findings=(), reason=reason)
    return replace(photos, records=tuple(records))


def _alone(table: Table, photos: PhotoCheck, rows: Ints) -> list[int]:
    """Return the rows whose class is in one group only; InputError where one class or none is left."""
    alike = photos.duplicates.groups
    groups = join_groups(alike) if table.groups is None else join_groups(table.groups, alike)
    counts = num_groups_of_classes(table.given_labels[rows], groups[rows], table.num_classes)
    if (counts > 1).sum() < 2:
        named = [f"{counts[label]} of {table.class_names[label]!r}" for label in np.flatnonzero(counts)]
        raise InputError(
            "Fewer than two classes have photos in two groups or more, groups being near duplicates and rows"
            f" of one group or patient: {', '.join(named[:SHOWN])}.",
            expected="Expected two such classes: photos of one group are never in two folds.",
            remedy="Give more photos, or correct the column of groups.",
        )
    alone: list[int] = rows[counts[table.given_labels[rows]] == 1].tolist()
    return alone


def _same_photos(photos: PhotoCheck, is_labeled: NDArray[np.bool_]) -> list[Ints]:
    """The labeled rows of each picture that several photos have, pixel for pixel."""
    rows_of: dict[str, list[int]] = {}
    for row in np.flatnonzero(photos.duplicates.exact & is_labeled).tolist():
        if (facts := photos.records[row].facts) is not None:
            rows_of.setdefault(facts.pixels_sha256, []).append(row)
    return [np.array(rows) for rows in rows_of.values() if len(rows) > 1]


ALONE = "no other photo of its class, so no model could learn it"
NOT_IN_TRAIN = "no photo of its class in train, so no model could learn it"


def num_groups_of_classes(labels: Labels, groups: Ints, num_classes: int) -> Ints:
    """Return in how many groups each class (K,) has rows."""
    pairs = np.unique(np.stack([labels.astype(np.int64), groups]), axis=1)
    counts: Ints = np.bincount(pairs[0], minlength=num_classes)
    return counts


def first_run_on_folds(folder: str | Path, table: Table) -> str | None:
    """Return the oldest run in the folder on the same rows, given labels and folds; None without one."""
    rows, deal = digest_of_rows(table), folds_digest(table)
    return next((old.run for old in _entries(folder) if (old.rows, old.deal) == (rows, deal)), None)


def folds_beside(folder: str | Path, table: Table) -> Iterator[NDArray[np.int16]]:
    """Yield the folds (N,) of runs on the same rows and given labels, the oldest first, if still there."""
    rows = digest_of_rows(table)
    for entry in _entries(folder):
        if entry.rows == rows and entry.deal is not None:
            folds = folds_of_run(Path(folder) / entry.run, table)
            if folds is not None and folds_digest(table.with_folds(folds)) == entry.deal:
                yield folds


def runs_on_rows(folder: str | Path, table: Table) -> Iterator[Path]:
    """Yield the runs in the folder on the same rows and given labels, the oldest first."""
    rows = digest_of_rows(table)
    return (Path(folder) / old.run for old in _entries(folder) if old.rows == rows)


def folds_of_run(run: Path, table: Table) -> NDArray[np.int16] | None:
    """Return the folds (N,) of a run folder's table, where it has the rows and given labels of `table`."""
    try:
        held = load_table(run / "table.parquet")
    except (KiyomeError, OSError) as error:
        if is_machine_failure(error):
            raise  # else the folds would be other ones
        return None  # gone, or never finished
    return held.folds if digest_of_rows(held) == digest_of_rows(table) else None


def _entries(folder: str | Path) -> tuple[Entry, ...]:
    return read_diary(folder) if (Path(folder) / DIARY).is_file() else ()
