"""The label-error distribution applied to a run's predictions: `kiyome correct`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import ARRAY_FILE
from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table import TRAIN
from kiyome.ensemble import correct_pred_probs
from kiyome.ensemble.adjust import APPLY_TO, DIRECTIONS, FLAG_LEAK, TWICE
from kiyome.errors import InputError, choose
from kiyome.reading.finished_run import FinishedRun, open_run
from kiyome.workflows.combine import (
    CombinedResult,
    FittedCombination,
    Probs,
    combine_runs,
    inputs_of,
    open_members,
)

CORRECTING_LOSSES = ("forward_correction", "backward_correction")
"""Losses through which a model of the truth is trained on given labels."""


def correct(
    run: Path | str,
    *,
    rows: str = "all",
    clean: Path | str | None = None,
    apply_to: str = "run",
    noise_from: Path | str | None = None,
    direction: str = "given",
    estimates: str | None = None,
    allow_double_noise: bool = False,
    output: Path | str | None = None,
) -> CombinedResult:
    r"""Apply the label-error distribution to a run's predictions.

    Parameters
    ----------
    run
        The folder of a finished run, as for `blend`.
    rows
        "all"; "flagged", by their own labels, which leaks; or "disagree", where `clean` predicts another
        class.
    clean
        For "disagree": a run that was trained without the flagged rows.
    apply_to
        For "disagree": whose predictions are corrected on the rows that differ, those of `run` ("run") or of
        `clean` ("clean"); those of `run` stay on all other rows.
    noise_from
        A run on the same rows and folds from whose predictions the label errors are estimated; `run` if not
        given. It may be a `find` run: new photos are predicted without it.
    direction
        "given" applies P(given | true), "true" applies P(true | given).
    estimates
        What the corrected model estimates: "given" labels or the "true" class. If not given, the true class
        for trainings on curated labels, without flagged rows, or with a correcting loss, else given labels.
    allow_double_noise
        Apply a matrix that counts the noise twice; a note says so.
    output
        The run folder; ``RUN-correct`` beside the run if not given.

    Raises
    ------
    InputError
        Noise that would count twice, options that exclude each other; as `blend`.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = "".join(f"{n},{n % 2},{n % 3}\n" for n in range(60))
    >>> _ = (folder / "train.csv").write_text("id,label,fold\n" + rows)
    >>> np.save(folder / "oof.npy", np.tile(np.float32([[0.8, 0.2], [0.4, 0.6]]), (30, 1)))
    >>> run = find(folder / "train.csv", pred_probs=folder / "oof.npy", output=folder / "run").folder
    >>> correct(run, direction="true").predictor["matrix"]  # no label seems wrong
    [[1.0, 0.0], [0.0, 1.0]]
    """
    _check_options(rows, clean, apply_to, direction)
    named = [Path(run), *([] if clean is None else [Path(clean)])]
    noise_path = Path(noise_from or run).resolve()
    also = [] if noise_path in {path.resolve() for path in named} else [noise_path]
    opened = open_members([*named, *also])
    inputs, noise = opened[: len(named)], next(each for each in opened if each.path.resolve() == noise_path)
    estimated = estimates or what_it_estimates(inputs[APPLY_TO.index(apply_to)])
    if not allow_double_noise:
        _check_counted_once(estimated, direction)

    def make(labels: NDArray[np.int32], members: list[Probs], folds: Any) -> FittedCombination:
        corrected = correct_pred_probs(
            labels,
            members[0],
            folds,
            estimates=estimated,
            direction=direction,
            rows=rows,
            noise_from=noise.in_split(TRAIN).predictions.pred_probs,
            clean_pred_probs=members[1] if clean is not None else None,
            apply_to=apply_to,
            allow_double_noise=allow_double_noise,
        )
        names = inputs[0].table.class_names
        head = ("true class" if direction == "given" else "given label", *names)
        cells = [
            (name, *(f"{share:.3f}" for share in row))
            for name, row in zip(names, corrected.matrix, strict=True)
        ]
        what = "P(given label | true class)" if direction == "given" else "P(true class | given label)"
        number = f"{corrected.rows.sum():,} of {len(labels):,} rows"
        applied = f"the model is assumed to estimate {ESTIMATED[estimated]}; {what} was applied to {number}"
        return FittedCombination(
            pred_probs=corrected.pred_probs,
            predictor={"rows": rows, "reading": direction, "matrix": corrected.matrix.tolist(), **target},
            tables={f"{what}, of all rows": [head, *cells]},
            notes=(
                f"{applied}{replaced}",
                *([] if noise is inputs[0] else [f"label errors were estimated from {noise.name}"]),
                *(note for note in corrected.notes if note != FLAG_LEAK),
            ),
            leaks=(*(note for note in corrected.notes if note == FLAG_LEAK), *noise.leaks),
        )

    target = {"apply_to": apply_to} if apply_to != "run" else {}
    replaced = f", with {inputs[1].name} there and {inputs[0].name} on the others" if target else ""
    options = {
        "rows": rows,
        "reading": direction,
        "estimates": estimated,
        "anyway": allow_double_noise,
        **target,
    }
    if noise is not inputs[0]:
        digest = sha256_of_file(noise.path / "predictions" / ARRAY_FILE)
        options["noise_from"] = {"run": noise.name, "predictions_sha256": digest}
    return combine_runs(inputs, "correct", options, make, output=output)


def _check_options(rows: str, clean: Path | str | None, apply_to: str, direction: str) -> None:
    """Raise for options that exclude each other, before any run is read."""
    choose("--direction", direction, DIRECTIONS)
    choose("--apply-to", apply_to, APPLY_TO)
    if (rows == "disagree") != (clean is not None):
        given = "without --clean" if clean is None else f"with --clean {clean}"
        raise InputError(
            f"The options are --rows {rows} {given}.",
            expected="Expected both --rows disagree and --clean RUN, or neither.",
            remedy="Add --clean RUN." if clean is None else "Pass --rows disagree, or leave --clean out.",
        )
    if apply_to == "clean" and clean is None:
        raise InputError(
            f"The options are --apply-to clean and --rows {rows}.",
            expected="--apply-to clean needs --rows disagree.",
            remedy="Add --rows disagree --clean RUN, or name the clean run itself as RUN.",
        )


def _check_counted_once(estimates: str, direction: str) -> None:
    """Raise for label errors applied to a model of given labels, or removed from a model of true classes."""
    if estimates == direction:
        raise InputError(
            f"T{TWICE[direction][1:]}.",
            remedy="Choose the other --direction, correct a run of the other kind, or add"
            " --allow-double-noise.",
        )


def what_it_estimates(run: FinishedRun) -> str:
    """Return whether a run's model estimates "given" labels or "true" classes, from how it was made."""
    config = run.manifest["config"]
    if run.command == "train":
        curated = bool((run.table.labels != run.table.given_labels).any())
        kinds: set[str] = {
            "true" if curated or each.get("leave_out") or each.get("loss") in CORRECTING_LOSSES else "given"
            for each in config["recipes"]
        }
    elif run.command in ("blend", "calibrate"):
        kinds = {what_it_estimates(open_run(path)) for path in inputs_of(run.path, run.manifest)}
    else:
        kinds = {config["reading"] if run.command == "correct" else "given"}
    if len(kinds) != 1:
        raise InputError(
            f"{run.path} mixes models of given labels and of true classes.",
            remedy="Add --estimates given or --estimates true.",
        )
    return kinds.pop()


ESTIMATED: dict[str, str] = {"given": "given labels", "true": "true classes"}
