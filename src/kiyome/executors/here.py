"""Units of work one after another, in this process."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from kiyome.errors import KiyomeError
from kiyome.executors.executor import Result, Unit, look_nowhere


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
        on_wait: Callable[[], None] = look_nowhere,  # noqa: ARG002  (nobody waits)
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
