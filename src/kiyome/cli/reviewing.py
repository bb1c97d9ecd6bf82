"""The verb of the review page."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kiyome.cli.answers import answering, line, visible

if TYPE_CHECKING:
    from kiyome.recipes.review import OpenReview


def review(
    run: Annotated[Path, typer.Argument(help="The folder of a run of find, or of audit-sample.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Your name beside your decisions; the page asks if not given.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Others than this machine need a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port; 8642, or a free one where that is taken.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="KIYOME_TOKEN",
            help="What visitors must know; made at random where --host needs one and none is given.",
        ),
    ] = None,
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
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    """Correct labels in the browser, alone or with others; every decision is kept as it is made.

    Ctrl-C stops the server, and the same command goes on. Exit codes: 0 stopped, 2 it could not start.

    Examples:
      kiyome review runs/leaves
      kiyome review runs/leaves --as Ann --blind
      kiyome review runs/leaves-audit                       a sample for an audit: always blind
      kiyome review runs/leaves --host 0.0.0.0              for a team; prints an address with a token
      kiyome review runs/leaves --store postgresql://kiyome@db/reviews
    """
    with answering(as_json=False) as (_, _):
        from kiyome.recipes.review import review as serve

        def on_open(opened: "OpenReview") -> None:
            show_open(opened)
            if not no_browser and opened.token is None and _has_screen():
                import webbrowser

                webbrowser.open(opened.address)

        serve(
            run,
            name=name,
            host=host,
            port=port,
            token=token,
            blind=blind,
            store=store,
            on_open=on_open,
        )
        line("Stopped. Every decision that was answered is kept.")


def show_open(opened: "OpenReview") -> None:
    """Where the page is, and where decisions go."""
    for note in opened.notes:
        print(f"note: {visible(note)}", file=sys.stderr)
    line(f"{opened.rows:,} rows{', blind' if opened.blind else ''}")
    line(f"Decisions  {opened.store}")
    line(f"Open       {opened.address}")
    line("Stop       Ctrl-C")
    sys.stdout.flush()  # whoever reads this through a pipe waits for the address


def _has_screen() -> bool:
    """Whether a browser would have a window: in a bare terminal it would take that over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
