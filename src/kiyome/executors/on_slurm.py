"""Units of work as jobs of SLURM, in one job array: submitit writes the scripts, SLURM has the queue.

A job that is preempted or runs out of time is put back into the queue, and goes on from what lies on disk.
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
"""In place of a partition: processes of this machine, all at once, to try things without a cluster."""
LOCAL_MINUTES = 60 * 24 * 7


@dataclass(frozen=True, kw_only=True)
class OnSlurm:
    """A SLURM cluster whose machines see the folders that units speak of."""

    partition: str | None = None
    """The cluster's own choice if not given."""
    folder: Path = Path("slurm-jobs")
    """Where submitit keeps scripts, output and pickles of jobs: a folder that all machines see, and that
    nobody else may write."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """More that submitit's `update_parameters` takes: timeout_min, mem_gb, gpus_per_node, slurm_account."""

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
        """As `Executor.run`."""
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
        """What makes jobs of units: an array of them."""
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
                "Jobs go to a SLURM cluster, with options that submitit knows.",
                came=str(error).partition("\n")[0],
                remedy="Give the command where sbatch is; slurm:local tries it on this machine.",
            ) from error

        class Resumed(submitit.helpers.Checkpointable):  # type: ignore[misc]
            """Begun again where SLURM takes the machine away."""

            def __call__(self, unit: Unit) -> Any:
                return work(unit)

        return lambda units: list(executor.map_array(Resumed(), units))

    def _parameters(self) -> dict[str, Any]:
        if self.is_local:
            return {"timeout_min": LOCAL_MINUTES, "gpus_per_node": min(1, len(visible_gpus()))}
        return {"name": "kiyome", **({"slurm_partition": self.partition} if self.partition else {})}

    def _outcome(self, job: Any) -> Outcome[Any] | None:
        """What became of a unit; None where its job was lost."""
        from submitit.core.utils import UncompletedJobError

        if self.is_local and not job.paths.result_pickle.exists():
            return None  # there is no other machine whose files may come late
        try:
            outcome: Outcome[Any] = job.result()
        except UncompletedJobError:
            return None
        return outcome
