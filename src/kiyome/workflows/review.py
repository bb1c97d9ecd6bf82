"""Open the review page of a run, and keep what people decide there.

run ── subject ─┐
store ── events ┴─ desk ── app ── guard ── server ── browser
"""

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kiyome.artifacts.manifest import refuse_photos_from_elsewhere
from kiyome.artifacts.run import review_folder
from kiyome.artifacts.storage import private_folder
from kiyome.decisions.events import reviewer_name
from kiyome.decisions.items import read_subject
from kiyome.errors import MissingExtra
from kiyome.reviewing.server import LOOPBACK, Place, is_loopback, private_way, serve, take_place
from kiyome.workflows.consensus import opened_store

if TYPE_CHECKING:
    from kiyome.reviewing.session import Desk


@dataclass(frozen=True, kw_only=True)
class OpenReview:
    """A review that is about to be served."""

    address: str
    """What a browser opens, with the token."""
    own_address: str
    """The same for whoever started the server: in a blind review it gives the suggested name, too."""
    private_way: str
    """A file that leads there, for its owner alone: a command line would show the token to other users."""
    rows: int
    blind: bool
    store: str
    """Where decisions are kept, without a password."""
    token: str | None
    notes: tuple[str, ...]
    """What whoever runs the server should know."""

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {**vars(self), "notes": list(self.notes)}


def review(
    run: Path | str,
    *,
    name: str | None = None,
    host: str = LOOPBACK,
    port: int | None = None,
    token: str | None = None,
    no_token: bool = False,
    blind: bool = False,
    store: str | None = None,
    images: Path | str | None = None,
    group: str | None = None,
    on_open: Callable[[OpenReview], None] | None = None,
) -> None:
    """Serve the review page of a run until Ctrl-C.

    Parameters
    ----------
    run
        The folder of a finished run of find, or one that audit-sample wrote.
    name
        Whom the page suggests as the reviewer; the user of this machine if not given, on loopback.
    host, port, token, no_token
        As for `kiyome.reviewing.server.take_place`.
    blind
        Withhold labels, guesses and what others decided, in random order. A sample is always blind.
    store
        ``sqlite:///path`` or ``postgresql://user@host/db``; ``RUN/review/decisions.sqlite`` if not given.
    images
        Where the photos of the run lie, if not where it found them; a run that this user did not make is
        not believed about folders that are neither beside it nor below the current one.
    group
        A group of this machine that shares the folder of the review from now on: its members may read and
        decide. Without one, the folder is its owner's alone.
    on_open
        Called once, when the server can be reached.

    Raises
    ------
    InputError
        When the run is no run to review, or the server cannot listen there.
    StaleArtifact
        When a file of the run changed.
    StoreUnavailable
        When the store cannot be read or written.
    MissingExtra
        Without FastAPI, uvicorn or SQLAlchemy.
    """
    try:
        from kiyome.reviewing.app import make_app
        from kiyome.reviewing.session import open_desk
    except ImportError as error:
        raise MissingExtra("The review page", extra="review") from error
    if images is None:
        refuse_photos_from_elsewhere(run)
    subject = read_subject(run, blind=blind, images=images)
    folder = private_folder(review_folder(run), group=group)
    asked = reviewer_name(name) if name else (_user() if is_loopback(host) else name)
    with (
        opened_store(run, subject, store) as decisions,
        open_desk(subject, decisions, folder=folder, name=asked) as desk,
    ):
        place = take_place(host, port, token, no_token=no_token)
        own = _with_word(place.address, desk) if subject.blind and asked else place.address
        with private_way(folder / f"open-{place.port}.html", own) as way:
            opened = OpenReview(
                address=place.address,
                own_address=own,
                private_way=way,
                rows=len(subject),
                blind=subject.blind,
                store=decisions.url,
                token=place.token,
                notes=(*desk.warnings, *_notes(place)),
            )
            if on_open is not None:
                on_open(opened)
            serve(make_app(desk), place, csrf=desk.csrf, cookie_key=desk.secret.visitors)


def _with_word(address: str, desk: "Desk") -> str:
    return f"{address}{'&' if '?' in address else '?'}word={desk.secret.word(desk.name or '')}"


def _notes(place: Place) -> list[str]:
    taken = f"another program has the usual port; this review is on port {place.port}"
    return [taken] if place.port_was_taken else []


def _user() -> str | None:
    """Who is logged in here, where the system tells."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None
