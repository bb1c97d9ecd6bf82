"""A random sample of a run's rows for people to check blindly: `kiyome audit-sample`.

run ── strata, draw ── design (sealed) ── photos under blind names, audit.csv ── people ── kiyome audit
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.audit_folder import (
    AUDIT_FILE,
    DESIGN_FILE,
    FACTS_FILE,
    NONE_WORD,
    PHOTOS,
    UNSURE_WORD,
    blind_names,
    read_audit_folder,
)
from kiyome.artifacts.escapes import safe_cell, text_of_path
from kiyome.artifacts.manifest import refuse_photos_from_elsewhere
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import private_folder, reading, write_csv, write_parquet, write_text
from kiyome.artifacts.table import UNKNOWN, UNLABELED
from kiyome.errors import InputError
from kiyome.estimates import Estimate, proportion_of_rows
from kiyome.evaluation.audit_design import NUM_STRATA, AuditDesign, Strata, draw_audit, rows_for
from kiyome.reading.finished_run import FinishedRun, open_run

COLUMNS = ("row", "photo", "true_label")

ASKED_HALF_WIDTHS = (0.03, 0.02, 0.01)
"""Half widths of the interval for which the needed rows are printed."""

NUM_ROWS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class SealedSample:
    """A drawn sample with its design and predictions, as its folder keeps it."""

    folder: Path
    design: AuditDesign
    labels: NDArray[np.intp] | None
    """(N,) given labels; None where the rows have none."""
    predicted_labels: NDArray[np.intp]
    """(N,) the model's likeliest classes."""
    class_names: tuple[str, ...]
    fingerprint: str
    """Of the table: its ids, their order and class names."""
    source: str
    """Name of the audited run."""
    predictions: str
    """Digest of its probabilities."""
    accuracy_on_given: Estimate | None
    """On all rows; None where they have no label."""
    rows_needed: dict[float, int]
    """Rows to check for each half width, computed from guesses."""
    split: str | None = None
    """The split that it was drawn from; None where the table has none."""

    @property
    def row_names(self) -> list[str]:
        """The n blind names in the blind order, unique to this sample."""
        return blind_names(self.predictions, self.design.rows)

    def summary(self) -> dict[str, Any]:
        """Return the sample as JSON values."""
        return {
            "folder": str(self.folder),
            "file": str(self.folder / AUDIT_FILE),
            "rows_to_check": len(self.design.rows),
            "rows": len(self.predicted_labels),
            "expected_half_width": round(self.design.expected_half_width(), 6),
            "rows_needed": {str(half): rows for half, rows in self.rows_needed.items()},
            "accuracy_on_given": None if self.accuracy_on_given is None else asdict(self.accuracy_on_given),
            "split": self.split,
        }


def audit_sample(
    run: Path | str,
    *,
    n: int | None = None,
    num_strata: int = NUM_STRATA,
    seed: int = 0,
    split: str | None = None,
    images: Path | str | None = None,
    output: Path | str | None = None,
    group: str | None = None,
) -> SealedSample:
    """Draw a random sample of a run's rows for people to check.

    Parameters
    ----------
    run
        The folder of a finished run that predicts every row of a table.
    n
        Number of rows; 200, or all of a smaller table, if not given.
    num_strata, seed
        As for `kiyome.evaluation.audit_design.draw_audit`.
    split
        The rows to draw from, "test", "val", "train" or "unlabeled". If not given, test where the table has
        such rows, else val, else train.
    images
        Where the photos of the run lie, as for `kiyome.review`.
    output
        The run folder; ``RUN-audit`` beside the run if not given, ``RUN-audit-SPLIT`` where the table has
        splits. Only its owner can read it.
    group
        A group of this machine that can read and write the folder, too.

    Returns
    -------
    SealedSample
        Its folder holds ``audit.csv`` with an empty column ``true_label``, the photos under neutral names (a
        path may contain the given label), and the sealed design. Without photos, the file has image ids.

    Raises
    ------
    InputError
        A folder with a sample: drawing until one pleases is no audit.
    """
    if images is None:
        refuse_photos_from_elsewhere(run)
    whole = open_run(run, images=images)
    chosen = UNLABELED if split == UNLABELED else whole.scored_split(split)
    opened = whole.in_split(chosen)
    drawn_from = None if whole.table.splits is None else chosen
    n = min(NUM_ROWS, len(opened.table)) if n is None else n
    suffix = "audit" if drawn_from is None else f"audit-{drawn_from}"
    target = Path(output) if output else opened.path.with_name(f"{opened.name}-{suffix}")
    _check(target, opened)
    predictions = digest_of(opened)
    config = {
        "source": opened.name,
        "predictions": predictions,
        "n": n,
        "num_strata": num_strata,
        "seed": seed,
        **({} if drawn_from is None else {"split": drawn_from}),
    }
    labels = None if chosen == UNLABELED else opened.table.given_labels.astype(np.intp)
    design = draw_audit(labels, opened.predictions.pred_probs, n, num_strata=num_strata, seed=seed)
    sample = SealedSample(
        folder=target,
        design=design,
        labels=labels,
        predicted_labels=opened.predictions.pred_probs.argmax(axis=1),
        class_names=opened.table.class_names,
        fingerprint=opened.table.fingerprint,
        source=opened.name,
        predictions=predictions,
        accuracy_on_given=None
        if labels is None
        else proportion_of_rows(opened.right_on_given, groups=opened.table.groups),
        rows_needed={half: rows_for(design.strata, half) for half in ASKED_HALF_WIDTHS},
        split=drawn_from,
    )
    with RunFolder.create_or_reopen(
        target, command="audit-sample", config=config, table=opened.table
    ) as folder:
        private_folder(target, group=group)
        _write_design(sample)
        photos = _blind_photos(sample, opened, group)
        write_text(folder.path / "how_to.txt", _how_to(sample))
    # after the seal: people write into this file
    write_csv(
        target / AUDIT_FILE, [COLUMNS, *((*each, "") for each in zip(sample.row_names, photos, strict=True))]
    )
    private_folder(target)
    return sample


def read_sample(folder: Path | str) -> SealedSample:
    """Return the sample in a folder; its sealed files must be unchanged."""
    import pyarrow.parquet as pq

    drawn = read_audit_folder(folder)
    facts = drawn.facts
    with reading(drawn.folder / DESIGN_FILE):
        columns = pq.read_table(drawn.folder / DESIGN_FILE).to_pydict()
        strata = Strata(
            stratum_of_row=np.array(columns["stratum"], dtype=np.int8),
            num_disagreeing=facts["num_disagreeing"],
            guesses=np.array(facts["guesses"]),
            spreads=np.array(facts["spreads"]),
        )
        labels = np.array(columns["given_label"], dtype=np.intp)
        given = facts["accuracy_on_given"]
        return SealedSample(
            folder=drawn.folder,
            design=AuditDesign(rows=drawn.rows, strata=strata, seed=facts["seed"]),
            labels=labels if (labels >= 0).all() else None,
            predicted_labels=np.array(columns["predicted_label"], dtype=np.intp),
            class_names=drawn.class_names,
            fingerprint=drawn.manifest["table"]["fingerprint"],
            source=facts["source"],
            predictions=facts["predictions"],
            accuracy_on_given=None if given is None else Estimate(**given),
            rows_needed={float(half): rows for half, rows in facts["rows_needed"].items()},
            split=facts.get("split"),
        )


def digest_of(run: FinishedRun) -> str:
    """Return a digest of the probabilities, by which the diary identifies a result."""
    return hashlib.sha256(run.predictions.pred_probs.tobytes()).hexdigest()


def _check(target: Path, run: FinishedRun) -> None:
    if (target / AUDIT_FILE).exists():
        raise InputError(
            f"{target / AUDIT_FILE} exists: a sample is drawn once, not until one pleases.",
            remedy="Go on filling it, or name another folder with --output.",
        )
    if taken := {NONE_WORD, UNSURE_WORD} & set(run.table.class_names):
        raise InputError(
            f"A class has the name '{min(taken)}', which people write where they see no class.",
            remedy="Give the class another name.",
        )
    if run.predictions.kind != "out_of_fold":
        raise InputError(
            f"{run.path} has predictions of kind '{run.predictions.kind}'.",
            expected="Expected out-of-fold predictions.",
            remedy="Name another run.",
        )


def _write_design(sample: SealedSample) -> None:
    design, strata = sample.design, sample.design.strata
    predicted = sample.predicted_labels.astype(np.int32)
    positions = np.zeros(len(predicted), dtype=np.int32)
    positions[design.rows] = np.arange(1, len(design.rows) + 1)
    columns = {
        "stratum": strata.stratum_of_row,
        "inclusion_probability": design.inclusion_probabilities,
        "place": positions,
        "given_label": np.full_like(predicted, UNKNOWN)
        if sample.labels is None
        else sample.labels.astype(np.int32),
        "predicted_label": predicted,
    }
    write_parquet(sample.folder / DESIGN_FILE, columns)
    facts = {
        **sample.summary(),
        "source": sample.source,
        "predictions": sample.predictions,
        "seed": design.seed,
        "num_disagreeing": strata.num_disagreeing,
        "guesses": strata.guesses.tolist(),
        "spreads": strata.spreads.tolist(),
        "sizes": strata.sizes.tolist(),
        "rows_drawn": design.rows_drawn.tolist(),
    }
    write_text(sample.folder / FACTS_FILE, json.dumps(facts, indent=2))


def _blind_photos(sample: SealedSample, run: FinishedRun, group: str | None) -> list[str]:
    """Return the column photo; photos are copied where they exist."""
    paths = np.array(run.table.photo_paths(), dtype=object)[sample.design.rows].tolist()
    if not all(path and Path(path).is_file() for path in paths):
        return [safe_cell(text_of_path(name)) for name in run.table.image_ids[sample.design.rows]]
    photos = private_folder(sample.folder / PHOTOS, group=group)
    names = [f"{name}{Path(path).suffix.lower()}" for name, path in zip(sample.row_names, paths, strict=True)]
    for name, path in zip(names, paths, strict=True):
        shutil.copyfile(path, photos / name)  # a link would reveal its target, and so perhaps the label
    private_folder(photos)  # its files, too
    return [f"{PHOTOS}/{name}" for name in names]


def _how_to(sample: SealedSample) -> str:
    lines = [
        f"Fill the column true_label of {AUDIT_FILE} from the top down; look only at the photo.",
        f"Write one of: {', '.join(sample.class_names)}",
        f"Write {NONE_WORD} where the photo shows none of them.",
        f"Write {UNSURE_WORD} where you cannot tell. Never guess.",
        "You may stop anywhere, but not because of what you have seen.",
        f"Then: kiyome audit {AUDIT_FILE} --sample THIS_FOLDER",
        f"Do not open {DESIGN_FILE} before: it contains labels and predictions.",
    ]
    return "\n".join(lines) + "\n"
