"""The verbs below `kiyome decisions`: what people decided about a run, as a report and as files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from kiyome.cli import render
from kiyome.cli.command import Json, Raw, Store, command_output, line
from kiyome.errors import InputError

if TYPE_CHECKING:
    from kiyome.decisions.agreement import Rule

ReviewedRun = Annotated[Path, typer.Argument(help="The folder of a run that was reviewed, or of a sample.")]


class DecisionsGroup(TyperGroup):
    """The group of these commands; a call without a command gets an error that names one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first word names."""
        if args[0] not in self.commands:
            with command_output(as_json=False):
                raise InputError(
                    f"{args[0]!r} is not a command of kiyome decisions.",
                    expected=f"Expected one of {', '.join(self.commands)}.",
                    remedy=f"Run: kiyome decisions {_with_command(args, list(self.commands))}",
                )
        return super().resolve_command(ctx, args)


def _with_command(words: list[str], commands: list[str]) -> str:
    """Return the words of a call in the form before there were commands, in today's form.

    >>> _with_command(["runs/a", "--export", "out.csv", "--raw"], ["show", "export"])
    'export runs/a out.csv --raw'
    >>> _with_command(["runs/a", "--json"], ["show", "export"])
    'show runs/a --json'
    """
    for name in commands:
        if (flag := f"--{name}") in words:
            run, *rest = (word for word in words if word != flag)
            return " ".join([name, run, *rest])
    return " ".join(["show", *words])


def show(run: ReviewedRun, store: Store = None, as_json: Json = False) -> None:
    """Show the current decisions about a run: counts by person, agreement, and disputed rows.

    Examples:
      kiyome decisions show runs/leaves
      kiyome decisions show runs/leaves --json
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.decisions import show_decisions

        result = show_decisions(run, store=store)
        emit(result.summary(), lambda: render.show_decisions(result))


def export(
    run: ReviewedRun,
    file: Annotated[Path, typer.Argument(help="Ends in .csv, .parquet or .jsonl, or as --format wants it.")],
    format: Annotated[  # noqa: A002 - as every tool calls it
        str | None, typer.Option(help="label_studio, cvat, fiftyone or corrected; by the ending if absent.")
    ] = None,
    rule: Annotated[
        str, typer.Option(help="When people agree on a row, for one label a photo: unanimous or majority.")
    ] = "unanimous",
    raw: Raw = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write the current decisions about a run to a file, for spreadsheets, programs or other tools.

    Examples:
      kiyome decisions export runs/leaves decisions.csv
      kiyome decisions export runs/leaves tasks.json --format label_studio
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.decisions import export_decisions

        agreed = cast("Rule", rule)
        result = export_decisions(run, file, format=format, rule=agreed, raw=raw, store=store)
        emit(result.summary(), lambda: render.show_export_of_decisions(result))


def import_(
    run: ReviewedRun,
    file: Annotated[
        Path,
        typer.Argument(help="An export of kiyome, Label Studio (JSON, CSV), CVAT (XML) or FiftyOne (JSON)."),
    ],
    name: Annotated[
        str | None, typer.Option("--as", help="The reviewer; put before the names where the file has some.")
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Add the decisions in a file of another tool to those about a run; the same file again adds nothing.

    Examples:
      kiyome decisions import runs/leaves annotations.xml --as cvat
      kiyome decisions import runs/leaves decisions.csv
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.decisions import import_decisions

        result = import_decisions(run, file, name=name, store=store)
        emit(result.summary(), lambda: render.show_import_of_decisions(result, run))


def backup(
    run: ReviewedRun,
    file: Annotated[Path, typer.Argument(help="A new file; .jsonl gets the events as lines.")],
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Copy the store of a run's decisions, while others go on deciding.

    Examples:
      kiyome decisions backup runs/leaves leaves.sqlite
      kiyome decisions backup runs/leaves leaves.jsonl
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.decisions import backup_decisions

        copy = backup_decisions(run, file, store=store)
        emit({"file": str(copy)}, lambda: line(f"Backup    {copy}"))


def restore(
    run: ReviewedRun,
    journal: Annotated[
        Path, typer.Argument(help="Lines of a backup, or the review/decisions.jsonl of a run.")
    ],
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Fill a new store of a run's decisions from a journal.

    Examples:
      kiyome decisions restore runs/leaves leaves.jsonl
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.decisions import restore_decisions

        counts = restore_decisions(run, journal, store=store)
        text = f"{counts['events']:,} events restored, {counts['about_this_run']:,} about this run"
        emit(counts, lambda: line(text))


def repair(run: ReviewedRun, store: Store = None, as_json: Json = False) -> None:
    """Rebuild the store without events about photos or classes that are not in the table; keep the old one.

    Examples:
      kiyome decisions repair runs/leaves
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.decisions import repair_decisions

        counts = repair_decisions(run, store=store)
        emit(counts, lambda: line(f"{counts['removed']:,} events removed; old store: {counts['before']}"))
