"""The verbs find, check, curate and demo: photos and their labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kiyome.cli import render
from kiyome.cli.command import (
    ClassMap,
    Data,
    ExecutorName,
    FollowLinks,
    GroupColumn,
    IdColumn,
    IgnoreSplits,
    Images,
    Json,
    LabelColumn,
    LabelFromName,
    MaxLeftOut,
    Output,
    Raw,
    Seed,
    SplitColumn,
    Store,
    TestImages,
    TestSet,
    WeightColumn,
    command_output,
)

if TYPE_CHECKING:
    from kiyome.decisions.agreement import Rule


def find(
    data: Data,
    images: Images = None,
    test: TestSet = None,
    test_images: TestImages = None,
    pred_probs: Annotated[
        Path | None,
        typer.Option(
            help="Your own out-of-fold predictions: CSV or Parquet with one column for each class, or .npy."
        ),
    ] = None,
    pred_scale: Annotated[
        str, typer.Option(help="What their numbers are: probabilities, percent or logits.")
    ] = "probabilities",
    features: Annotated[
        Path | None,
        typer.Option(
            help="Your own embeddings: .npy or .npz, one row for each row of the table. No photos needed."
        ),
    ] = None,
    with_runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="A finished run on the same rows, such as one of train: its predictions are blended in if"
            " they help on held-out rows. May be given several times.",
        ),
    ] = None,
    soft_labels: Annotated[
        Path | None,
        typer.Option(
            help="The folder of `curate --action soften`: its soft labels are what the heads are taught."
        ),
    ] = None,
    cross_fit: Annotated[
        str | None,
        typer.Option(
            help="Judge the labels of 'test' or 'val' also by heads cross-fitted on its own rows: where its"
            " photos differ from those of train."
        ),
    ] = None,
    output: Output = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="A timm name, 'lite0' (no torch; 'lite0@int8' in int8) or 'tiny' (no weights)."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the backbone, from this file instead of the hub.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="How rows are flagged: 'adaptive', or the name of one of cleanlab's filters.")
    ] = "adaptive",
    precision: Annotated[
        float | None,
        typer.Option(
            help="Flag as many rows as keep this precision, such as 0.9; by default 'adaptive' chooses."
        ),
    ] = None,
    num_folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            help="Make this many new folds, at least 3; by default the folds of the oldest run"
            " of this table beside the output, else 5 new ones.",
        ),
    ] = None,
    executor: ExecutorName = "here",
    seed: Seed = None,
    class_map: ClassMap = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    label_from_name: LabelFromName = None,
    group_column: GroupColumn = None,
    weight_column: WeightColumn = None,
    split_column: SplitColumn = None,
    ignore_splits: IgnoreSplits = False,
    follow_links: FollowLinks = False,
    top: Annotated[int, typer.Option(help="How many suspicious rows to print.")] = 10,
    as_json: Json = False,
) -> None:
    """Rank the labels that are probably wrong, and write a run folder with a report.

    Examples:
      kiyome find photos/                           one folder for each class
      kiyome find train.csv --images train_images   a Kaggle table
      kiyome find train.csv --pred-probs oof.csv    your own predictions, no photos
      kiyome find train.csv --features emb.npy      your own embeddings of photos, texts or sounds
      kiyome find photos/                           train/ and test/ with class folders: labels of both
      kiyome find train.csv --test test.csv         a test set, with labels or without
      kiyome find photos/ --cross-fit test          labels of test also judged from within
      kiyome find photos/ --with runs/train         a trained run beside it, where that helps
      kiyome find photos/ --soft-labels runs/soft   a classifier taught what `curate --action soften` wrote
      kiyome find photos/ --precision 0.9           fewer rows, nine in ten of them wrong
      kiyome find photos/ --executor processes      photos embedded by several processes, or by ray, slurm
      kiyome find photos/ --backbone vit_small_patch14_dinov2.lvd142m
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.find import find as find_labels

        result = find_labels(
            data,
            images=images,
            test=test,
            test_images=test_images,
            pred_probs=pred_probs,
            pred_scale=pred_scale,
            features=features,
            with_runs=with_runs or (),
            soft_labels=soft_labels,
            cross_fit=cross_fit,
            output=output,
            backbone=backbone,
            weights=weights,
            method=method,
            precision=precision,
            num_folds=num_folds,
            executor=executor,
            seed=seed,
            class_map=class_map,
            id_column=id_column,
            label_column=label_column,
            label_from_name=label_from_name,
            group_column=group_column,
            weight_column=weight_column,
            split_column=split_column,
            ignore_splits=ignore_splits,
            follow_links=follow_links,
            on_progress=on_progress,
        )
        emit(result.summary(), lambda: render.show_find(result, top))


def check(
    data: Data,
    images: Images = None,
    test: TestSet = None,
    test_images: TestImages = None,
    output: Output = None,
    class_map: ClassMap = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    label_from_name: LabelFromName = None,
    group_column: GroupColumn = None,
    split_column: SplitColumn = None,
    ignore_splits: IgnoreSplits = False,
    follow_links: FollowLinks = False,
    as_json: Json = False,
) -> None:
    """Read every photo; list unreadable and unusual ones, duplicates, and copies that lie in two splits.

    Examples:
      kiyome check photos/
      kiyome check train.csv --images train_images --json
      kiyome check train.csv --test test.csv
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.check import check as check_photos

        result = check_photos(
            data,
            images=images,
            test=test,
            test_images=test_images,
            output=output,
            class_map=class_map,
            id_column=id_column,
            label_column=label_column,
            label_from_name=label_from_name,
            group_column=group_column,
            split_column=split_column,
            ignore_splits=ignore_splits,
            follow_links=follow_links,
            on_progress=on_progress,
        )
        emit(result.summary(), lambda: render.show_check(result))


def curate(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `kiyome find`.")],
    action: Annotated[
        str | None,
        typer.Option(
            help="Action on flagged rows: drop, relabel, weight, soften or keep; by default drop, or keep if"
            " people decided."
        ),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="Decisions of people: a file with image_id, decision and label; by default the run's review."
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(help="When a decision counts: unanimous, or majority, where a third person decides."),
    ] = "unanimous",
    store: Store = None,
    min_chance: Annotated[
        float, typer.Option(help="Act only on labels that are wrong with at least this probability.")
    ] = 0.0,
    max_left_out: MaxLeftOut = 0.5,
    unleak: Annotated[
        str | None,
        typer.Option(
            help="Drop copies that lie in two splits (leaks.csv) from this one: train, or test or val, which"
            " then leave the table, or worse: the smaller photo, else that without EXIF, else that with the"
            " less likely label. Flagged rows are kept unless --action says otherwise."
        ),
    ] = None,
    min_similarity: Annotated[
        float, typer.Option(help="With --unleak, drop only copies that are at least so similar.")
    ] = 0.0,
    raw: Raw = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Make the next version of a table from what was flagged and what people decided.

    A dropped row stays in the table: it is not used in training, but still predicted and scored. The new
    labels are in corrected_labels.csv, every change in changes.csv.

    Examples:
      kiyome curate runs/leaves                          decisions of kiyome review; without any, flagged
                                                         rows are no longer used in training
      kiyome curate runs/leaves --action relabel --min-chance 0.9
      kiyome curate runs/leaves --decisions decisions.csv
      kiyome curate runs/leaves --unleak train           train on no photo that lies in the test set, too
      kiyome train runs/leaves-drop/table.parquet --images photos
    """
    with command_output(as_json) as (emit, _):
        from kiyome.cli.render import show_people
        from kiyome.workflows.curate import curate as curate_run

        result = curate_run(
            run,
            action=action,
            decisions=decisions,
            store=store,
            rule=cast("Rule", rule),
            min_chance=min_chance,
            max_left_out=max_left_out,
            unleak=unleak,
            min_similarity=min_similarity,
            raw=raw,
            output=output,
        )

        def show() -> None:
            render.show_curate(result)
            show_people(result.people, run)

        emit(result.summary(), show)


def demo(output: Output = None, as_json: Json = False) -> None:
    """Find doubtful labels among 2,624 photographs of solar cells, and compare with the doubt of experts.

    Experts graded each cell 0, 1/3, 2/3 or 1. kiyome sees only two classes (defective from 2/3 up). The
    doubtful grades 1/3 and 2/3 should be far more frequent among the rows that it flags.

    The photographs come with the package elpv-dataset, license CC BY-NC-SA 4.0.

    Examples:
      kiyome demo
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.demo import demo as run_demo

        result = run_demo(output=output, on_progress=on_progress)
        emit(result.summary(), lambda: render.show_demo(result))
