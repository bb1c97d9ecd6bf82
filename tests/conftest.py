"""What several rooms' tests share."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.decisions.events import Event
from kiyome.decisions.items import ReviewItems

SHARED = Path(__file__).parents[2] / "shared"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside a developer's checkout; a test that asks for it is marked `shared`."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")


_within_reach = {"shared data": False}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _within_reach["shared data"] = item.get_closest_marker("shared") is not None


def _guard_shared_data(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse shared data to any other test, whoever opens it in this process: test, library or benchmark."""
    if event not in ("open", "os.listdir", "os.scandir") or _within_reach["shared data"]:
        return
    if isinstance(arguments[0], str | bytes | Path):
        path = os.path.normpath(Path(os.fsdecode(arguments[0])).absolute())
        assert not Path(path).is_relative_to(SHARED), f"{path}: take the fixture shared_data instead"


sys.addaudithook(_guard_shared_data)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium without a window: the system's, else Playwright's own.

    Closed with each module: while it is open, no other test of the thread can run an event loop.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sync_api.expect.set_options(timeout=30_000)
    with sync_api.sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=BROWSER_ARGS)
        except sync_api.Error:
            if path is not None:
                raise
            pytest.skip("no browser: Chromium is not on the path, and Playwright's own is missing or fails")
        yield chromium
        chromium.close()


@dataclass
class PostgresServer:
    """A real server on a socket of its own, which can be stopped in the middle of what it does."""

    program: Path
    folder: Path
    user: str | None
    process: Any = None
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def address(self) -> str:
        return f"host={self.folder} user=kiyome dbname=postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        import psycopg

        settings = (
            "listen_addresses=",
            f"unix_socket_directories={self.folder}",
            "fsync=off",
            "max_connections=60",
        )
        options = [part for setting in settings for part in ("-c", setting)]
        command = [self.program, "-D", self.folder / "data", *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self.user, cwd=self.folder)
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.address).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop_at_once(self) -> None:
        """End every connection where it is, as `pg_ctl stop -m immediate` does."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def new_database(self) -> str:
        """Make an empty database and give its URL."""
        import psycopg

        name = f"store_{next(self.numbers)}"
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return f"postgresql://kiyome@/{name}?host={self.folder}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server of this session's own."""
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    initdb, postgres = (_program_of_postgres(name) for name in ("initdb", "postgres"))
    if not (initdb and postgres):
        pytest.skip("no PostgreSQL server is installed here")
    user = _plain_user() if os.geteuid() == 0 else None  # the server refuses to run as root
    with tempfile.TemporaryDirectory(prefix="kiyome-pg-") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        made = [initdb, "-D", folder / "data", "-U", "kiyome", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*made, "--no-locale"], check=True, capture_output=True, user=user, cwd=folder)
        server = PostgresServer(program=postgres, folder=folder, user=user)
        try:
            server.start()
            yield server
        finally:
            server.stop_at_once()  # its data are thrown away


@pytest.fixture(scope="session")
def new_postgres_database(postgres_server: PostgresServer) -> Callable[[], str]:
    """Make an empty database and give its URL."""
    return postgres_server.new_database


def _program_of_postgres(name: str) -> Path | None:
    """Debian keeps the server's programs off the path; the newest version wins."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[4]))
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path) if on_path else None


def _plain_user() -> str:
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


@pytest.fixture(scope="module")  # its threads have crashed the process during tests long after its own
def ray():
    """A Ray of two cores on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


START = datetime(2026, 1, 1, tzinfo=UTC)


def made_items(
    num_rows: int, num_classes: int = 3, *, blind: bool = False, seed: int = 0, **changes: Any
) -> ReviewItems:
    """Rows with random labels, guesses and chances; a blind one has none of them."""
    rng = np.random.default_rng(seed)
    pred_probs = rng.dirichlet(np.ones(num_classes), num_rows).astype(np.float32)
    given = rng.integers(num_classes, size=num_rows).astype(np.int32)
    probability = 1 - pred_probs[np.arange(num_rows), given].astype(np.float64)
    flagged = probability > 0.7
    likely = pred_probs.argmax(axis=1).astype(np.int32)
    ids = [f"photo/{row:07d}.png" for row in range(num_rows)]
    known = {
        "given_labels": given,
        "likely_labels": likely,
        "suggested_labels": np.where(flagged, likely, given),
        "probability": probability,
        "is_label_issue": flagged,
        "pred_probs": pred_probs,
        "ranking": np.lexsort((-probability, ~flagged)),
    }
    values: dict[str, Any] = {
        "run": "run",
        "title": "photos",
        "blind": blind,
        "audit": None,
        "image_ids": ids,
        "shown_ids": ids,
        "class_names": tuple(f"class {k}" for k in range(num_classes)),
        "fingerprint": "5eed" * 16,
        "table_content": "c0" * 32,
        "photo_root": Path(),
        "photo_paths": [""] * num_rows,
        "ranking": np.arange(num_rows),
    }
    return ReviewItems(**(values | ({} if blind else known) | changes))


class MadeLog:
    """Writes events as a store would: numbers and sequences go up by one."""

    def __init__(self, items: ReviewItems) -> None:
        self.items = items
        self.events: list[Event] = []

    def append(
        self,
        reviewer: str,
        acts: dict[int, str | None],
        *,
        kind: str = "decide",
        undoes: str | None = None,
        at: float | None = None,
    ) -> list[Event]:
        """One batch: row -> verdict, or a class's name to relabel to, or None where nothing stands."""
        key = f"batch {len(self.events)}"
        when = START + timedelta(seconds=len(self.events) if at is None else at)
        for row, said in acts.items():
            image_id = self.items.image_ids[row]
            is_label = said is not None and said in self.items.class_names
            before = [e for e in self.events if e.reviewer == reviewer and e.image_id == image_id]
            self.events.append(
                Event(
                    number=len(self.events) + 1,
                    batch=key,
                    kind=kind,
                    undoes=undoes,
                    reviewer=reviewer,
                    image_id=image_id,
                    sequence=len(before) + 1,
                    verdict="relabel" if is_label else said,
                    label=said if is_label else None,
                    run="run",
                    table_content="",
                    seen={},
                    milliseconds=None,
                    decided_at=when.isoformat(),
                )
            )
        return self.events[-len(acts) :]


@pytest.fixture(scope="session")
def items_of() -> Callable[..., ReviewItems]:
    """Makes items to review."""
    return made_items


@pytest.fixture(scope="session")
def log_of() -> type[MadeLog]:
    """Makes logs."""
    return MadeLog
