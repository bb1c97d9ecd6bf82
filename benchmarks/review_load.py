"""Eight clients decide at once against a real server, killed by SIGKILL meanwhile: nothing is lost.

Two clients each share a reviewer's name, as one person with two windows does, so acts go stale.
An act whose answer was lost is sent again under its key. Afterwards the store is read, and counted:

    lost       acts that were answered, and are not in the store as they were answered
    doubled    acts that are there twice, or rows that one reviewer has two events of one sequence of
    broken     histories that do not replay: a gap in a sequence, or another end than was last answered
"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.decisions import Event, open_decisions
from kiyome.recipes.find import find
from measured import show

NUM_ROWS, NUM_CLASSES, NUM_CLIENTS, SECONDS = 20_000, 10, 8, 60.0
ROWS_IN_PLAY = 400
"""Few, so that clients meet."""

KILLS, ACTS_BETWEEN = 12, 300


@dataclass
class Client:
    """One window of one reviewer, and what it was answered."""

    port: int
    number: int
    stop: threading.Event
    answered: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Key -> what was written, as the server said."""
    sent: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    """Seconds of acts that needed no second try."""
    reads: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    resent: int = 0

    def __post_init__(self) -> None:
        self.reviewer = f"reviewer {self.number // 2}"
        self.rng, self.versions, self.csrf = random.Random(self.number), {}, ""
        self.connection: http.client.HTTPConnection | None = None

    def work(self) -> None:
        """Decide, look at the next row, and so on."""
        while not self.stop.is_set():
            key = f"{self.number}-{len(self.sent)}"
            self.sent.add(key)
            route, body = self.next_act(key)
            status, answer = self.settled("POST", route, body)
            if status == 200:
                self.answered[key] = answer["decided"]
            for each in answer.get("decided", answer.get("current", [])):
                self.versions[each["row"]] = each["version"]
            began = time.monotonic()
            path = f"/api/rows/{self.rng.randrange(NUM_ROWS)}?me={self.reviewer.replace(' ', '+')}"
            self.settled("GET", path, None)
            self.reads.append(time.monotonic() - began)
        self.hang_up()

    def next_act(self, key: str) -> tuple[str, dict[str, Any]]:
        """One row mostly; sometimes many at once, or an undo."""
        chance = self.rng.random()
        body = {"key": key, "reviewer": self.reviewer}
        if chance < 0.1:
            return "/api/undo", body
        rows = self.rng.sample(range(ROWS_IN_PLAY), 20 if chance < 0.15 else 1)
        verdicts = ("keep", "drop", "unsure", "relabel")
        entries = [
            {"row": row, "version": self.versions.get(row, 0), "verdict": self.rng.choice(verdicts)}
            for row in rows
        ]
        for entry in entries:
            if entry["verdict"] == "relabel":
                entry["label"] = str(self.rng.randrange(NUM_CLASSES))
        return "/api/decisions", body | {"entries": entries, "milliseconds": 700}

    def settled(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """The answer, however often the server has to be asked."""
        tries = 0
        while True:
            tries += 1
            began = time.monotonic()
            try:
                status, answer = self.asked(method, path, body)
            except (OSError, http.client.HTTPException, ValueError):
                self.hang_up()
                time.sleep(0.02)
                continue
            self.statuses[status] += 1
            if status == 403:  # the server was started again: its page has another token
                self.csrf = self.asked("GET", "/api/review", None)[1]["csrf"]
            elif status != 503:
                break
        if method == "POST":
            self.resent += tries > 1
            self.times += [time.monotonic() - began] if tries == 1 else []
        return status, answer

    def hang_up(self) -> None:
        """Let go of the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def asked(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """One try."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {
            "X-CSRF-Token": self.csrf,
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/json",
        }
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a load did, and what became of it."""

    clients: list[Client]
    events: list[Event]
    seconds: float
    kills: int
    lost: list[str]
    doubled: list[str]
    broken: list[str]
    journal_lines: int

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was answered."""
        return sum((client.statuses for client in self.clients), Counter())


def load(folder: Path, *, seconds: float, kills: int = 0, acts_between: int = 0) -> Outcome:
    """Let clients decide for so long, or until the server was killed so often, and count."""
    run = write_run(folder)
    port, stop = free_port(), threading.Event()
    server = started(run, port)
    began, killed = time.monotonic(), 0
    clients = [Client(port, number, stop) for number in range(NUM_CLIENTS)]
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
        kills=killed,
        lost=list(lost_in(clients, events)),
        doubled=list(doubled_in(clients, events)),
        broken=list(broken_in(clients, events)),
        journal_lines=(run / "review" / "decisions.jsonl").read_bytes().count(b"\n"),
    )


def answered_by(clients: list[Client]) -> int:
    """Acts that were answered as written."""
    return sum(len(client.answered) for client in clients)


def write_run(folder: Path) -> Path:
    """A run of find on rows without photos, from probabilities drawn at random."""
    rng = np.random.default_rng(0)
    given = rng.integers(NUM_CLASSES, size=NUM_ROWS)
    probs = rng.dirichlet(np.full(NUM_CLASSES, 0.3), NUM_ROWS)
    probs[np.arange(NUM_ROWS), given] += 1
    probs /= probs.sum(axis=1, keepdims=True)
    ids = [f"{row:05d}.jpg" for row in range(NUM_ROWS)]
    rows = "".join(f"{name},{label}\n" for name, label in zip(ids, given, strict=True))
    (folder / "train.csv").write_text("image_id,label\n" + rows)
    lines = (f"{name},{','.join(map(str, row))}\n" for name, row in zip(ids, probs.tolist(), strict=True))
    header = ",".join(["image_id", *map(str, range(NUM_CLASSES))])
    (folder / "probs.csv").write_text(header + "\n" + "".join(lines))
    return find(folder / "train.csv", pred_probs=folder / "probs.csv", output=folder / "run").folder


def started(run: Path, port: int) -> subprocess.Popen[bytes]:
    """A server that answers."""
    command = [
        sys.executable,
        "-m",
        "kiyome",
        "review",
        str(run),
        "--no-browser",
        "--no-token",
        "--port",
        str(port),
    ]
    with (run.parent / "server.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
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


def events_of(run: Path) -> list[Event]:
    """Every event in the store of a run."""
    table = json.loads((run / "run.json").read_text())["table"]
    about = {"fingerprint": table["fingerprint"], "class_names": table["classes"]}
    with open_decisions(run / "review" / "decisions.sqlite", **about) as store:
        return store.events_after()


def lost_in(clients: list[Client], events: list[Event]) -> Iterator[str]:
    """Keys of acts that were answered, and are not in the store as they were answered."""
    written: dict[str, list[tuple[Any, ...]]] = {}
    for event in events:
        said = (int(event.image_id[:5]), event.verdict, event.label, event.sequence)
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
        place = (event.reviewer, int(event.image_id[:5]))
        if event.sequence != versions[place] + 1:
            yield f"{place} {event.sequence}"
        versions[place] = event.sequence
    for client in clients:
        for row, version in client.versions.items():
            if version > versions[client.reviewer, row]:
                yield f"{client.reviewer} {row} answered {version}"


def lines() -> Iterator[str]:
    yield f"{NUM_CLIENTS} clients, {NUM_ROWS:,} rows, {SECONDS:.0f} s each; times in ms, of first tries"
    yield (
        f"{'server':<12} {'acts':>6} {'acts/s':>6} {'p50':>6} {'p95':>6} {'read p95':>8} {'stale':>6}"
        f" {'resent':>6} {'events':>7} {'lost':>5} {'doubled':>7} {'broken':>6}"
    )
    for words, kills in (("left alone", 0), ("killed", KILLS)):
        with tempfile.TemporaryDirectory() as folder:
            yield from in_words(
                words, load(Path(folder), seconds=SECONDS, kills=kills, acts_between=ACTS_BETWEEN)
            )


def in_words(words: str, outcome: Outcome) -> Iterator[str]:
    """A line of figures, and one of what else came."""
    clients = outcome.clients
    times = np.array([each for client in clients for each in client.times]) * 1000
    reads = np.array([each for client in clients for each in client.reads]) * 1000
    acts, resent = answered_by(clients), sum(client.resent for client in clients)
    p50, p95 = np.percentile(times, [50, 95])
    yield (
        f"{words:<12} {acts:>6,} {acts / outcome.seconds:>6.0f} {p50:>6.1f} {p95:>6.1f}"
        f" {np.percentile(reads, 95):>8.1f} {outcome.statuses[409]:>6,} {resent:>6,}"
        f" {len(outcome.events):>7,}"
        f" {len(outcome.lost):>5} {len(outcome.doubled):>7} {len(outcome.broken):>6}"
    )
    others = {status: n for status, n in outcome.statuses.items() if status not in (200, 403, 404, 409)}
    lines = f"{outcome.journal_lines:,} lines in the journal"
    yield f"  {outcome.kills} kills; other answers: {others or 'none'}; {lines}"


if __name__ == "__main__":
    show(__file__, lines(), "fastapi", "uvicorn", "sqlalchemy")
