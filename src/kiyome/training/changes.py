"""Changes to a recipe, ``key=value``, and what has to follow them.

epochs=3                   a field of every model
augment.cutout=0.5         an entry of a table
resnext50.weights=FILE     a field of one model, which counts more than the same field of every model
"""

import dataclasses
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from kiyome.errors import InputError, nearest
from kiyome.training.recipe import Fields, Recipe, as_field, losses


@dataclass(frozen=True, kw_only=True)
class Change:
    """A field, or an entry of a table, and its new value."""

    keys: Sequence[str]
    value: Any
    model: str | None = None
    """The only model that it is for."""


def parse_change(text: str, models: Collection[str]) -> Change:
    """The change that a text ``key=value`` asks for; values as in TOML, and text needs no quotes.

    >>> parse_change("b.augment.cutout=0.5", models=["a", "b"])
    Change(keys=['augment', 'cutout'], value=0.5, model='b')
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise InputError("A change to a recipe reads key=value.", came=repr(text), remedy="Say epochs=3.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # text without quotes
    first, *entry = key.split(".")
    if not entry or first in _defaults():
        return Change(keys=[first, *entry], value=parsed)
    path = key.removeprefix("models.")  # as a file has it
    model = max((name for name in models if path.startswith(f"{name}.")), key=len, default=None)
    if model is None:
        tables = [name for name, default in _defaults().items() if isinstance(default, Mapping)]
        must = f"Before a dot stands a model ({', '.join(models)}) or a table ({', '.join(tables)})."
        raise InputError(must, came=repr(key), remedy=nearest(path.split(".")[0], [*models, *tables]))
    return Change(keys=path.removeprefix(f"{model}.").split("."), value=parsed, model=model)


def changed(before: Fields, changes: Sequence[Change]) -> tuple[Fields, list[str]]:
    """The fields after these changes; and a note on each that had to follow though no change sets it."""
    whole = {each.keys[0]: as_field(each.keys[0], each.value) for each in changes if len(each.keys) == 1}
    entries = [tuple(each.keys) for each in changes]
    fields, notes = dict(before), []
    for name, value, note in _followers(_defaults() | before, whole, entries):
        if name not in whole:
            fields[name] = value
            notes.append(note)
    for each in changes:
        _put(fields, each.keys, each.value)
    return fields, notes


def _followers(
    before: Fields, whole: Fields, entries: Collection[tuple[str, ...]]
) -> Iterator[tuple[str, Any, str]]:
    """Fields beside the ones that are set, what they must be or stay then, and a note that says so."""
    if "loss" in whole:
        loss, implied = losses().full_name(whole["loss"])
        known = losses().loss_options(loss)
        options = {k: v for k, v in before["loss_options"].items() if ("loss_options", k) not in entries}
        kept = {k: v for k, v in options.items() if k in known and k not in implied}
        for key, value in options.items():
            was = f"{key} = {toml(value)} of the recipe"
            if key not in known:
                yield "loss_options", kept, f"{was} is left out: {loss} has no such option"
            elif key not in implied:
                yield "loss_options", kept, f"{was} stays for {loss}; loss_options={{}} leaves it out"
            elif value != implied[key]:
                yield "loss_options", kept, f"{was} is {toml(implied[key])} now, as {whole['loss']} means"
        if loss == "early_learning" and (mixing := before["mixing"]) != "none":
            why = f"as {loss} remembers each photo by itself"
            yield "mixing", "none", f"mixing is none, not the recipe's {mixing}, {why}"
    for limit, name in (("epochs", "average_last"), ("batch_size", "accumulate")):
        if limit in whole and before[name] > (most := whole[limit]):
            yield name, most, f"{name} is {most}, not the recipe's {before[name]}, as {limit} is {most}"


def _put(fields: Fields, keys: Sequence[str], value: Any) -> None:
    """Set a field, or one entry of a table; the table is copied, since models share it."""
    first, *rest = keys
    if not rest:
        fields[first] = value
        return
    table = fields.get(first, _defaults().get(first, {}))
    if not isinstance(table, Mapping):
        raise InputError("Only a table has entries.", came=".".join(keys), remedy=f"Set {first} itself.")
    fields[first] = dict(table)
    _put(fields[first], rest, value)


@cache
def _defaults() -> Fields:
    return {each.name: getattr(Recipe(), each.name) for each in dataclasses.fields(Recipe)}


def toml(value: Any) -> str:
    """A value of JSON as TOML; tables in one line.

    >>> toml({"scale": [0.5, 1.0]})
    '{scale = [0.5, 1.0]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
