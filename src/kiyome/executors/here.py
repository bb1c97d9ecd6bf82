"""Units of work one after another, in this process."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kiyome.executors.executor import Result, Unit, look_nowhere, named


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
    ) -> Iterator[tuple[str, Result]]:
        """As `Executor.run`."""
        for name, unit in units.items():
            try:
                result = work(unit)
            except Exception as error:
                raise named(error, name) from error
            yield name, result
