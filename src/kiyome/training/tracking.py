"""Metrics to TensorBoard, W&B, Trackio or MLflow, besides the JSON lines that a run always writes.

    RUN/tracking/tensorboard/MEMBER/      tensorboard --logdir RUN/tracking/tensorboard
    RUN/tracking/wandb/wandb/             wandb sync RUN/tracking/wandb/wandb/offline-run-*
    RUN/tracking/trackio/RUN.db           TRACKIO_DIR=RUN/tracking/trackio trackio show
    RUN/tracking/mlflow/mlflow.db         mlflow ui --backend-store-uri sqlite:///RUN/tracking/mlflow/mlflow.db

Each member is one tracked run, a second copy of metrics.jsonl. When a member resumes after a kill, its
tracked run is deleted and logged again from the first epoch, so that no line is there twice. Nothing leaves
the machine unless the tracker's own variables ask for it: WANDB_MODE=online, TRACKIO_SPACE_ID or
TRACKIO_SERVER_URL, MLFLOW_TRACKING_URI. A tracker that fails is dropped with a note.
"""

import hashlib
import io
import json
import logging
import os
import secrets
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kiyome.artifacts.run import TRACKING
from kiyome.artifacts.storage import write_text
from kiyome.errors import MissingExtra, choose
from kiyome.progress import MemberEvent, OnEvent, ignore_event

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker


def check_trackers(names: Sequence[str]) -> None:
    """Refuse an unknown tracker, or one whose package is absent, before any work is done.

    >>> check_trackers(["tensorbord"])
    Traceback (most recent call last):
    kiyome.errors.InputError: The tracker 'tensorbord' is unknown. ... Did you mean tensorboard?
    """
    for name in names:
        choose("tracker", name, TRACKERS)
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder ./wandb is found as well, and is no package
            raise MissingExtra(f"Tracking by {name}", extra=name)


class Tracking:
    """A listener that logs the metrics of each `MemberEvent` to trackers; made by `tracking`."""

    def __init__(self, names: Sequence[str], run: Path, on_event: OnEvent) -> None:
        self.notes: list[str] = []
        """Notes for people on trackers that failed."""
        self._names = list(dict.fromkeys(names))
        self._run, self._on_event = run.resolve(), on_event
        self._open: dict[tuple[str, str], tuple[GeneralTracker, int]] = {}

    def __call__(self, event: MemberEvent) -> None:
        """Pass the event on, then log it to every tracker that works; errors of trackers become notes."""
        self._on_event(event)
        for name in list(self._names):
            try:
                with _quiet():
                    self._log(name, event)
            except Exception as error:  # whatever it is, training continues
                self._names.remove(name)
                reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                note = f"{name} stopped tracking at {event.member} ({reason}); metrics.jsonl is whole"
                self.notes.append(note)

    def close(self) -> None:
        """Close the trackers of members that did not finish."""
        while self._open:
            _, (tracker, _) = self._open.popitem()
            with suppress(Exception), _quiet():
                tracker.finish()

    def _log(self, name: str, event: MemberEvent) -> None:
        logged, key = self._run / TRACKING / "told" / name / event.member, (name, event.member)
        if event.state == "cached" and logged.is_file() and logged.read_text() == str(len(event.metrics)):
            return
        if event.state in ("learning", "cached") and key not in self._open:
            self._open[key] = (self._start(name, event), 0)
        if key not in self._open:
            return
        tracker, num_logged = self._open[key]
        for line in event.metrics[num_logged:]:
            tracker.log(_numbers(line), step=line["epoch"])
            num_logged += 1
            self._open[key] = (tracker, num_logged)
        if event.state in ("finished", "cached"):
            del self._open[key]
            tracker.finish()
            logged.parent.mkdir(parents=True, exist_ok=True)
            write_text(logged, str(num_logged))

    def _start(self, name: str, event: MemberEvent) -> "GeneralTracker":
        folder = self._run / TRACKING / name
        folder.mkdir(parents=True, exist_ok=True)
        tracker = TRACKERS[name](self._run, folder, event.member)
        tracker.main_process_only = False  # only the main process gets events; do not ask which one this is
        tracker.start()
        tracker.store_init_configuration(_flat(event.config))
        return tracker


@contextmanager
def tracking(names: Sequence[str], run: Path, *, on_event: OnEvent = ignore_event) -> Iterator[Tracking]:
    """A `Tracking` into ``run / "tracking"`` while the block runs; `on_event` gets all events, too."""
    listener = Tracking(names, run, on_event)
    try:
        yield listener
    finally:
        listener.close()


def _tensorboard(run: Path, folder: Path, member: str) -> "GeneralTracker":  # noqa: ARG001
    from accelerate.tracking import TensorBoardTracker

    shutil.rmtree(folder / member, ignore_errors=True)
    return TensorBoardTracker(member, folder)


def _wandb(run: Path, folder: Path, member: str) -> "GeneralTracker":
    import wandb
    from accelerate.tracking import WandBTracker

    own_id, mode = _own_id(run, member), os.environ.get("WANDB_MODE", "offline")
    if mode != "online":  # a server knows the steps that it has; files do not
        os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "cache"))  # else it logs into the home folder
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        for old in (folder / "wandb").glob(f"*run-*-{own_id}"):
            shutil.rmtree(old)
    return WandBTracker(
        os.environ.get("WANDB_PROJECT", "kiyome"),
        name=member,
        id=own_id,
        group=run.name,
        resume="allow",
        dir=folder,
        mode=mode,
        settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
    )


def _trackio(run: Path, folder: Path, member: str) -> "GeneralTracker":
    from accelerate.tracking import TrackioTracker

    if "TRACKIO_DIR" not in os.environ:
        _point_trackio_to(folder)
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    project = "".join(c if c.isalnum() or c in "-_" else "-" for c in run.name)
    if not {"TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"} & set(os.environ):
        SQLiteStorage.delete_run(project, member)
    tracker = TrackioTracker(project, name=member, group=run.name, auto_log_cpu=False, auto_log_gpu=False)
    tracker.finish = trackio.finish  # a run that is ended any other way is ended again at exit, aloud
    return tracker


def _point_trackio_to(folder: Path) -> None:
    """Trackio reads where to write once, when it is imported; two runs in one process need two folders."""
    os.environ["TRACKIO_DIR"] = str(folder)
    try:
        import trackio  # noqa: F401
    finally:
        del os.environ["TRACKIO_DIR"]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "trackio" and hasattr(module, "TRACKIO_DIR"):
            vars(module)["TRACKIO_DIR"] = folder


def _mlflow(run: Path, folder: Path, member: str) -> "GeneralTracker":
    is_local = "MLFLOW_TRACKING_URI" not in os.environ
    if is_local:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow
    from accelerate.tracking import MLflowTracker

    for name in ("alembic", "mlflow.store.db.utils"):  # they log every table that is made
        logging.getLogger(name).setLevel(logging.WARNING)
    if is_local:
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    own_id = _own_id(run, member)
    for old in mlflow.search_runs(
        filter_string=f"tags.`kiyome.member` = '{own_id}'", search_all_experiments=True, output_format="list"
    ):
        mlflow.delete_run(old.info.run_id)
    return MLflowTracker(
        run.name,
        logging_dir=(folder / "artifacts").as_uri() if is_local else None,
        run_name=member,
        tags={"kiyome.member": own_id},
    )


def _own_id(run: Path, member: str) -> str:
    """The id of a member's tracked run: always the same in this run folder, another in any other."""
    path = run / TRACKING / "id"
    with suppress(FileExistsError), path.open("x") as file:
        file.write(secrets.token_hex(8))
    return hashlib.sha256(f"{path.read_text()} {member}".encode()).hexdigest()[:16]


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "epoch" and not isinstance(value, str)}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options in options as ``augment.scale``, lists as text: what all trackers can hold.

    >>> _flat({"epochs": 3, "augment": {"scale": [0.7, 1.0]}})
    {'epochs': 3, 'augment.scale': '[0.7, 1.0]'}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            plain = isinstance(value, str | int | float)
            flat[prefix + key] = value if plain else json.dumps(value)
    return flat


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep trackers off stdout, which holds the answer, and their warnings off stderr."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


TRACKERS: dict[str, Callable[[Path, Path, str], "GeneralTracker"]] = {
    "wandb": _wandb,
    "trackio": _trackio,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}
"""By the name of the package: the function that starts a fresh tracked run of a member."""
