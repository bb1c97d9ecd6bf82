"""Typed fields of a frozen group: each value is checked against its type and bounds when the group is made.

epochs: Annotated[int, Between(1, 10**6)] = 10
"""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args, get_origin, get_type_hints

from kiyome.errors import InputError, choose


class Between(NamedTuple):
    """The least and the largest value of a number."""

    low: float
    high: float


Count = Annotated[int, Between(1, 10**6)]
CountOrZero = Annotated[int, Between(0, 10**6)]
Share = Annotated[float, Between(0, 1)]


class Group:
    """Fields that belong together, known by flat names on command lines and in files."""

    renamed: ClassVar[Mapping[str, str]]
    """The flat name of each field that has another name in the group."""

    def __init_subclass__(cls, renamed: Mapping[str, str] | None = None) -> None:
        cls.renamed = renamed or {}

    def __post_init__(self) -> None:
        for flat, (name, hint) in self.places().items():
            object.__setattr__(self, name, checked(flat, getattr(self, name), hint))

    @classmethod
    @cache
    def places(cls) -> dict[str, tuple[str, Any]]:
        """The name and the type of each field, by its flat name; groups within the group are left out."""
        hints = get_type_hints(cls, include_extras=True)
        return {
            cls.renamed.get(name, name): (name, hint)
            for name, hint in hints.items()
            if name != "renamed" and not (inspect.isclass(hint) and issubclass(hint, Group))
        }


def checked(flat: str, value: Any, hint: Any) -> Any:
    """Return the value in that type and within its bounds.

    >>> checked("dropout", 0, Annotated[float, Between(0, 0.99)])
    0.0
    """
    if get_origin(hint) is not Annotated:
        return _as_type(flat, value, hint)
    number, (low, high) = _as_type(flat, value, hint.__origin__), hint.__metadata__[0]
    if not low <= number <= high:
        raise InputError(
            f"{flat}={number:g} is out of range.",
            expected=f"Expected {low:g} to {high:g}.",
            remedy=f"Change {flat}.",
        )
    return number


def _as_type(flat: str, value: Any, hint: Any) -> Any:
    """Return the value in the type; whole numbers may stand for others, lists for tuples."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Literal:
        return choose(flat, value, choices)
    if origin is tuple and isinstance(value, (list, tuple)) and value and len(set(value)) == len(value):
        return tuple(_as_type(flat, each, choices[0]) for each in value)
    if inspect.isclass(origin) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if inspect.isclass(hint) and type(value) is hint:
        return value
    kind, example = KINDS.get(hint, KINDS[tuple if origin is tuple else dict])
    raise InputError(f"{flat}={value!r} is not {kind}.", remedy=f"Write {flat}={example}, for example.")


KINDS: dict[Any, tuple[str, str]] = {
    float: ("a number", "0.5"),
    int: ("a whole number", "3"),
    bool: ("true or false", "true"),
    str: ("text", '"text"'),
    tuple: ("a list of different whole numbers", "[0, 1]"),
    dict: ("a table", "{key = value}"),
}
"""The words for each type, and an example."""
