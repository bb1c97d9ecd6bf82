"""What every executor does: units by name in, results out as they finish; a lost worker is not the end.

A unit is a picklable argument of a picklable function. Doing it again must be harmless, and go on from what
lies on disk: then a worker that was killed costs only what it had not yet put there.
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
"""How often a unit is begun before its worker's death is taken for the unit's fault."""
POLL_SECONDS = 1.0
"""Seconds between two looks at what goes on elsewhere."""


def do_nothing() -> None:
    """Do nothing while others work: the default."""


class Executor(Protocol):
    """Runs independent units of work."""

    def run(
        self,
        work: Callable[[Unit], Result],
        units: Mapping[str, Unit],
        *,
        on_wait: Callable[[], None] = do_nothing,
    ) -> Generator[tuple[str, Result]]:
        """Name and result of each unit, as they finish; to be closed, which stops what still runs.

        Parameters
        ----------
        work
            Called with each unit, in any order and any process, and again where a worker died.
        units
            By their names, which errors tell.
        on_wait
            Called about every second while work is done elsewhere.

        Raises
        ------
        WorkerLost
            Where the worker of a unit died `MAX_TRIES` times.
        Exception
            The first that `work` raises; a KiyomeError says whose it is.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Result]):
    """What became of a unit: so an engine's own errors are left to mean that a worker was lost."""

    result: Result | None = None
    error: Exception | None = None

    def of(self, name: str) -> Result:
        """The result of the unit of that name, or its error."""
        if isinstance(self.error, KiyomeError):
            raise self.error.of(name)
        if self.error is not None:
            self.error.add_note(f"in {name}")
            raise self.error
        return self.result  # type: ignore[return-value]


def attempt(work: Callable[[Unit], Result], unit: Unit) -> Outcome[Result]:
    """The outcome of a unit, in a worker."""
    try:
        return Outcome(result=work(unit))
    except Exception as error:
        return Outcome(error=_portable(error))


def worker_lost(name: str, said: object = "") -> WorkerLost:
    """The error of a unit whose worker died too often."""
    return WorkerLost(
        "A worker lives until its unit is done.",
        came=f"{name}: its worker died {MAX_TRIES} times" + (f" ({said})" if said else ""),
        remedy="Memory may have run out, or what it said last tells why; a script needs"
        " `if __name__ == '__main__':` around what it does.",
    )


def in_order(executor: Executor) -> Callable[..., list[Any]]:
    """A function like `map` whose calls are units of an executor; results in the order of the items.

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
    """The error with the worker's traceback in words; another one in its place where it cannot travel."""
    told = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    except Exception:
        return RuntimeError(told)
    error.add_note(told)
    return error


@dataclass(frozen=True, kw_only=True)
class Here:
    """The process at hand: nothing is sent anywhere.

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
        """As `Executor.run`."""
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
"""What functions take that were told of no other."""
