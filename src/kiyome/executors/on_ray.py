"""Units of work as tasks of Ray, which queues them, counts cores and GPUs, and restarts lost ones."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kiyome.errors import KiyomeError, MissingExtra
from kiyome.executors.executor import (
    MAX_TRIES,
    POLL_SECONDS,
    Result,
    Unit,
    attempt,
    do_nothing,
    worker_lost,
)


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """A Ray cluster; all its machines have kiyome installed and see the folders that units name."""

    address: str | None = None
    """As in `ray.init`; by default the cluster in RAY_ADDRESS, else Ray on this machine."""
    gpus: float | None = None
    """GPUs of a unit, for example 0.5; by default one if the cluster has any."""
    cores: float = 1
    """Cores of a unit, which Ray also makes its number of threads."""

    def run(
        self,
        work: Callable[[Unit], Result],
        units: Mapping[str, Unit],
        *,
        on_wait: Callable[[], None] = do_nothing,
    ) -> Generator[tuple[str, Result]]:
        """Run as in `Executor.run`."""
        if not units:
            return
        with _connected(self.address) as ray:
            gpus = self.gpus if self.gpus is not None else min(1, ray.cluster_resources().get("GPU", 0))
            task = ray.remote(attempt).options(num_cpus=self.cores, num_gpus=gpus, max_retries=MAX_TRIES - 1)
            waiting = {task.remote(work, unit): name for name, unit in units.items()}
            try:
                while waiting:
                    done, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL_SECONDS)
                    on_wait()
                    for each in done:
                        name = waiting.pop(each)
                        yield name, _outcome(ray, each, name).of(name)
            finally:
                for each in waiting:
                    ray.cancel(each, force=True)


def _outcome(ray: Any, task: Any, name: str) -> Any:
    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        raise worker_lost(name, str(error).partition("\n")[0]) from error


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Yield Ray, connected by the caller or for this block; without usage reports."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("Ray", extra="ray") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise KiyomeError(
            f"No Ray cluster can be joined at {address}: {error}.",
            remedy="Check the address; ray alone starts one on this machine.",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
