"""A review of hostile names and files, and a way to ask its app anything at all."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kiyome.decisions.items import ReviewItems

CSRF, HOST = "csrf-" + "c" * 32, "127.0.0.1:8642"
OWN = ("host", HOST), ("sec-fetch-site", "same-origin")
CLASSES = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "=HYPERLINK(1)",
    "\u202etac",
    "健康",
)
HTML, SVG = (
    b"<html><script>alert(3)</script></html>",
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(4)"/>',
)
POLYGLOT = b"GIF89a/*\x01\x00\x01\x00\x80*/=1;alert(5)//" + b"\x00" * 64
SECRET = b"root:x:0:0: a file outside of the photos"


@dataclass(frozen=True)
class Answer:
    """What an app said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asker:
    """Asks apps; with what its answers should not hold, and what our page sends."""

    csrf, own, classes, secret = CSRF, OWN, CLASSES, SECRET
    verbatim = (HTML, SVG, POLYGLOT, SECRET)

    def __call__(self, app: Any, method: str, path: str, **rest: Any) -> Answer:
        return asked(app, method, path, **rest)

    def get(self, app: Any, path: str, query: str = "") -> Any:
        """What a route says, as JSON."""
        return asked(app, "GET", path, query=query).json

    def post(self, app: Any, path: str, send: Any) -> Answer:
        """What becomes of what our page sends."""
        return asked(app, "POST", path, send=send)

    def browser(self, app: Any) -> "Browser":
        """Somebody who opened the page of an app, with a jar of cookies of their own."""
        return Browser(app)

    def opened(self, items: ReviewItems, folder: Path) -> Any:
        """An open review in a folder, for as long as the block runs."""
        return contextmanager(opened)(items, folder)

    def guarded(self, session: Any, **rules: Any) -> Any:
        """The app of a desk behind its guard."""
        return guarded(session, **rules)


class Browser:
    """Has opened the page of an app, and keeps the cookies that it sets."""

    def __init__(self, app: Any) -> None:
        self.app, self.cookies = app, dict[str, str]()
        self("GET", "/")

    def __call__(self, method: str, path: str, **rest: Any) -> Answer:
        kept = ("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        answer = asked(self.app, method, path, headers=[*OWN, kept], **rest)
        if given := answer.headers.get("set-cookie"):
            name, _, value = given.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def get(self, path: str, query: str = "") -> Any:
        """What a route says, as JSON."""
        return self("GET", path, query=query).json

    def post(self, path: str, send: Any) -> Answer:
        """What becomes of what our page sends."""
        return self("POST", path, send=send)


@pytest.fixture(scope="session")
def ask() -> Asker:
    """Requests to an app in this process."""
    return Asker()


def asked(
    app: Any,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Sequence[tuple[str, str]] = OWN,
    body: bytes | None = None,
    send: Any = None,
) -> Answer:
    """One request, byte for byte as given: nothing tidies it on the way.

    `send` is what goes out as JSON, with the headers that our page sends.
    """
    if send is not None:
        body = json.dumps(send).encode()
        headers = [*headers, ("x-csrf-token", CSRF), ("content-type", "application/json")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "root_path": "",
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8642),
        "state": {},
    }
    waiting = [{"type": "http.request", "body": body or b"", "more_body": False}]
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def answer(message: dict[str, Any]) -> None:
        said.append(message)

    try:
        asyncio.run(app(scope, receive, answer))
    except RuntimeError:  # raised again for the log of the server, once it is answered
        assert said
    content = b"".join(message.get("body", b"") for message in said[1:])
    names = {name.decode().lower(): value.decode("latin-1") for name, value in said[0]["headers"]}
    return Answer(said[0]["status"], names, content)


@pytest.fixture(scope="session")
def photo_paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Photos, and what is called one."""
    root = tmp_path_factory.mktemp("photos")
    (root.parent / "secret.jpg").write_bytes(SECRET)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(root / "a.jpg", comment=b"<script>alert(6)</script>")
    Image.fromarray(pixels).save(root / 'b "><img src=x onerror=alert(7)>.png')
    for name, content in {"html.jpg": HTML, "svg.jpg": SVG, "drawing.svg": SVG, "both.gif": POLYGLOT}.items():
        (root / name).write_bytes(content)
    (root / "out.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "folder.jpg").mkdir()
    os.mkfifo(root / "pipe.jpg")
    inside = [
        "a.jpg",
        'b "><img src=x onerror=alert(7)>.png',
        "html.jpg",
        "svg.jpg",
        "drawing.svg",
        "both.gif",
    ]
    odd = [root / name for name in (*inside, "out.jpg", "folder.jpg", "pipe.jpg", "gone.jpg")]
    return [*map(str, odd), f"{root}/../secret.jpg", "/etc/passwd", ""]


@pytest.fixture(scope="session")
def items(photo_paths: list[str]) -> ReviewItems:
    """Rows of every kind of photo, with hostile ids and class names."""
    rng, num_rows, num_classes = np.random.default_rng(1), len(photo_paths), len(CLASSES)
    probs = rng.dirichlet(np.ones(num_classes), num_rows).astype(np.float32)
    given = rng.integers(0, num_classes, num_rows).astype(np.int32)
    likely = probs.argmax(axis=1).astype(np.int32)
    ids = ["../../etc/passwd", "a%2Fb", "caf%E9.png", "<b>x</b>", "=1+1", "\u202egnp.a", "a\tb", "d'\"", "n"]
    ids += [f"image-{row}" for row in range(len(ids), num_rows)]
    return ReviewItems(
        run="leaves",
        title="<script>alert(8)</script>",
        blind=False,
        audit=None,
        image_ids=ids,
        shown_ids=ids,
        class_names=CLASSES,
        fingerprint="f" * 64,
        table_content="t" * 64,
        photo_root=Path(photo_paths[0]).parent,
        photo_paths=photo_paths,
        ranking=np.argsort(probs[np.arange(num_rows), given]),
        given_labels=given,
        suggested_labels=likely,
        likely_labels=likely,
        probability=1 - probs[np.arange(num_rows), given].astype(np.float64),
        is_label_issue=likely != given,
        pred_probs=probs,
        features=rng.normal(size=(num_rows, 8)).astype(np.float32),
        duplicate_groups=np.array([0, 0, *[-1] * (num_rows - 2)]),
    )


@pytest.fixture(scope="session")
def blind_subject(items: ReviewItems) -> ReviewItems:
    """The same photos, and nothing else."""
    num_rows = len(items)
    return ReviewItems(
        run="leaves",
        title="leaves",
        blind=True,
        audit=None,
        image_ids=items.image_ids,
        shown_ids=[f"photo {n}" for n in range(num_rows)],
        class_names=CLASSES,
        fingerprint="b" * 64,
        table_content="t" * 64,
        photo_root=items.photo_root,
        photo_paths=items.photo_paths,
        ranking=np.arange(num_rows),
    )


@pytest.fixture
def session(items: ReviewItems, tmp_path: Path) -> Iterator[Any]:
    """An open review with a store of its own."""
    yield from opened(items, tmp_path)


@pytest.fixture
def blind_session(blind_subject: ReviewItems, tmp_path: Path) -> Iterator[Any]:
    """An open blind review."""
    yield from opened(blind_subject, tmp_path)


def opened(items: ReviewItems, folder: Path) -> Iterator[Any]:
    """A desk, for as long as it is used."""
    from kiyome.decisions.store import open_decisions
    from kiyome.reviewing.session import open_session

    store = open_decisions(
        folder / "decisions.sqlite", fingerprint=items.fingerprint, class_names=items.class_names
    )
    with store, open_session(items, store, folder=folder, name="Ann") as session:
        yield replace(session, csrf=CSRF)


def guarded(session: Any, **rules: Any) -> Any:
    """The app of a desk behind its guard."""
    from kiyome.reviewing.app import make_app
    from kiyome.reviewing.guard import Guard, Rules

    hosts = frozenset({"127.0.0.1", "localhost", "[::1]"})
    return Guard(app=make_app(session), rules=Rules(hosts=hosts, csrf=CSRF, **rules))


@pytest.fixture
def app(session: Any) -> Any:
    """What is served."""
    return guarded(session)
