"""The verbs of the audit: rows for people to check, and what their answers say of all rows."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kiyome.cli.answers import answering, line
from kiyome.cli.options import Group, Images, Json, Run, Store

if TYPE_CHECKING:
    from kiyome.reviewing.agreement import Rule


def audit_sample(
    run: Run,
    rows: Annotated[
        int | None,
        typer.Option("-n", "--rows", help="How many rows people check; 200, or all of fewer, if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the draw.")] = 0,
    images: Images = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder; RUN-audit if not given.")
    ] = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Draw rows for people to check, so that the true accuracy of all rows follows without any assumption.

    Examples:
      kiyome audit-sample runs/leaves            200 rows; says how many are needed for 1, 2 and 3 points
      kiyome audit-sample runs/leaves -n 500
    """
    with answering(as_json) as (say, _):
        from kiyome.artifacts.audit_folder import AUDIT_FILE
        from kiyome.recipes.audit_sample import audit_sample as draw

        sample = draw(run, n=rows, seed=seed, images=images, output=output, group=group)

        def in_words() -> None:
            expected = 100 * sample.design.expected_half_width()
            drawn = len(sample.design.rows)
            line(f"{drawn:,} of {len(sample.labels):,} rows drawn; expect to know the true accuracy to about")
            line(f"+-{expected:.1f} points, 95 times in 100. As far as can be told before anyone looks,")
            for half, needed in sample.rows_needed.items():
                line(f"  +-{100 * half:.0f} points need {needed:>8,} rows")
            line()
            line(f"Fill      {sample.folder / AUDIT_FILE} (see how_to.txt beside it)")
            line(f"Or        kiyome review {sample.folder}, blind in the browser")
            line(f"Then      kiyome audit {sample.folder}")

        say(sample.summary(), in_words)


def audit(
    answers: Annotated[Path, typer.Argument(help="The filled audit.csv, or the folder of the sample.")],
    sample: Annotated[
        Path | None,
        typer.Option(help="The folder that kiyome audit-sample wrote; the file's own if not given."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="Another run on the same rows, to judge it too; may be said several times."),
    ] = None,
    rule: Annotated[
        str, typer.Option(help="When reviewers agree: unanimous, or majority, so that a third settles it.")
    ] = "unanimous",
    disputed_unsure: Annotated[
        bool, typer.Option("--disputed-unsure", help="Count rows that reviewers dispute as unsure.")
    ] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Say what a checked sample tells of all rows: true accuracy, wrong labels, and the noise by class.

    Examples:
      kiyome audit runs/leaves-audit/audit.csv
      kiyome audit runs/leaves-audit                     answered in kiyome review runs/leaves-audit
      kiyome audit filled.csv --sample runs/leaves-audit
      kiyome audit runs/leaves-audit --run runs/vit      how good another run is in truth, by the same rows
    """
    with answering(as_json) as (say, _):
        from kiyome.recipes.audit import audit as judge
        from kiyome.recipes.audited import judge_others

        result = judge(
            answers, sample=sample, store=store, rule=cast("Rule", rule), disputed_unsure=disputed_unsure
        )
        others = judge_others(result.folder, run or ())

        def in_words() -> None:
            for sentence in result.in_words():
                line(sentence)
            for name, found in others.items():
                line(f"By the same rows, {name} is right on {found.as_percent()}.")
            line()
            line(f"Look at   {result.folder / 'report.html'}")
            line(f"Numbers   {result.folder / 'audit.json'}, the noise by class too")

        say({**result.summary(), "others": {name: asdict(each) for name, each in others.items()}}, in_words)
