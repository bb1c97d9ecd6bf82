"""How long after a key press the next photo is painted, and how long a bare frame takes.

100,000 rows are 20,000 photographs of leaves and CIFAR-10 images, five times. Keys are pressed in a real
Chromium against a real server; the clock is the browser's, starts with the key event's own time stamp and
stops when the first frame is done that the next photo is in. `shown` says when the photo was on the screen,
by the browser's Element Timing. The bare frame is that of an empty page in the same browser, which asks for
one at a key press and does nothing else; both pages take turns.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from kiyome.decisions.items import ReviewItems
from measured import SHARED_DATA, show

NUM_FILES, NUM_ROWS = 20_000, 100_000
SERIES, TURNS, PRESSES, EVERY = 3, 2, 25, 250
"""Each page has so many turns in a series, of so many key presses; milliseconds between these."""
HURRIED = 60
"""Milliseconds between presses of a key that is nearly held down."""

# The message comes once the frame is drawn.
CLOCK = """
window.times = [];
const drawn = start => {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = () => window.times.push(performance.now() - start);
  port2.postMessage(null);
};
"""
BARE = (
    CLOCK
    + """
addEventListener("keydown", event => requestAnimationFrame(() => drawn(event.timeStamp)), {capture: true});
"""
)
WATCH = (
    CLOCK
    + """
window.shown = [];
addEventListener("keydown", event => {
  const start = event.timeStamp, before = document.querySelector(".holder").dataset.row;
  const look = () => {
    const holder = document.querySelector(".holder"), image = holder.querySelector("img");
    if (holder.dataset.row === before || holder.dataset.state !== "ready" || !image)
      return requestAnimationFrame(look);
    image.setAttribute("elementtiming", start);
    drawn(start);
  };
  requestAnimationFrame(look);
}, {capture: true});
new PerformanceObserver(list => {
  for (const each of list.getEntries()) window.shown.push(each.renderTime - Number(each.identifier));
}).observe({type: "element"});
"""
)


def lines() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "photos")
        yield (
            f"key press to the next of {NUM_ROWS:,} photos, ms; {SERIES} series of {TURNS * PRESSES} presses "
            f"on each page, in turns of {PRESSES}; Chromium without a window; nice {os.nice(0)}"
        )
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            yield "server and browser at real-time priority: others were using the machine"
        yield "median of the series (least to most); more: photo less bare frame, series by series"
        columns = (f"{what} {q}" for q in ("p50", "p95") for what in ("bare", "photo", "more", "shown"))
        yield f"{'keys':<16} {'n':>4}" + "".join(f"{each:>16}" for each in columns)
        yield from measured_at(Path(folder), NUM_ROWS)


def measured_at(folder: Path, num_rows: int) -> Iterator[str]:
    """A line for each way to press keys, from one server and one browser each."""
    command = [sys.executable, __file__, "serve", str(folder), str(num_rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().strip()
            for words, keys, pause in (
                ("x, u, k in turn", "xuk", EVERY),
                ("right arrow", ["ArrowRight"], EVERY),
                (f"x every {HURRIED} ms", "x", HURRIED),
            ):
                opened, series = press(address, keys, pause)
                bare, photo, shown = (
                    np.array([np.percentile(each[page], [50, 95]) for each in series]) for page in range(3)
                )
                figures = (
                    f"{f'{np.median(each):.0f} ({min(each):.0f} to {max(each):.0f})':>16}"
                    for q in (0, 1)
                    for each in (bare[:, q], photo[:, q], photo[:, q] - bare[:, q], shown[:, q])
                )
                yield f"{words:<16} {sum(len(each[1]) for each in series):>4}" + "".join(figures)
                yield f"  first photo {opened:.0f} ms after the address; load {os.getloadavg()[0]:.1f}"
        finally:
            server.terminate()


def press(address: str, keys: str | list[str], pause: int) -> tuple[float, list[list[list[float]]]]:
    """Milliseconds to the first photo; in each series from keys to bare frames, photos, and photos shown."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        empty, review = (browser.new_page(viewport={"width": 1440, "height": 900}) for _ in range(2))
        empty.add_init_script(BARE)
        empty.goto("about:blank")
        review.add_init_script(WATCH)
        review.goto(address)
        review.wait_for_selector("[data-state=ready] img")
        opened = review.evaluate("performance.now()")
        review.wait_for_timeout(1500)
        series = []
        for _ in range(SERIES):
            for _ in range(TURNS):
                for page in (empty, review):
                    page.bring_to_front()
                    page.wait_for_timeout(300)
                    for number in range(PRESSES):
                        page.keyboard.press(keys[number % len(keys)])
                        page.wait_for_timeout(pause)
            review.wait_for_timeout(1000)
            times = [page.evaluate("window.times.splice(0)") for page in (empty, review)]
            series.append([*times, review.evaluate("window.shown.splice(0)")])
        browser.close()
    return opened, series


def write_photos(folder: Path) -> None:
    """20,000 JPEG files: 4,000 leaves, the rest CIFAR-10."""
    folder.mkdir()
    leaves = np.load(SHARED_DATA / "mango_leaf" / "mango_leaf_224.npz")
    tiny = np.load(SHARED_DATA / "cifar10" / "cifar10_jpeg.npz")
    packs = [(leaves["jpeg"], leaves["offsets"]), (tiny["train_jpeg"], tiny["train_offsets"])]
    number = 0
    for data, offsets in packs:
        for start, end in pairwise(offsets):
            if number < NUM_FILES:
                (folder / f"{number:05d}.jpg").write_bytes(data[start:end].tobytes())
                number += 1


def items_of(folder: Path, num_rows: int) -> ReviewItems:
    """A review of so many rows, their labels and probabilities drawn at random."""
    rng, num_classes = np.random.default_rng(0), 18
    probs = rng.dirichlet(np.full(num_classes, 0.3), num_rows).astype(np.float32)
    given = rng.integers(num_classes, size=num_rows).astype(np.int32)
    likely = probs.argmax(axis=1).astype(np.int32)
    own = probs[np.arange(num_rows), given].astype(np.float64)
    ids = [f"{row:06d}.jpg" for row in range(num_rows)]
    return ReviewItems(
        run=f"rows-{num_rows}",
        title=f"{num_rows:,} photos",
        blind=False,
        audit=None,
        image_ids=ids,
        shown_ids=ids,
        class_names=tuple(f"class {k}" for k in range(num_classes)),
        fingerprint=str(num_rows),
        table_content=str(num_rows),
        photo_root=folder,
        photo_paths=[str(folder / f"{row % NUM_FILES:05d}.jpg") for row in range(num_rows)],
        ranking=np.argsort(own),
        given_labels=given,
        suggested_labels=likely,
        likely_labels=likely,
        probability=1 - own,
        is_label_issue=own < 0.01,
        pred_probs=probs,
        features=rng.normal(size=(num_rows, 64)).astype(np.float32),
    )


def serve_rows(folder: Path, num_rows: int) -> None:
    """What `kiyome review` serves, and its address on the first line."""
    from kiyome.decisions.store import open_decisions
    from kiyome.reviewing.app import make_app
    from kiyome.reviewing.server import open_endpoint, serve
    from kiyome.reviewing.session import open_session

    items = items_of(folder / "photos", num_rows)
    place = open_endpoint(port=0)
    store = open_decisions(
        folder / f"{num_rows}.sqlite", fingerprint=items.fingerprint, class_names=items.class_names
    )
    with store, open_session(items, store, folder=folder, name="Ann") as session:
        print(place.address, flush=True)
        serve(make_app(session), place, csrf=session.csrf, cookie_key=session.secret.visitors)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1:2] == ["serve"]:
        serve_rows(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        show(__file__, lines(), "playwright", "numpy")
