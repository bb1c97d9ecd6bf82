"""The label-error distribution applied to a run's predictions: `kiyome correct`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.finished_run import FinishedRun, open_run
from kiyome.ensemble import correct_pred_probs
from kiyome.ensemble.error_distribution import FLAG_LEAK
from kiyome.errors import InputError
from kiyome.recipes.combined import CombinedResult, Made, Probs, combine_runs, inputs_of, open_members

CORRECTING_LOSSES = ("forward_correction", "backward_correction")
"""Losses through which a model of the truth is trained on given labels."""


def correct(
    run: Path | str,
    *,
    rows: str = "all",
    clean: Path | str | None = None,
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
    reading
        "given" applies P(given | true), "true" applies P(true | given).
    estimates
        What the run's model says: "given" labels or the "true" class. If not given, the truth for trainings
        on curated labels, without flagged rows, or through a correcting loss, else given labels.
    anyway
        Apply the noise twice where that is what was asked for; the notes say so.
    output
        The run folder; ``RUN-correct`` beside the run if not given.

    Raises
    ------
    InputError
        Where the noise would count twice; as `blend`.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.recipes.find import find
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = "".join(f"{n},{n % 2},{n % 3}\n" for n in range(60))
    >>> _ = (folder / "train.csv").write_text("id,label,fold\n" + rows)
    >>> np.save(folder / "oof.npy", np.tile(np.float32([[0.8, 0.2], [0.4, 0.6]]), (30, 1)))
    >>> run = find(folder / "train.csv", pred_probs=folder / "oof.npy", output=folder / "run").folder
    >>> correct(run, reading="true").for_new["matrix"]  # no label seems wrong
    [[1.0, 0.0], [0.0, 1.0]]
    """
    opened = open_members([run] if clean is None else [run, clean])
    estimated = estimates or what_it_estimates(opened[0])

    def make(labels: NDArray[np.int32], members: list[Probs], folds: Any) -> Made:
        corrected = correct_pred_probs(
            labels,
            members[0],
            folds,
            estimates=estimated,
            reading=reading,
            rows=rows,
            clean_pred_probs=members[1] if clean is not None else None,
            anyway=anyway,
        )
        names = opened[0].table.class_names
        head = ("true class" if reading == "given" else "given label", *names)
        cells = [
            (name, *(f"{share:.3f}" for share in row))
            for name, row in zip(names, corrected.matrix, strict=True)
        ]
        what = "P(given label | true class)" if reading == "given" else "P(true class | given label)"
        told = f"the model is taken to estimate {ESTIMATED[estimated]}; {what} was applied to"
        return Made(
            pred_probs=corrected.pred_probs,
            for_new={"rows": rows, "reading": reading, "matrix": corrected.matrix.tolist()},
            tables={f"{what}, of all rows": [head, *cells]},
            notes=(
                f"{told} {corrected.rows.sum():,} of {len(labels):,} rows",
                *(note for note in corrected.notes if note != FLAG_LEAK),
            ),
            leaks=tuple(note for note in corrected.notes if note == FLAG_LEAK),
        )

    options = {"rows": rows, "reading": reading, "estimates": estimated, "anyway": anyway}
    return combine_runs(opened, "correct", options, make, output=output)


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
