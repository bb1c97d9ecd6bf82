"""The label-error distribution applied to a run's predictions: `kiyome correct`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import ARRAY_FILE
from kiyome.artifacts.storage import sha256_of_file
from kiyome.ensemble import correct_pred_probs
from kiyome.ensemble.adjust import APPLY_TO, FLAG_LEAK, READINGS, TWICE
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
    reading: str = "given",
    estimates: str | None = None,
    anyway: bool = False,
    output: Path | str | None = None,
) -> CombinedResult:
    r"""A run's predictions after the error distribution of its labels, with the out-of-fold score.

    Parameters
    ----------
    run
        The folder of a finished run, as for `blend`.
    rows
        "all"; "flagged", by their own labels, which leaks; or "disagree", where `clean` chooses
        another class.
    clean
        For "disagree": a run that was trained without the flagged rows.
    apply_to
        For "disagree": whose predictions are corrected on the rows that differ, those of `run` ("run") or of
        `clean` ("clean"); on all other rows those of `run` stand as they are.
    noise_from
        A run on the same rows and folds whose predictions tell how labels go wrong; `run` if not given. A
        `find` run will do: new photos are predicted without it.
    reading
        "given" applies P(given | true), "true" applies P(true | given).
    estimates
        What the model says whose predictions are corrected: "given" labels or the "true" class. If not given,
        the truth for trainings on curated labels, without flagged rows, or through a correcting loss, else
        given labels.
    anyway
        Apply the noise twice where that is what was asked for; the notes say so.
    output
        The run folder; ``RUN-correct`` beside the run if not given.

    Raises
    ------
    InputError
        Where the noise would count twice, or options do not go together; as `blend`.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = "".join(f"{n},{n % 2},{n % 3}\n" for n in range(60))
    >>> _ = (folder / "train.csv").write_text("id,label,fold\n" + rows)
    >>> np.save(folder / "oof.npy", np.tile(np.float32([[0.8, 0.2], [0.4, 0.6]]), (30, 1)))
    >>> run = find(folder / "train.csv", pred_probs=folder / "oof.npy", output=folder / "run").folder
    >>> correct(run, reading="true").predictor["matrix"]  # no label seems wrong
    [[1.0, 0.0], [0.0, 1.0]]
    """
    _check_options(rows, clean, apply_to, reading)
    named = [Path(run), *([] if clean is None else [Path(clean)])]
    noise_path = Path(noise_from or run).resolve()
    also = [] if noise_path in {path.resolve() for path in named} else [noise_path]
    opened = open_members([*named, *also])
    inputs, noise = opened[: len(named)], next(each for each in opened if each.path.resolve() == noise_path)
    estimated = estimates or what_it_estimates(inputs[APPLY_TO.index(apply_to)])
    if not anyway:
        _check_counted_once(estimated, reading)

    def make(labels: NDArray[np.int32], members: list[Probs], folds: Any) -> FittedCombination:
        corrected = correct_pred_probs(
            labels,
            members[0],
            folds,
            estimates=estimated,
            reading=reading,
            rows=rows,
            noise_from=noise.predictions.pred_probs,
            clean_pred_probs=members[1] if clean is not None else None,
            apply_to=apply_to,
            anyway=anyway,
        )
        names = inputs[0].table.class_names
        head = ("true class" if reading == "given" else "given label", *names)
        cells = [
            (name, *(f"{share:.3f}" for share in row))
            for name, row in zip(names, corrected.matrix, strict=True)
        ]
        what = "P(given label | true class)" if reading == "given" else "P(true class | given label)"
        told = f"the model is taken to estimate {ESTIMATED[estimated]}; {what} was applied to"
        return FittedCombination(
            pred_probs=corrected.pred_probs,
            predictor={"rows": rows, "reading": reading, "matrix": corrected.matrix.tolist(), **whose},
            tables={f"{what}, of all rows": [head, *cells]},
            notes=(
                f"{told} {corrected.rows.sum():,} of {len(labels):,} rows{replaced}",
                *([] if noise is inputs[0] else [f"label errors were estimated from {noise.name}"]),
                *(note for note in corrected.notes if note != FLAG_LEAK),
            ),
            leaks=(*(note for note in corrected.notes if note == FLAG_LEAK), *noise.leaks),
        )

    whose = {"apply_to": apply_to} if apply_to != "run" else {}
    replaced = f", with {inputs[1].name} there and {inputs[0].name} on the others" if whose else ""
    options = {"rows": rows, "reading": reading, "estimates": estimated, "anyway": anyway, **whose}
    if noise is not inputs[0]:
        digest = sha256_of_file(noise.path / "predictions" / ARRAY_FILE)
        options["noise_from"] = {"run": noise.name, "predictions_sha256": digest}
    return combine_runs(inputs, "correct", options, make, output=output)


def _check_options(rows: str, clean: Path | str | None, apply_to: str, reading: str) -> None:
    """Refuse options that do not go together, before any run is read."""
    choose("--reading", reading, READINGS)
    choose("--apply-to", apply_to, APPLY_TO)
    if (rows == "disagree") != (clean is not None):
        came = f"--rows {rows} {'without --clean' if clean is None else f'with --clean {clean}'}"
        remedy = "Add --clean RUN" if clean is None else "Say --rows disagree, or leave --clean out"
        raise InputError("--rows disagree and --clean RUN belong together.", came=came, remedy=f"{remedy}.")
    if apply_to == "clean" and clean is None:
        raise InputError(
            "--apply-to clean belongs to --rows disagree.",
            came=f"--rows {rows}",
            remedy="Add --rows disagree --clean RUN, or name the clean run itself as RUN.",
        )


def _check_counted_once(estimates: str, reading: str) -> None:
    """Refuse label errors applied to a model of given labels, or taken out of a model of the truth."""
    if estimates == reading:
        raise InputError(
            "The label errors would count a second time.",
            came=TWICE[reading],
            remedy="Choose the other --reading, correct a run of the other kind, or add --anyway.",
        )


def what_it_estimates(run: FinishedRun) -> str:
    """Whether a run's model says given labels or the truth, by how it was made.

    Raises
    ------
    InputError
        For a blend of both.
    """
    config = run.manifest["config"]
    if run.command == "train":
        curated = bool((run.table.labels != run.table.given_labels).any())
        answers: set[str] = {
            "true" if curated or each.get("leave_out") or each.get("loss") in CORRECTING_LOSSES else "given"
            for each in config["recipes"]
        }
    elif run.command in ("blend", "calibrate"):
        answers = {what_it_estimates(open_run(path)) for path in inputs_of(run.path, run.manifest)}
    else:
        answers = {config["reading"] if run.command == "correct" else "given"}
    if len(answers) != 1:
        raise InputError(
            "A run's model estimates given labels, or the truth.",
            came=f"a mixture of both in {run.path}",
            remedy="Say --estimates given or --estimates true.",
        )
    return answers.pop()


ESTIMATED: dict[str, str] = {"given": "given labels", "true": "the truth"}
