"""How long after a key press the next photo is painted, by the browser's own clock.

20,000 rows are photographs of leaves and CIFAR-10 images, each its own file; 100,000 rows are the same
files five times. Keys are pressed in a real Chromium against a real server; the clock starts with the key
event's own time stamp and stops in the first frame after the next photo is in the page and decoded.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from kiyome.reviewing.subject import Subject
from measured import SHARED_DATA, show

NUM_FILES, MANY = 20_000, 100_000
PRESSES, EVERY = 300, 250
"""Key presses, and milliseconds between them: four decisions a second."""
HURRIED = 60
"""Milliseconds between presses of a key that is nearly held down."""

# The frame is awaited that comes after the photo is in the page and decoded; the message, once it is drawn.
WATCH = """
window.times = [];
window.frames = [];
addEventListener("keydown", event => {
  const start = event.timeStamp, before = document.querySelector(".holder").dataset.row;
  const look = () => {
    const holder = document.querySelector(".holder"), image = holder.querySelector("img");
    if (holder.dataset.row === before || holder.dataset.state !== "ready" || !image)
      return setTimeout(look);
    image.decode().then(() => requestAnimationFrame(() => {
      const {port1, port2} = new MessageChannel();
      port1.onmessage = () => window.times.push(performance.now() - start);
      port2.postMessage(null);
    }));
  };
  setTimeout(look);
}, {capture: true});
new PerformanceObserver(list => {
  for (const each of list.getEntriesByName("keydown")) window.frames.push(each.duration);
}).observe({type: "event", durationThreshold: 16});
"""


def lines() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "photos")
        yield f"key press to the next photo painted, ms; {PRESSES} presses each; Chromium without a window"
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            yield "server and browser at real-time priority: others were using the machine"
        yield f"{'rows':>8} {'keys':<18} {'n':>4} {'p50':>6} {'p95':>6} {'max':>6}  frame p95  first photo"
        for num_rows in (NUM_FILES, MANY):
            yield from measured_at(Path(folder), num_rows)


def measured_at(folder: Path, num_rows: int) -> Iterator[str]:
    """A line for each way to press keys, from one server and one page each."""
    command = [sys.executable, __file__, "serve", str(folder), str(num_rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().strip()
            for words, keys, pause in (
                ("x, u, k in turn", "xuk", EVERY),
                ("right arrow", ["ArrowRight"], EVERY),
                (f"x every {HURRIED} ms", "x", HURRIED),
            ):
                opened, times, frames = press(address, keys, pause)
                p50, p95 = np.percentile(times, [50, 95])
                yield (
                    f"{num_rows:>8,} {words:<18} {len(times):>4} {p50:>6.1f} {p95:>6.1f} {max(times):>6.1f}"
                    f"  {np.percentile(frames, 95):>9.0f}  {opened:.0f} ms after the address"
                )
        finally:
            server.terminate()


def press(address: str, keys: str | list[str], pause: int) -> tuple[float, list[float], list[float]]:
    """Milliseconds until the first photo, from each key to the photo after it, and from it to the next frame.

    The last is the browser's own Event Timing, in steps of 8 ms, where it took 16 ms or more.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_selector("[data-state=ready] img")
        opened = page.evaluate("performance.now()")
        page.wait_for_timeout(1500)
        for number in range(PRESSES):
            page.keyboard.press(keys[number % len(keys)])
            page.wait_for_timeout(pause)
        page.wait_for_timeout(1000)
        times, frames = page.evaluate("[window.times, window.frames]")
        browser.close()
    return opened, times, frames


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


def subject_of(folder: Path, num_rows: int) -> Subject:
    """A review of so many rows, their labels and probabilities drawn at random."""
    rng, num_classes = np.random.default_rng(0), 18
    probs = rng.dirichlet(np.full(num_classes, 0.3), num_rows).astype(np.float32)
    given = rng.integers(num_classes, size=num_rows).astype(np.int32)
    likely = probs.argmax(axis=1).astype(np.int32)
    own = probs[np.arange(num_rows), given].astype(np.float64)
    ids = [f"{row:06d}.jpg" for row in range(num_rows)]
    return Subject(
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
    from kiyome.artifacts.decisions import open_decisions
    from kiyome.reviewing.app import make_app
    from kiyome.reviewing.desk import open_desk
    from kiyome.reviewing.server import serve, take_place

    subject = subject_of(folder / "photos", num_rows)
    place = take_place(port=0, no_token=True)
    store = open_decisions(
        folder / f"{num_rows}.sqlite", fingerprint=subject.fingerprint, class_names=subject.class_names
    )
    with store, open_desk(subject, store, folder=folder, name="Ann") as desk:
        print(place.address, flush=True)
        serve(make_app(desk), place, csrf=desk.csrf, cookie_key=desk.secret.visitors)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1:2] == ["serve"]:
        serve_rows(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        show(__file__, lines(), "playwright", "numpy")
