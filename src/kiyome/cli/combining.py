"""The verbs that make one run of others: blend, stack, calibrate, correct."""

from pathlib import Path
from typing import Annotated

import typer

from kiyome.cli import render
from kiyome.cli.command import Json, Run, Runs, command_output

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder; beside the first run if not given.")
]


def blend(
    runs: Runs,
    how: Annotated[
        str, typer.Option(help="mean, log (geometric), rank, or weights fitted to the given labels.")
    ] = "mean",
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Make one of several runs' predictions, and say whether it beats the best of them by more than luck.

    Examples:
      kiyome blend runs/effnet runs/resnext runs/vit
      kiyome blend runs/effnet runs/vit --how weights      each fold weighted by what the others say
      kiyome predict runs/effnet-blend test_images         then goes on with new photos
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.blend import blend as blend_runs

        result = blend_runs(runs, how=how, output=output)
        emit(result.summary(), lambda: render.show_combined(result))


def stack(
    runs: Runs,
    model: Annotated[str, typer.Option(help="linear, or lightgbm (needs the extra stack).")] = "linear",
    is_noisy: Annotated[
        bool, typer.Option("--is-noisy", help="Add the chance of a flag, predicted without the row's label.")
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Fit an estimator on runs' out-of-fold predictions; each fold is scored by one that never saw it.

    Examples:
      kiyome stack runs/effnet runs/vit
      kiyome stack runs/effnet runs/vit --model lightgbm --is-noisy
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.blend import stack as stack_runs

        result = stack_runs(runs, model=model, is_noisy=is_noisy, output=output, on_progress=on_progress)
        emit(result.summary(), lambda: render.show_combined(result))


def calibrate(run: Run, output: Output = None, as_json: Json = False) -> None:
    """Bring a run's predictions to the temperature that its labels ask for, and draw their reliability.

    Examples:
      kiyome calibrate runs/leaves-train
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.blend import calibrate as calibrate_run

        result = calibrate_run(run, output=output)
        emit(result.summary(), lambda: render.show_combined(result))


def correct(
    run: Run,
    rows: Annotated[
        str, typer.Option(help="all; flagged, by their own labels (leaks); or disagree, with --clean.")
    ] = "all",
    clean: Annotated[
        Path | None, typer.Option(help="A run that was trained without flagged rows, for --rows disagree.")
    ] = None,
    apply_to: Annotated[
        str,
        typer.Option(
            help="With --rows disagree, what is corrected: run, the predictions of RUN; or clean, those of"
            " --clean, while those of RUN stand on all other rows."
        ),
    ] = "run",
    noise_from: Annotated[
        Path | None,
        typer.Option(help="The run whose predictions tell how labels go wrong; RUN itself if not given."),
    ] = None,
    reading: Annotated[
        str, typer.Option(help="given: apply P(given | true). true: apply P(true | given).")
    ] = "given",
    estimates: Annotated[
        str | None,
        typer.Option(help="What the model says, given labels or the true class; known of our own trainings."),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Apply the noise twice, where that is what was asked for.")
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Apply the distribution of label errors to a run's predictions, to all rows or where they look noisy.

    Examples:
      kiyome correct runs/leaves-clean                          a model of the truth, scored on given labels
      kiyome correct runs/leaves-train --reading true           a model of given labels, asked for the truth
      kiyome correct runs/leaves-clean --noise-from runs/leaves-train
      kiyome correct runs/leaves-train --rows disagree --clean runs/leaves-clean --apply-to clean
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.correct import correct as correct_run

        result = correct_run(
            run,
            rows=rows,
            clean=clean,
            apply_to=apply_to,
            noise_from=noise_from,
            reading=reading,
            estimates=estimates,
            anyway=anyway,
            output=output,
        )
        emit(result.summary(), lambda: render.show_combined(result))
