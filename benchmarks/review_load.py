"""Eight people with photos decide at once on a real server, also while it is killed: time taken, things lost.

A person looks at a row and its photo, which the server decodes and sends, and then acts. One of the eight has
two windows, so some acts are stale (409); the others have a name each. An act whose answer was lost is sent
again under its key. Afterwards the store is read, and counted:

    lost       acts that were answered, and are not in the store as they were answered
    doubled    acts that are there twice, or rows that one reviewer has two events of one sequence of
    broken     histories that do not replay: a gap in a sequence, or another end than was last answered
    differ     lines of the journal that are not the event of the database at their place
"""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.journal import read_journal
from kiyome.decisions.store import Event, open_decisions
from kiyome.testing import write_digits
from kiyome.workflows.find import find
from measured import SHARED_DATA, show

NUM_REVIEWERS, NUM_WINDOWS = 8, 9
SERIES, SECONDS = 3, 20.0
LOOK = 0.7
"""Seconds that a person looks at a photo, on average."""
NUM_PHOTOS, ROWS_IN_PLAY = 1_000, 400
"""In play are few, so that the windows of one person meet."""

KILLS, ACTS_BETWEEN = 4, 100
TOKEN = "token-of-the-load-benchmark"
SIDE = 1600
"""What a page of 1440 x 900 pixels asks for."""
TIMED = ("acts written", "acts stale", "acts resent", "rows", "photos", "thumbnails")
COUNTED = ("lost", "doubled", "broken", "differ")
EDGES = (0, 10, 20, 50, 100, 200, 500, np.inf)
"""Milliseconds, of the histograms."""


@dataclass
class Client:
    """One window of one reviewer, and what it was answered."""

    port: int
    number: int
    num_rows: int
    look: float
    """Seconds before an act, on average; 0: as fast as the server answers."""
    stop: threading.Event
    answered: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Key -> what was written, as the server said."""
    sent: set[str] = field(default_factory=set)
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """One of `TIMED` -> milliseconds; those of resent acts run from the first try to the answer."""
    statuses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.reviewer = f"reviewer {self.number % NUM_REVIEWERS}"
        self.rng, self.versions = random.Random(self.number), {}
        self.cookie = self.csrf = self.photo_key = ""
        self.connection: http.client.HTTPConnection | None = None

    def work(self) -> None:
        """Look at a row, decide, and so on."""
        self.come_in()
        while not self.stop.is_set():
            key = f"{self.number}-{len(self.sent)}"
            route, body = self.next_act(key)
            if self.look:
                self.stop.wait(self.rng.expovariate(1 / self.look))
            self.sent.add(key)
            status, answer = self.acted(route, body)
            if status == 200:
                self.answered[key] = answer["decisions"]
            for each in answer.get("decisions", answer.get("current", [])):
                self.versions[each["row"]] = each["version"]
        self.hang_up()

    def come_in(self) -> None:
        """Open the address with the token, and keep the cookie that it leads to."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", f"/?token={TOKEN}")
        self.cookie = (connection.getresponse().getheader("Set-Cookie") or "").partition(";")[0]
        connection.close()
        self.read_review()

    def next_act(self, key: str) -> tuple[str, dict[str, Any]]:
        """What to do after a look at one row mostly; sometimes at the thumbnails of many, or an undo."""
        chance = self.rng.random()
        body = {"key": key, "reviewer": self.reviewer}
        if chance < 0.05:
            return "/api/undo", body
        rows = self.rng.sample(range(min(ROWS_IN_PLAY, self.num_rows)), 20 if chance < 0.1 else 1)
        if len(rows) == 1:
            self.look_at(rows[0])
        else:
            for row in rows:
                self.timed("thumbnails", f"/thumbnails/{row}?v={self.photo_key}")
        verdicts = ("keep", "drop", "unsure", "relabel")
        entries = [
            {"row": row, "version": self.versions.get(row, 0), "verdict": self.rng.choice(verdicts)}
            for row in rows
        ]
        for entry in entries:
            if entry["verdict"] == "relabel":
                entry["label"] = str(self.rng.randrange(8))
        return "/api/decisions", body | {"entries": entries, "milliseconds": 700}

    def look_at(self, row: int) -> None:
        """See the photo of a row, and what the reviewer decided about it before."""
        jpeg = self.timed("photos", f"/photos/{row}?side={SIDE}&v={self.photo_key}")
        assert jpeg.startswith(b"\xff\xd8"), "a photo is a JPEG"
        told = json.loads(self.timed("rows", f"/api/rows/{row}?me={self.reviewer.replace(' ', '+')}"))
        self.versions[row] = told["mine"]["version"] if told["mine"] else 0

    def timed(self, what: str, path: str) -> bytes:
        """The answer to a question, and its time."""
        began = time.monotonic()
        _, answer, _ = self.settled("GET", path, None)
        self.times[what].append(1000 * (time.monotonic() - began))
        return answer

    def acted(self, route: str, body: Any) -> tuple[int, dict[str, Any]]:
        """The answer to an act, and its time among those of its kind."""
        began = time.monotonic()
        status, answer, tries = self.settled("POST", route, body)
        kind = "resent" if tries > 1 else {200: "written", 409: "stale"}.get(status)
        if kind:
            self.times[f"acts {kind}"].append(1000 * (time.monotonic() - began))
        return status, json.loads(answer)

    def settled(self, method: str, path: str, body: Any) -> tuple[int, bytes, int]:
        """The answer, however often the server has to be asked, and how often that was."""
        tries = 0
        while True:
            tries += 1
            try:
                status, answer = self.asked(method, path, body)
                self.statuses[status] += 1
                if status == 403:  # the server was started again: its page has another token
                    self.read_review()
            except (OSError, http.client.HTTPException, ValueError):
                self.hang_up()
                time.sleep(0.02)
                continue
            if status not in (403, 503):
                return status, answer, tries

    def read_review(self) -> None:
        """Know what changes whenever the server starts."""
        review = json.loads(self.asked("GET", "/api/review", None)[1])
        self.csrf, self.photo_key = review["csrf"], review["photo_key"]

    def hang_up(self) -> None:
        """Let go of the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def asked(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        """One try."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {
            "Cookie": self.cookie,
            "X-CSRF-Token": self.csrf,
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/json",
        }
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        return response.status, response.read()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a load did, and what became of it."""

    clients: list[Client]
    events: list[Event]
    seconds: float
    load_average: float
    """Of the machine, over the last minute."""
    kills: int
    lost: list[str]
    doubled: list[str]
    broken: list[str]
    differ: list[int]

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was answered."""
        return sum((client.statuses for client in self.clients), Counter())

    def times(self, what: str) -> list[float]:
        """Milliseconds of one of `TIMED`, of all windows."""
        return [each for client in self.clients for each in client.times[what]]


def load(run: Path, *, seconds: float, look: float = 0.0, kills: int = 0, acts_between: int = 0) -> Outcome:
    """Let people decide for so long, or until the server was killed so often, and count."""
    port, stop, num_rows = free_port(), threading.Event(), table_of(run)["rows"]
    server = started(run, port)
    began, killed = time.monotonic(), 0
    clients = [Client(port, number, num_rows, look, stop) for number in range(NUM_WINDOWS)]
    threads = [threading.Thread(target=client.work) for client in clients]
    for thread in threads:
        thread.start()
    while time.monotonic() < began + seconds or killed < kills:
        time.sleep(0.005)
        if killed < kills and answered_by(clients) >= acts_between * (killed + 1):
            server.send_signal(signal.SIGKILL)
            server.wait()
            server, killed = started(run, port), killed + 1
    stop.set()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0, "Ctrl-C is no failure"
    events = events_of(run)
    return Outcome(
        clients=clients,
        events=events,
        seconds=took,
        load_average=os.getloadavg()[0],
        kills=killed,
        lost=list(lost_in(clients, events)),
        doubled=list(doubled_in(clients, events)),
        broken=list(broken_in(clients, events)),
        differ=list(differing_in(run, events)),
    )


def answered_by(clients: list[Client]) -> int:
    """Acts that were answered as written."""
    return sum(len(client.answered) for client in clients)


def write_run(folder: Path, *, leaves: bool = False) -> Path:
    """A run of find on photos of leaves or digits, from probabilities drawn at random."""
    given = write_leaves(folder) if leaves else write_digits(folder, num_photos=NUM_PHOTOS)
    num_classes, rng = int(given.max()) + 1, np.random.default_rng(0)
    probs = rng.dirichlet(np.full(num_classes, 0.3), len(given))
    probs[np.arange(len(given)), given] += 1
    probs /= probs.sum(axis=1, keepdims=True)
    ids = [line.partition(",")[0] for line in (folder / "train.csv").read_text().splitlines()[1:]]
    lines = (f"{name},{','.join(map(str, row))}\n" for name, row in zip(ids, probs.tolist(), strict=True))
    header = ",".join(["image_id", *map(str, range(num_classes))])
    (folder / "probs.csv").write_text(header + "\n" + "".join(lines))
    return find(folder, pred_probs=folder / "probs.csv", output=folder / "run", progress=False).folder


def write_leaves(folder: Path) -> NDArray[np.int64]:
    """Labels of mango leaves of each class, written as JPEG files with their table."""
    pack = np.load(SHARED_DATA / "mango_leaf" / "mango_leaf_224.npz")
    spans = list(pairwise(pack["offsets"]))
    chosen = np.arange(0, len(spans), len(spans) // NUM_PHOTOS)
    labels = pack["label"][chosen].astype(np.int64)
    (folder / "train_images").mkdir()
    for row, (start, end) in enumerate(spans[place] for place in chosen):
        (folder / "train_images" / f"{row:04d}.jpg").write_bytes(pack["jpeg"][start:end].tobytes())
    rows = "".join(f"{row:04d}.jpg,{label}\n" for row, label in enumerate(labels.tolist()))
    (folder / "train.csv").write_text("image_id,label\n" + rows)
    return labels


def started(run: Path, port: int) -> subprocess.Popen[bytes]:
    """A server that answers."""
    command = [sys.executable, "-m", "kiyome", "review", str(run), "--no-browser", "--port", str(port)]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "KIYOME_TOKEN": TOKEN}
    with (run.parent / "server.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=surroundings)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if server.poll() is not None:
                raise RuntimeError((run.parent / "server.log").read_text()[-2000:]) from error
            time.sleep(0.05)
        else:
            return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table_of(run: Path) -> dict[str, Any]:
    """What the manifest of a run says of its table."""
    table: dict[str, Any] = json.loads((run / "run.json").read_text())["table"]
    return table


def events_of(run: Path) -> list[Event]:
    """Every event in the store of a run."""
    table = table_of(run)
    about = {"fingerprint": table["fingerprint"], "class_names": table["classes"]}
    with open_decisions(run / "review" / "decisions.sqlite", **about) as store:
        return store.events_after()


def row_of(event: Event) -> int:
    """The row of a photo, which its name tells."""
    return int("".join(filter(str.isdigit, event.image_id)))


def lost_in(clients: list[Client], events: list[Event]) -> Iterator[str]:
    """Keys of acts that were answered, and are not in the store as they were answered."""
    written: dict[str, list[tuple[Any, ...]]] = {}
    for event in events:
        said = (row_of(event), event.verdict, event.label, event.sequence)
        written.setdefault(event.batch, []).append(said)
    for client in clients:
        for key, decided in client.answered.items():
            said = [(each["row"], each["verdict"], each["label"], each["version"]) for each in decided]
            if written.get(key) != said:
                yield key


def doubled_in(clients: list[Client], events: list[Event]) -> Iterator[str]:
    """What stands twice in the store, or was sent by nobody."""
    yield from (f"{place}" for place, n in Counter((e.batch, e.image_id) for e in events).items() if n > 1)
    yield from (
        f"{place}"
        for place, n in Counter((e.reviewer, e.image_id, e.sequence) for e in events).items()
        if n > 1
    )
    yield from {event.batch for event in events}.difference(*(client.sent for client in clients))


def broken_in(clients: list[Client], events: list[Event]) -> Iterator[str]:
    """Rows whose events, in order of number, do not count 1, 2, 3 up to the last version answered."""
    versions: Counter[tuple[str, int]] = Counter()
    for event in events:
        place = (event.reviewer, row_of(event))
        if event.sequence != versions[place] + 1:
            yield f"{place} {event.sequence}"
        versions[place] = event.sequence
    for client in clients:
        for row, version in client.versions.items():
            if version > versions[client.reviewer, row]:
                yield f"{client.reviewer} {row} answered {version}"


def differing_in(run: Path, events: list[Event]) -> Iterator[int]:
    """Numbers of events that the journal and the database do not both have, alike, at their place."""
    fingerprint = table_of(run)["fingerprint"]
    lines = read_journal(run / "review" / "decisions.jsonl")
    both = zip_longest(lines, ((fingerprint, event) for event in events))
    yield from (number for number, (line, row) in enumerate(both, start=1) if line != row)


def lines() -> Iterator[str]:
    leaves = (SHARED_DATA / "mango_leaf").exists()
    photos = "leaves, up to 224 px" if leaves else "digits, 64 px"
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder), leaves=leaves)
        yield (
            f"{NUM_REVIEWERS} people in {NUM_WINDOWS} windows; {table_of(run)['rows']:,} photos ({photos}), "
            f"their thumbnails made meanwhile; nice {os.nice(0)}"
        )
        yield f"ms: median of {SERIES} series of {SECONDS:.0f} s (least to most); to the right, all of them"
        for words, options in (
            (f"a look of {LOOK} s on average before each act", {"look": LOOK}),
            ("no pause", {}),
            ("no pause, the server killed", {"kills": KILLS, "acts_between": ACTS_BETWEEN}),
        ):
            yield from in_words(words, [measured(run, **options) for _ in range(SERIES)])


def measured(run: Path, **options: Any) -> Outcome:
    """One series, in a review that begins anew."""
    shutil.rmtree(run / "review", ignore_errors=True)
    return load(run, seconds=SECONDS, **options)


def in_words(words: str, series: list[Outcome]) -> Iterator[str]:
    """A line for each kind of request, and one of what became of the acts."""
    yield words
    bins = "".join(f"{f'<{edge:.0f}' if np.isfinite(edge) else 'more':>7}" for edge in EDGES[1:])
    yield f"  {'':<13}{'n':>7}{'p50':>19}{'p95':>19}{'p99':>19}  {bins}"
    for what in TIMED:
        if not any(each.times(what) for each in series):
            continue
        times = [np.percentile(each.times(what), [50, 95, 99]) for each in series if each.times(what)]
        every = [time for each in series for time in each.times(what)]
        figures = "".join(
            f"{f'{np.median(column):.0f} ({min(column):.0f} to {max(column):.0f})':>19}"
            for column in zip(*times, strict=True)
        )
        histogram = "".join(f"{n:>7,}" for n in np.histogram(every, EDGES)[0])
        yield f"  {what:<13}{len(every):>7,}{figures}  {histogram}"
    written = sum(answered_by(each.clients) for each in series)
    counts = (f"{name} {sum(len(getattr(each, name)) for each in series)}" for name in COUNTED)
    others = sum((each.statuses for each in series), Counter())
    others = {status: n for status, n in others.items() if status not in (200, 403, 404, 409)}
    yield (
        f"  {written:,} acts answered, {written / sum(each.seconds for each in series):.0f} a second; "
        f"{sum(len(each.events) for each in series):,} events; {', '.join(counts)}"
    )
    loads = ", ".join(f"{each.load_average:.1f}" for each in series)
    yield f"  {sum(each.kills for each in series)} kills; other answers: {others or 'none'}; load {loads}"


if __name__ == "__main__":
    show(__file__, lines(), "fastapi", "uvicorn", "sqlalchemy")
