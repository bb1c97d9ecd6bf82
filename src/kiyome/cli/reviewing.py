"""The verbs of the review: its page, and what people decided there."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kiyome.cli import render
from kiyome.cli.command import Group, Json, Raw, Store, command_output, line, visible

if TYPE_CHECKING:
    from kiyome.decisions.agreement import Rule
    from kiyome.workflows.review import OpenReview


def review(
    run: Annotated[Path, typer.Argument(help="The folder of a run of find, or of audit-sample.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Your name beside your decisions; the page asks if not given.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this machine come in by the token.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port; 8642, or a free one where that is taken.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="KIYOME_TOKEN",
            help="What visitors must know; made at random if not given. Other users of this machine see what "
            "stands on a command line, not what stands in the variable.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Let in every user and program of this machine; not with --host."),
    ] = False,
    blind: Annotated[
        bool, typer.Option("--blind", help="Show photos only, in random order: no label, guess or colleague.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="KIYOME_STORE",
            help="sqlite:///PATH or postgresql://USER@HOST/DB for the decisions; in the run if not given.",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Where the photos lie, if the run was moved or came from others.")
    ] = None,
    group: Group = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    """Correct labels in the browser, alone or with others; every decision is kept as it is made.

    Ctrl-C stops the server, and the same command goes on. Exit codes: 0 stopped, 2 it could not start.

    Examples:
      kiyome review runs/leaves
      kiyome review runs/leaves --as Ann --blind
      kiyome review runs/leaves-audit                       a sample for an audit: always blind
      kiyome review runs/leaves --host 0.0.0.0              for a team; the printed address lets others in
      kiyome review runs/leaves --store postgresql://kiyome@db/reviews
    """
    with command_output(as_json=False) as (_, _):
        from kiyome.workflows.review import review as serve

        def on_open(opened: "OpenReview") -> None:
            show_open(opened, name=name)
            if not no_browser and _has_screen():
                import webbrowser

                webbrowser.open(opened.private_way)

        serve(
            run,
            name=name,
            host=host,
            port=port,
            token=token,
            no_token=no_token,
            blind=blind,
            store=store,
            images=images,
            group=group,
            on_open=on_open,
        )
        line("Stopped. Every decision that was answered is kept.")


def show_open(opened: "OpenReview", *, name: str | None) -> None:
    """Where the page is, and where decisions go."""
    for note in opened.notes:
        print(f"note: {visible(note)}", file=sys.stderr)
    line(f"{opened.rows:,} rows{', blind' if opened.blind else ''}")
    line(f"Decisions  {opened.store}")
    line(f"Open       {opened.address}")
    if opened.blind and name:
        line(f"{f'Only {visible(name)}':<10} {opened.own_address}")
    line("Stop       Ctrl-C")
    sys.stdout.flush()  # whoever reads this through a pipe waits for the address


def _has_screen() -> bool:
    """Whether a browser would have a window: in a bare terminal it would take that over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def decisions(
    run: Annotated[Path, typer.Argument(help="The folder of a run that was reviewed, or of a sample.")],
    export: Annotated[
        Path | None, typer.Option(help="Write what stands: .csv, .parquet or .jsonl, or as --format says.")
    ] = None,
    format: Annotated[  # noqa: A002 - as every tool calls it
        str | None, typer.Option(help="Of the export: label_studio, cvat, fiftyone or corrected.")
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Add what a file says: such columns, Label Studio (JSON, CSV), CVAT (XML) or FiftyOne.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--as", help="The reviewer of an import; goes before names in the file.")
    ] = None,
    backup: Annotated[
        Path | None, typer.Option(help="Copy the store; a name that ends in .jsonl gets its events as lines.")
    ] = None,
    restore: Annotated[
        Path | None, typer.Option(help="Make the store anew from such lines, or from decisions.jsonl.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Take out events about photos or classes not in the table."),
    ] = False,
    rule: Annotated[
        str, typer.Option(help="When people agree on a row of an export: unanimous or majority.")
    ] = "unanimous",
    raw: Raw = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Say what people decided, how far they agree and where they do not; or take it to other tools and back.

    Examples:
      kiyome decisions runs/leaves
      kiyome decisions runs/leaves --export decisions.csv
      kiyome decisions runs/leaves --export tasks.json --format label_studio
      kiyome decisions runs/leaves --import annotations.xml --as cvat
      kiyome decisions runs/leaves --backup leaves.jsonl
      kiyome decisions runs/leaves --restore runs/leaves/review/decisions.jsonl
    """
    with command_output(as_json) as (emit, _):
        from kiyome.errors import InputError
        from kiyome.workflows import decisions as recipe

        if sum(each is not None for each in (export, import_, backup, restore, repair or None)) > 1:
            raise InputError(
                "One thing is done at a time: --export, --import, --backup, --restore or --repair.",
                came="several of them",
                remedy="Run one after the other.",
            )
        if export is not None:
            agreed = cast("Rule", rule)
            written = recipe.export_decisions(run, export, format=format, rule=agreed, raw=raw, store=store)
            emit(written.summary(), lambda: render.show_export_of_decisions(written))
        elif import_ is not None:
            taken = recipe.import_decisions(run, import_, name=name, store=store)
            emit(taken.summary(), lambda: render.show_import_of_decisions(taken, run))
        elif backup is not None:
            copy = recipe.backup_decisions(run, backup, store=store)
            emit({"file": str(copy)}, lambda: line(f"Backup    {copy}"))
        elif restore is not None:
            counts = recipe.restore_run_decisions(run, restore, store=store)
            told = f"{counts['events']:,} events restored, {counts['about_this_run']:,} about this run"
            emit(counts, lambda: line(told))
        elif repair:
            counts = recipe.repair_decisions(run, store=store)
            emit(counts, lambda: line(f"{counts['removed']:,} events removed; as it was: {counts['before']}"))
        else:
            result = recipe.show_decisions(run, store=store)
            emit(result.summary(), lambda: render.show_decisions(result))
