"""The verb of the review page."""

import os
import sys
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kiyome.cli.command import Group, Store, command_output, line, print_notes, visible
from kiyome.errors import InputError

if TYPE_CHECKING:
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
            "is on a command line, not what is in the variable.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Let in every user and program of this machine; not with --host."),
    ] = False,
    blind: Annotated[
        bool,
        typer.Option("--blind", help="Show photos only, in random order: no label or prediction."),
    ] = False,
    measure: Annotated[
        str,
        typer.Option(
            help="Share of the looks that go to photos drawn at random: noise rate and labels left are "
            "estimated from these. 0% draws none."
        ),
    ] = "10%",
    store: Store = None,
    images: Annotated[
        Path | None, typer.Option(help="The folder of the photos, if the run was moved or made by others.")
    ] = None,
    group: Group = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    """Correct labels in the browser, alone or with others; every decision is stored as it is made.

    Ctrl-C stops the server, and the same command goes on. Exit codes: 0 stopped, 2 it could not start.

    Examples:
      kiyome review runs/leaves
      kiyome review runs/leaves --as Ann --blind
      kiyome review runs/leaves --measure 25%               more photos at random: narrower intervals
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

                webbrowser.open(opened.private_link)

        serve(
            run,
            name=name,
            host=host,
            port=port,
            token=token,
            no_token=no_token,
            blind=blind,
            measure=share_of(measure),
            store=store,
            images=images,
            group=group,
            on_open=on_open,
        )
        line("Stopped. Every confirmed decision is stored.")


def show_open(opened: "OpenReview", *, name: str | None) -> None:
    """Print the addresses of the page, and the store of decisions."""
    print_notes(opened.notes, file=sys.stderr)
    line(f"{opened.rows:,} rows{', blind' if opened.blind else ''}")
    if opened.measure:
        line(f"Measured   {opened.measure:.0%} of the looks go to photos drawn at random (--measure)")
    line(f"Decisions  {opened.store}")
    line(f"Open       {opened.address}")
    if opened.blind and name:
        line(f"{f'Only {visible(name)}':<10} {opened.own_address}")
    line("Stop       Ctrl-C")
    sys.stdout.flush()  # a reader of a pipe waits for the address


def share_of(text: str) -> float:
    """Return the share that a text such as "10%" or "0.1" states.

    >>> share_of("10%"), share_of("2.5 %"), share_of("0.1")
    (0.1, 0.025, 0.1)
    """
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = nan
    if rest or not 0 <= share <= 1:
        raise InputError(
            f"--measure {visible(text)} is no share.",
            expected="Expected 0% to 100%.",
            remedy="Use --measure 10% for one look in ten, --measure 0% for none.",
        )
    return share


def _has_screen() -> bool:
    """Return whether a browser would have a window; without one it would take over the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
