"""Units of work as jobs of SLURM, in one job array: submitit writes the scripts, SLURM has the queue.

A job that is preempted or runs out of time returns to the queue, and continues from what is on disk.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

from kiyome.errors import InputError, MissingExtra
from kiyome.executors.executor import (
    MAX_TRIES,
    POLL_SECONDS,
    Outcome,
    Result,
    Unit,
    attempt,
    do_nothing,
    worker_lost,
)
from kiyome.executors.processes import visible_gpus

LOCAL = "local"
"""A partition name for processes of this machine, all at once, for trials without a cluster."""
LOCAL_MINUTES = 60 * 24 * 7


@dataclass(frozen=True, kw_only=True)
class OnSlurm:
    """A SLURM cluster whose machines see the folders that units name."""

    partition: str | None = None
    """By default the cluster's own choice."""
    folder: Path = Path("slurm-jobs")
    """Folder for submitit's scripts, output and pickles: visible to all machines, writable by nobody else."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """More options of submitit's `update_parameters`: timeout_min, mem_gb, gpus_per_node, slurm_account."""

    @property
    def is_local(self) -> bool:
        """Whether jobs are processes of this machine."""
        return self.partition == LOCAL

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
        submit, lost = self._submitter(partial(attempt, work)), dict.fromkeys(units, 0)
        jobs = dict(zip(units, submit(list(units.values())), strict=True))
        try:
            while jobs:
                sleep(POLL_SECONDS)
                on_wait()
                for name in [name for name, job in jobs.items() if job.done()]:
                    job = jobs.pop(name)
                    outcome = self._outcome(job)
                    if outcome is not None:
                        yield name, outcome.of(name)
                        continue
                    lost[name] += 1
                    if lost[name] == MAX_TRIES:
                        raise worker_lost(name, f"its output is in {job.paths.stderr}")
                    [jobs[name]] = submit([units[name]])
        finally:
            for job in jobs.values():
                job.cancel()
            for job in jobs.values() if self.is_local else ():
                job.wait()

    def _submitter(self, work: Callable[[Unit], Any]) -> Callable[[list[Unit]], list[Any]]:
        """Return a function that submits units as an array of jobs."""
        try:
            import submitit
        except ImportError as error:
            raise MissingExtra("SLURM", extra="slurm") from error
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            executor = submitit.AutoExecutor(self.folder, cluster="local" if self.is_local else "slurm")
            executor.update_parameters(**self._parameters(), **self.options)
        except (RuntimeError, NameError, AssertionError) as error:
            raise InputError(
                f"SLURM cannot take jobs: {str(error).partition(chr(10))[0]}.",
                expected="It needs a cluster with sbatch, and options that submitit knows.",
                remedy="Run the command where sbatch is; slurm:local tries it on this machine.",
            ) from error

        class Resumed(submitit.helpers.Checkpointable):  # type: ignore[misc]
            """A job that restarts where SLURM takes the machine away."""

            def __call__(self, unit: Unit) -> Any:
                return work(unit)

        return lambda units: list(executor.map_array(Resumed(), units))

    def _parameters(self) -> dict[str, Any]:
        if self.is_local:
            return {"timeout_min": LOCAL_MINUTES, "gpus_per_node": min(1, len(visible_gpus()))}
        return {"name": "kiyome", **({"slurm_partition": self.partition} if self.partition else {})}

    def _outcome(self, job: Any) -> Outcome[Any] | None:
        """Return the outcome of a unit; None where its job was lost."""
        from submitit.core.utils import UncompletedJobError

        if self.is_local and not job.paths.result_pickle.exists():
            return None  # there is no other machine with late files
        try:
            outcome: Outcome[Any] = job.result()
        except UncompletedJobError:
            return None
        return outcome
