"""Units of work in processes of this machine: the pools of `concurrent.futures`, one process in each.

    a thread waits for each unit ── takes a free worker ── submits to its pool ── again where the process died

A pool of one process loses no other unit when it dies, and keeps its GPU and share of the cores. A worker
holds a pipe to this process: it ends when the pipe is closed, or this process is killed.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from kiyome.cores import usable_cores
from kiyome.errors import InputError
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

SPAWN = multiprocessing.get_context("spawn")
"""A fork would copy threads' locks and a GPU's state."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Processes of this machine, started for the units and ended with them."""

    num: int | None = None
    """Most processes; by default one a GPU, without GPUs one a core."""

    def __post_init__(self) -> None:
        if self.num is not None and self.num < 1:
            raise InputError(f"num={self.num} is less than one process.", remedy="Leave it out.")

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
        workers = [_Worker(share) for share in shares_of_machine(self.num, most=len(units))]
        free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in workers:
            free.put(worker)

        def do(name: str, unit: Unit) -> Outcome[Result]:
            worker = free.get()
            try:
                return worker.do(name, work, unit)
            finally:
                free.put(worker)

        with ThreadPoolExecutor(len(workers)) as threads:
            waiting = {threads.submit(do, name, unit): name for name, unit in units.items()}
            try:
                while waiting:
                    done, _ = wait(waiting, POLL_SECONDS, FIRST_COMPLETED)
                    on_wait()
                    for future in done:
                        name = waiting.pop(future)
                        yield name, future.result().of(name)
            finally:  # finished, an error, Ctrl-C, or closed
                threads.shutdown(wait=False, cancel_futures=True)
                for worker in workers:
                    worker.stop()


@dataclass(frozen=True, kw_only=True)
class Share:
    """Cores and GPU of a process."""

    cores: tuple[int, ...]
    """Numbers of the cores."""
    gpu: str | None = None
    """As in CUDA_VISIBLE_DEVICES; None where there are no GPUs."""


def shares_of_machine(num: int | None, *, most: int) -> list[Share]:
    """Return the shares of `num` processes, `most` at most: cores in equal parts, GPUs in turn.

    >>> len(shares_of_machine(2, most=5)), len(shares_of_machine(8, most=3))
    (2, 3)
    """
    gpus, cores = visible_gpus(), usable_cores()
    wanted = min(num or len(gpus) or len(cores), most)
    return [
        Share(
            cores=cores[len(cores) * i // wanted : len(cores) * (i + 1) // wanted] or cores,
            gpu=gpus[i % len(gpus)] if gpus else None,
        )
        for i in range(wanted)
    ]


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(each.strip() for each in named.split(",") if each.strip())
    driver = shutil.which("nvidia-smi")
    if driver is None:
        return ()
    query = [driver, "--query-gpu=uuid", "--format=csv,noheader"]  # numbers may be counted in two ways
    answer = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603
    return tuple(answer.stdout.split()) if answer.returncode == 0 else ()


class _Worker:
    """A process that runs one unit after another, and is replaced when it dies."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._stopped = False
        self._pool: ProcessPoolExecutor | None = None
        self._pipe: Connection | None = None
        self._lock = threading.Lock()

    def do(self, name: str, work: Callable[[Unit], Result], unit: Unit) -> Outcome[Result]:
        """Return the outcome of a unit, tried again where the process dies."""
        for _ in range(MAX_TRIES):
            try:
                return self._started().submit(attempt, work, unit).result()
            except BrokenProcessPool as error:
                self._end()
                lost = error
            if self._stopped:
                break
        raise worker_lost(name) from lost

    def stop(self) -> None:
        """End the process at once."""
        with self._lock:
            self._stopped = True
        self._end()

    def _started(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._stopped:
                raise BrokenProcessPool
            if self._pool is None:
                theirs, self._pipe = SPAWN.Pipe(duplex=False)
                self._pool = ProcessPoolExecutor(
                    1, mp_context=SPAWN, initializer=_begin, initargs=(theirs, self._share)
                )
            return self._pool

    def _end(self) -> None:
        with self._lock:
            pool, pipe, self._pool, self._pipe = self._pool, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(pipe: Connection, share: Share) -> None:
    """Make this new process a worker: it ignores Ctrl-C, which is for its parent, and ends with the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    os.environ.setdefault("OMP_NUM_THREADS", str(len(share.cores)))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share.cores)  # libraries size their thread pools by this
    torch: Any = sys.modules.get("torch")
    if torch is not None:  # imported by the script: its threads are set already
        torch.set_num_threads(min(torch.get_num_threads(), len(share.cores)))


def _end_with(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(1)
