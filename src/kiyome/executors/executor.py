"""Shared by all executors: named units in, results out as they finish; a lost worker is replaced.

A unit is a picklable argument of a picklable function. Repeating it must be harmless and continue from what
is on disk: then a killed worker costs only what it had not yet written.
"""

import pickle
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from kiyome.errors import KiyomeError, WorkerLost

Unit = TypeVar("Unit")
Result = TypeVar("Result")

MAX_TRIES = 3
"""How often a unit is started before the death of its worker is blamed on the unit."""
POLL_SECONDS = 1.0
"""Seconds between two checks of remote work."""


def do_nothing() -> None:
    """Do nothing while waiting: the default."""


class Executor(Protocol):
    """Runs independent units of work."""

    def run(
        self,
        work: Callable[[Unit], Result],
        units: Mapping[str, Unit],
        *,
        on_wait: Callable[[], None] = do_nothing,
    ) -> Generator[tuple[str, Result]]:
        """Yield name and result of each unit, as they finish; closing the generator stops what still runs.

        `work` is called with each unit, in any order and any process, and again where a worker died.
        `on_wait` is called about every second while work runs elsewhere.

        Raises
        ------
        WorkerLost
            Where the worker of a unit died `MAX_TRIES` times.
        Exception
            The first error of `work`; a KiyomeError starts with the name of the unit.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Result]):
    """Result or error of a unit, so that an engine's own errors always mean a lost worker."""

    result: Result | None = None
    error: Exception | None = None

    def of(self, name: str) -> Result:
        """Return the result of the unit of that name, or raise its error."""
        if isinstance(self.error, KiyomeError):
            raise self.error.of(name)
        if self.error is not None:
            self.error.add_note(f"in {name}")
            raise self.error
        return self.result  # type: ignore[return-value]


def attempt(work: Callable[[Unit], Result], unit: Unit) -> Outcome[Result]:
    """Return the outcome of a unit, in a worker."""
    try:
        return Outcome(result=work(unit))
    except Exception as error:
        return Outcome(error=_portable(error))


def worker_lost(name: str, detail: object = "") -> WorkerLost:
    """Return the error for a unit whose worker died too often."""
    return WorkerLost(
        f"{name}: its worker died {MAX_TRIES} times" + (f" ({detail})" if detail else "") + ".",
        remedy="Memory may have run out, or its last output may show why; a script needs"
        " `if __name__ == '__main__':` around its main part.",
    )


def in_order(executor: Executor) -> Callable[..., list[Any]]:
    """Return a function like `map` whose calls are units of an executor; results in the order of the items.

    >>> from kiyome.executors import Here
    >>> in_order(Here())(pow, [2, 3], [3, 2])
    [8, 9]
    """

    def run(function: Callable[..., Any], *items: Iterable[Any]) -> list[Any]:
        units = {f"part {number}": each for number, each in enumerate(zip(*items, strict=False), start=1)}
        with closing(executor.run(partial(_call, function), units)) as done:
            results = dict(done)
        return [results[name] for name in units]

    return run


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)


def _portable(error: Exception) -> Exception:
    """Return the error with the worker's traceback as a note; a RuntimeError where it cannot be pickled."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    except Exception:
        return RuntimeError(trace)
    error.add_note(trace)
    return error


@dataclass(frozen=True, kw_only=True)
class Here:
    """Runs units in the current process.

    >>> dict(Here().run(abs, {"a": -2, "b": 3}))
    {'a': 2, 'b': 3}
    """

    def run(
        self,
        work: Callable[[Unit], Result],
        units: Mapping[str, Unit],
        *,
        on_wait: Callable[[], None] = do_nothing,  # noqa: ARG002  (nobody waits)
    ) -> Generator[tuple[str, Result]]:
        """Run as in `Executor.run`."""
        for name, unit in units.items():
            try:
                result = work(unit)
            except KiyomeError as error:
                raise error.of(name) from error
            except Exception as error:
                error.add_note(f"in {name}")
                raise
            yield name, result


HERE = Here()
"""The default executor."""
