"""A real server, real small photos, a real browser; and what a page did that it should not."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kiyome.decisions.items import ReviewItems

FLIPPED = 0.15
NUM_ROWS = 60


def digit_subject(folder: Path, *, num_rows: int = 200, kind: str = "plain", **changes: Any) -> ReviewItems:
    """Digits with flipped labels; `kind` is plain, blind, audit, or many (300 classes)."""
    names = changes.pop("names", [f"digit {number}" for number in range(10)])
    photos, true = digits(num_rows, num_classes=len(names))
    paths = written(photos, folder / f"photos of {len(names)}")
    if kind == "many":
        names = [*names, *(f"species {number:03d}" for number in range(300 - len(names)))]
    features = np.stack([colors_of(photo) for photo in photos])
    return items_of(paths, true, names, features=features, kind=kind, **changes)


def digits(num_rows: int, *, num_classes: int) -> tuple[list[bytes], np.ndarray]:
    """JPEG bytes and labels of the first scans of scikit-learn that belong to so many classes."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    rows = np.flatnonzero(scans.target < num_classes)[:num_rows]
    pixels = [np.kron(255 - scans.images[row] * 15, np.ones((24, 24))).astype(np.uint8) for row in rows]
    return [as_jpeg(np.repeat(each[:, :, None], 3, axis=2)) for each in pixels], scans.target[rows]


def as_jpeg(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def written(photos: Sequence[bytes], folder: Path) -> list[str]:
    """Paths of the photos, on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{row:05d}.jpg" for row in range(len(photos))]
    for path, photo in zip(paths, photos, strict=True):
        if not path.exists():
            path.write_bytes(photo)
    return [str(path) for path in paths]


def colors_of(photo: bytes) -> np.ndarray:
    """A photo as 48 numbers."""
    return np.asarray(Image.open(BytesIO(photo)).convert("RGB").resize((4, 4)), np.float32).ravel() / 255


def items_of(
    paths: Sequence[str],
    true: np.ndarray,
    names: Sequence[str],
    *,
    features: np.ndarray | None = None,
    kind: str = "plain",
    **changes: Any,
) -> ReviewItems:
    """A review of photos whose labels are partly flipped, and of a model that mostly knows better."""
    rng, num_rows, num_classes = np.random.default_rng(1), len(paths), len(names)
    given = np.where(rng.random(num_rows) < FLIPPED, (true + 1) % num_classes, true).astype(np.int32)
    logits = rng.normal(size=(num_rows, num_classes)).astype(np.float32)
    logits[np.arange(num_rows), true] += 5
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    likely = probs.argmax(axis=1).astype(np.int32)
    own = probs[np.arange(num_rows), given].astype(np.float64)
    ids = [Path(path).name for path in paths]
    seen: dict[str, Any] = {}
    if kind not in ("blind", "audit"):
        seen = {
            "given_labels": given,
            "suggested_labels": np.where(own < 0.3, likely, given).astype(np.int32),
            "likely_labels": likely,
            "probability": 1 - own,
            "is_label_issue": (likely != given) & (own < 0.3),
            "pred_probs": probs,
            "features": features,
            "duplicate_groups": np.array([0, 0, *[-1] * (num_rows - 2)]),
        }
    digest = hashlib.sha256(repr((ids, names, kind)).encode()).hexdigest()
    values = {
        "run": "digits",
        "title": "Scanned digits",
        "blind": not seen,
        "audit": "digits" if kind == "audit" else None,
        "image_ids": ids,
        "shown_ids": ids if seen else [f"photo {row + 1}" for row in range(num_rows)],
        "class_names": tuple(names),
        "fingerprint": digest,
        "table_content": digest,
        "photo_root": Path(paths[0]).parent,
        "photo_paths": paths,
        "ranking": np.argsort(own) if seen else np.arange(num_rows),
    }
    return ReviewItems(**{**values, **seen, **changes})


class Served:
    """A review on a port of its own, that can be stopped, started again, and asked by the test itself."""

    def __init__(self, items: ReviewItems, folder: Path, reviewer: str | None) -> None:
        self.items, self.folder, self.reviewer, self.port = items, folder, reviewer, 0
        self.stop: Callable[[], None] = lambda: None
        self.start()

    def start(self) -> None:
        """Serve, on the same port as before."""
        from uvicorn import Server

        from kiyome.decisions.store import open_decisions
        from kiyome.reviewing.app import make_app
        from kiyome.reviewing.guard import Guard
        from kiyome.reviewing.server import config_of, open_endpoint, private_link
        from kiyome.reviewing.session import open_session

        opened, items = ExitStack(), self.items
        store = open_decisions(
            self.folder / "decisions.sqlite", fingerprint=items.fingerprint, class_names=items.class_names
        )
        self.store = opened.enter_context(store)
        session = opened.enter_context(
            open_session(items, self.store, folder=self.folder, name=self.reviewer)
        )
        endpoint = open_endpoint(port=self.port)
        self.port, self.entrance = endpoint.port, endpoint.address
        self.address = self.entrance.partition("/?")[0]
        way = self.folder / "open.html"
        self.way = opened.enter_context(private_link(way, self.entrance))
        rules = endpoint.rules(session.csrf, cookie_key=session.secret.visitors)
        server = Server(config_of(Guard(app=make_app(session), rules=rules)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [endpoint.listener]}, daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(10)
            endpoint.listener.close()
            opened.close()
            self.stop = lambda: None

        self.stop = stop

    def verdicts(self, reviewer: str = "Ann") -> dict[int, tuple[str | None, str | None]]:
        """What stands in the store for one person: row -> (verdict, label)."""
        events = [event for event in self.store.events_after() if event.reviewer == reviewer]
        return {self.items.row_of[event.image_id]: (event.verdict, event.label) for event in events}

    def decisions(self) -> int:
        """How many events the log holds."""
        return len(self.store.events_after())


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that every review of these tests takes its photos from."""
    return tmp_path_factory.mktemp("digits")


@pytest.fixture
def serve(photos: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serve a review of photos; `kind` as `digit_subject` says."""
    running: list[Served] = []

    def start(
        kind: str = "plain", num_rows: int = NUM_ROWS, reviewer: str | None = "Ann", **changes: Any
    ) -> Served:
        folder = tmp_path / f"review-{len(running)}"
        folder.mkdir()
        items = digit_subject(photos, num_rows=num_rows, kind=kind, **changes)
        running.append(Served(items, folder, reviewer))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of a review; at the end hold that it stayed on its server and that nothing failed in it.

    `trouble` of the page lists what it complained of; a test that provokes a complaint clears it.
    """
    contexts, pages = [], []

    def open_at(served: Served, path: str = "/", *, name: str | None = None, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        if name:
            context.add_init_script(f"localStorage.setItem('kiyome:name', {name!r})")
        context.request.get(served.entrance)  # the token becomes a cookie
        page = watched(context.new_page(), served)
        pages.append(page)
        page.goto(served.address + path)
        page.wait_for_selector("[data-state=ready] img, main:not(.view-one) > div, .empty, dialog")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert [complaint for page in pages for complaint in page.trouble] == []


def watched(page: Any, served: Served) -> Any:
    """The page, with a list of its troubles: complaints, dialogs, requests elsewhere, broken policy."""
    page.trouble = []
    page.on(
        "console", lambda said: page.trouble.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("dialog", lambda dialog: (page.trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def asked(request: Any) -> None:
        if not request.url.startswith((served.address + "/", "data:", "blob:")):
            page.trouble.append(f"asked elsewhere: {request.url}")

    page.on("request", asked)
    return page


@pytest.fixture
def shows() -> Callable[..., None]:
    """Wait until the only element of a selector shows a text."""

    def wait(page: Any, selector: str, text: str) -> None:
        from playwright.sync_api import expect

        expect(page.locator(selector)).to_contain_text(text)

    return wait


@pytest.fixture
def saved(shows: Callable[..., None]) -> Callable[[Any], None]:
    """Wait until the server has all that the page decided."""
    return lambda page: shows(page, "#saved", "Saved")


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for something outside of the page."""

    def wait(holds: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it did not come true in time"
            time.sleep(0.02)

    return wait
