"""Check of a set of photos: every photo is read once, before any training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kiyome.artifacts.leaks import Leaks
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.table import Table
from kiyome.images.check import PhotoCheck, check_photos
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.workflows.inputs import as_path, missing_list_path, open_table, run_folder_path
from kiyome.workflows.leaks import find_leaks, leak_note
from kiyome.workflows.outputs import photo_summary, write_photo_lists
from kiyome.workflows.shift import SplitComparison, compare_with_train


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckResult:
    """Result of `check`; the run folder lists it row by row."""

    folder: Path
    table: Table
    photos: PhotoCheck
    leaks: Leaks | None = None
    """Photos that lie in two splits; None where all rows are in one split."""
    shift: Mapping[str, SplitComparison] = field(default_factory=dict)
    """The class shares of each other split against train; empty where all rows are in one split."""

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        notes = [*self.table.notes, *leak_note(self.table, self.leaks)]
        counts = photo_summary(self.table, self.photos, self.leaks)
        if self.shift:
            counts["shift"] = {name: each.summary() for name, each in self.shift.items()}
        return {"folder": str(self.folder), "notes": notes, **counts}


@shows_progress
def check(
    data: Path | str,
    *,
    images: Path | str | None = None,
    test: Path | str | None = None,
    test_images: Path | str | None = None,
    output: Path | str | None = None,
    class_map: Path | str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    label_from_name: str | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    ignore_splits: bool = False,
    follow_links: bool = False,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> CheckResult:
    """Find unreadable and unusual photos, duplicates, duplicates with different labels, leaks across splits.

    Parameters
    ----------
    data, images, class_map, id_column, label_column, group_column, split_column, follow_links
        As for `kiyome.reading.read_table.read_table`; a frame, too, and no label is needed.
    label_from_name
        A regular expression for the names of photos without their ending, whose only group is the class.
    test, test_images, ignore_splits
        As for `find`.
    output
        The run folder; by default the next free ``runs/NAME-check``.
    on_progress
        Called as ``on_progress(stage, done, total)``.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` is given.

    Returns
    -------
    CheckResult
        The run folder holds ``photos.csv`` (every row), ``set_aside.csv``, ``duplicates.csv`` and
        ``skipped.csv`` (files of the data folder that are not in the table), and ``leaks.csv`` (photos that
        lie in two splits) if the table has splits. No photo is changed.

    Raises
    ------
    TableError
        If the data are not a table of photos and labels; the message names file, row and remedy.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> true_labels = write_digits(folder / "digits", num_photos=60)
    >>> result = check(folder / "digits", output=folder / "run")
    >>> result.summary()["photos"], result.summary()["set_aside"]
    (60, 0)
    """
    data = as_path(data)
    path = run_folder_path(data, output, "-check")
    table = open_table(
        data,
        images=images,
        test=test,
        test_images=test_images,
        class_map=class_map,
        id_column=id_column,
        label_column=label_column,
        label_from_name=label_from_name,
        group_column=group_column,
        split_column=split_column,
        ignore_splits=ignore_splits,
        follow_links=follow_links,
        need_labels=False,
        missing_list=missing_list_path(path),
        on_progress=on_progress,
    )
    run_folder = RunFolder.create_or_reopen(
        path, command="check", config={}, table=table, named_by_user=output is not None
    )
    with run_folder as run:
        names = table.given_names.tolist()
        photos = check_photos(
            table.photo_paths(), labels=names, deep_bits=table.deep_bits, on_progress=on_progress
        )
        leaks = find_leaks(table, photos, on_progress=on_progress)
        write_photo_lists(run.path, table, photos, leaks)
        readable = photos.readable
        shift = (
            compare_with_train(table.take(readable), alike=photos.duplicates.groups[readable])
            if readable.any()
            else {}
        )
        return CheckResult(folder=run.path, table=table, photos=photos, leaks=leaks, shift=shift)
