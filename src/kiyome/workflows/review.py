"""Serve the review page of a run, and store the decisions that people make there.

run ── items ───┐
store ── events ┴─ session ── app ── guard ── server ── browser
"""

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kiyome.artifacts.manifest import refuse_photos_from_elsewhere
from kiyome.artifacts.run import review_folder
from kiyome.artifacts.storage import private_folder
from kiyome.decisions.consensus import open_store
from kiyome.decisions.events import reviewer_name
from kiyome.decisions.items import read_items
from kiyome.errors import InputError, MissingExtra
from kiyome.reviewing.outlook import DEFAULT_SHARE
from kiyome.reviewing.server import LOOPBACK, Endpoint, is_loopback, open_endpoint, private_link, serve

if TYPE_CHECKING:
    from kiyome.reviewing.session import ReviewSession


@dataclass(frozen=True, kw_only=True)
class OpenReview:
    """The addresses of a review that is about to be served."""

    address: str
    """For a browser, with the token."""
    own_address: str
    """The same for the person who started the server: in a blind review it also gives the suggested name."""
    private_link: str
    """A file that redirects there, for its owner alone: other users see tokens on command lines."""
    rows: int
    blind: bool
    measure: float
    """Share of the looks that go to random rows."""
    store: str
    """URL of the store of decisions, without a password."""
    token: str | None
    notes: tuple[str, ...]
    """Messages for the person who runs the server."""

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON can hold it."""
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
    measure: float = DEFAULT_SHARE,
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
        The reviewer that the page suggests; the user of this machine if not given, on loopback.
    host, port, token, no_token
        As for `kiyome.reviewing.server.open_endpoint`.
    blind
        Hide labels, predictions and other people's decisions; random order. A sample is always blind.
    measure
        The share of the looks, in the orders by suspicion, gain and pair, that go to rows drawn at random;
        half of them do once few wrong labels are expected to be left. The intervals of the noise rate and of
        the wrong labels left rest on these. 0 draws none; a blind review has no use of it, as its order is
        random.
    store
        ``sqlite:///path`` or ``postgresql://user@host/db``; ``RUN/review/decisions.sqlite`` if not given.
    images
        The folder of the photos, if it is not where the run found them; a run by another user may not name
        folders that are neither beside it nor below the current one.
    group
        A group of this machine that shares the folder of the review from now on: its members may read and
        decide. Without one, only its owner may.
    on_open
        Called once, when the server can be reached.

    Raises
    ------
    InputError
        When the run cannot be reviewed, or the server cannot listen there.
    StaleArtifact
        When a file of the run changed.
    StoreUnavailable
        When the store cannot be read or written.
    MissingExtra
        Without FastAPI, uvicorn or SQLAlchemy.
    """
    try:
        from kiyome.reviewing.app import make_app
        from kiyome.reviewing.session import open_session
    except ImportError as error:
        raise MissingExtra("The review page", extra="review") from error
    if images is None:
        refuse_photos_from_elsewhere(run)
    if not 0 <= measure <= 1:
        raise InputError(
            f"measure={measure} is no share.",
            expected="Expected a number from 0 to 1.",
            remedy="Use 0.1 for one look in ten, 0 for none.",
        )
    items = read_items(run, blind=blind, images=images)
    folder = private_folder(review_folder(run), group=group)
    suggested = reviewer_name(name) if name else (_user() if is_loopback(host) else name)
    with (
        open_store(run, items, store) as decisions,
        open_session(items, decisions, folder=folder, name=suggested, measure=measure) as session,
    ):
        endpoint = open_endpoint(host, port, token, no_token=no_token)
        own = _with_word(endpoint.address, session) if items.blind and suggested else endpoint.address
        with private_link(folder / f"open-{endpoint.port}.html", own) as way:
            opened = OpenReview(
                address=endpoint.address,
                own_address=own,
                private_link=way,
                rows=len(items),
                blind=items.blind,
                measure=0.0 if items.blind else measure,
                store=decisions.url,
                token=endpoint.token,
                notes=(*session.warnings, *_notes(endpoint)),
            )
            if on_open is not None:
                on_open(opened)
            serve(make_app(session), endpoint, csrf=session.csrf, cookie_key=session.secret.visitors)


def _with_word(address: str, session: "ReviewSession") -> str:
    return f"{address}{'&' if '?' in address else '?'}word={session.secret.word(session.name or '')}"


def _notes(endpoint: Endpoint) -> list[str]:
    moved = f"another program has the usual port; this review is on port {endpoint.port}"
    return [moved] if endpoint.port_was_taken else []


def _user() -> str | None:
    """Return the name of the user, where the system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None
