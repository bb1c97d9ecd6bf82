"""The verbs that combine or correct runs: blend, stack, calibrate, correct."""

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
    """Blend several runs' predictions, and compare the blend with the best of them.

    Examples:
      kiyome blend runs/effnet runs/resnext runs/vit
      kiyome blend runs/effnet runs/vit --how weights      each fold weighted by the other folds
      kiyome predict runs/effnet-blend test_images         predicts new photos with it
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.blend import blend as blend_runs

        result = blend_runs(runs, how=how, output=output)
        emit(result.summary(), lambda: render.show_combined(result))


def stack(
    runs: Runs,
    model: Annotated[str, typer.Option(help="linear, or lightgbm (needs the extra stack).")] = "linear",
    is_noisy: Annotated[
        bool,
        typer.Option("--is-noisy", help="Add the cross-fitted probability that a row is flagged."),
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Fit an estimator on runs' out-of-fold predictions; each fold is predicted by one that never saw it.

    Examples:
      kiyome stack runs/effnet runs/vit
      kiyome stack runs/effnet runs/vit --model lightgbm --is-noisy
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.blend import stack as stack_runs

        result = stack_runs(runs, model=model, is_noisy=is_noisy, output=output, on_progress=on_progress)
        emit(result.summary(), lambda: render.show_combined(result))


def calibrate(run: Run, output: Output = None, as_json: Json = False) -> None:
    """Calibrate a run's predictions by a temperature, and draw their reliability.

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
        Path | None, typer.Option(help="A run trained without flagged rows, for --rows disagree.")
    ] = None,
    apply_to: Annotated[
        str,
        typer.Option(
            help="With --rows disagree, what is corrected: run, the predictions of RUN; or clean, those of"
            " --clean, while those of RUN stay on all other rows."
        ),
    ] = "run",
    noise_from: Annotated[
        Path | None,
        typer.Option(help="The run that label errors are estimated from; RUN itself if not given."),
    ] = None,
    direction: Annotated[
        str, typer.Option(help="given: apply P(given | true). true: apply P(true | given).")
    ] = "given",
    estimates: Annotated[
        str | None,
        typer.Option(help="What the model estimates: given or true; known for runs of kiyome train."),
    ] = None,
    allow_double_noise: Annotated[
        bool,
        typer.Option("--allow-double-noise", help="Apply a matrix that counts the noise twice."),
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Apply the distribution of label errors to a run's predictions, on all rows or where they look noisy.

    Examples:
      kiyome correct runs/leaves-clean                          from true classes to given labels
      kiyome correct runs/leaves-train --direction true           from given labels to true classes
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
            direction=direction,
            estimates=estimates,
            allow_double_noise=allow_double_noise,
            output=output,
        )
        emit(result.summary(), lambda: render.show_combined(result))
