"""Recipes on disk: TOML or YAML files and those that ship with kiyome, with changes from the command line.

    about = "..."                 fields at the top hold for all models of the recipe
    epochs = 10
    [models.resnext]              each table is one model, with what differs; none means one model
    architecture = "resnext50_32x4d.a1_in1k"

`kiyome train --recipe NAME epochs=3 augment.cutout=0.5 resnext.weights=FILE` changes fields of every model,
or of one (`training/recipe_files.py`).
"""

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from kiyome.artifacts.storage import open_regular
from kiyome.errors import InputError, MissingExtra, nearest
from kiyome.progress import Notes, ignore_note
from kiyome.training.fields import Group
from kiyome.training.recipe import GROUPS, Fields, Recipe, as_field, losses


@dataclass(frozen=True, kw_only=True)
class Change:
    """A field, or an entry of a table, and its new value."""

    keys: Sequence[str]
    value: Any
    model: str | None = None
    """The only model that it is for."""


def parse_change(text: str, models: Collection[str]) -> Change:
    """Return the change that a text ``key=value`` asks for; values as in TOML, text without quotes too.

    >>> parse_change("b.augment.cutout=0.5", models=["a", "b"])
    Change(keys=['augment', 'cutout'], value=0.5, model='b')
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise InputError(
            f"{text!r} is not a change to a recipe.",
            expected="Expected key=value.",
            remedy="Write epochs=3, for example.",
        )
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
        raise InputError(
            f"{key!r} begins with neither a model nor a table.",
            expected=f"Expected one of the models {', '.join(models)} or tables {', '.join(tables)}.",
            remedy=nearest(path.split(".")[0], [*models, *tables]),
        )
    return Change(keys=path.removeprefix(f"{model}.").split("."), value=parsed, model=model)


def changed(before: Fields, changes: Sequence[Change]) -> tuple[Fields, list[str]]:
    """Return the fields after these changes, and a note on each other field that had to follow."""
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
    """Yield fields that follow the ones that are set: name, value, and a note that says so."""
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
        raise InputError(
            f"{'.'.join(keys)} is unknown: {first} is not a table.", remedy=f"Set {first} itself."
        )
    fields[first] = dict(table)
    _put(fields[first], rest, value)


@cache
def _defaults() -> Fields:
    return Recipe().fields


def toml(value: Any) -> str:
    """Return a value of JSON as TOML, tables in one line.

    >>> toml({"scale": [0.5, 1.0]})
    '{scale = [0.5, 1.0]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


MOST_BYTES = 1 << 19
"""Of a recipe; even one with a matrix of 100 classes has fewer."""
DEEPEST = 16
"""Tables and lists within each other; a recipe that can be used has five."""
TOO_DEEP = f"tables or lists nested more than {DEEPEST} deep"
DOTTED_KEY = re.compile(rf"""(?:(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}""")
"""Of more parts than can be used; TOML's reader takes time in their square."""


def read_recipes(
    source: str | Path, overrides: Sequence[str] = (), *, on_note: Notes = ignore_note
) -> tuple[Recipe, ...]:
    """Return one Recipe for each model of a recipe.

    `source` is the name of a shipped recipe (`shipped_recipes`), or a file that ends in .toml, .yaml or .yml.
    `overrides` are texts ``key=value``, values as in TOML, text without quotes too; they hold for every
    model, and ``NAME.key=value`` for the one of that name. ``augment.cutout=0.5`` reaches into a table.
    `on_note` gets a note where other fields follow: loss_options and mixing follow a changed loss,
    average_last and accumulate follow epochs and batch_size. Unknown names and values out of bounds are an
    InputError.

    >>> [recipe] = read_recipes("quick", ["epochs=1", "loss_options.label_smoothing=0.2"])
    >>> recipe.name, recipe.optimizer.epochs, recipe.loss.options
    ('quick', 1, {'label_smoothing': 0.2})
    >>> [recipe] = read_recipes("quick", ["loss=sce"], on_note=print)
    label_smoothing = 0.1 of the recipe is left out: symmetric_cross_entropy has no such option
    """
    stem, content = _read(source)
    models = content.pop("models", None) or {stem: {}}
    if not isinstance(models, dict) or not all(
        isinstance(name, str) and isinstance(fields, dict) for name, fields in models.items()
    ):
        raise InputError(
            f"models={models!r} is not a table of models.", remedy="Write one table [models.NAME] for each."
        )
    changes = [parse_change(text, models) for text in overrides]
    recipes: list[Recipe] = []
    notes: dict[str, list[str]] = {}
    for name, own in models.items():
        fields: Fields = {}
        layers = [_settings({"name": name, **content}), _settings(own)]
        layers += [[each for each in changes if each.model == model] for model in (None, name)]
        for at, layer in enumerate(layers):
            later = [each.keys for after in layers[at + 1 :] for each in after]
            fields, followed = changed(fields, [each for each in layer if each.keys not in later])
            for note in followed:
                notes.setdefault(note, []).append(name)
        recipes.append(Recipe.of(**fields))
    _check_same_folds(recipes)
    for note, names in notes.items():
        on_note(note if len(names) == len(models) else f"{', '.join(names)}: {note}")
    return tuple(recipes)


def shipped_recipes() -> dict[str, str]:
    """Return the names of the recipes that come with kiyome, and what each is about.

    >>> "quick" in shipped_recipes()
    True
    """
    files = sorted(path for path in _shipped().iterdir() if path.name.endswith(".toml"))
    return {
        path.name.removesuffix(".toml"): tomllib.loads(path.read_text("utf-8"))["about"] for path in files
    }


def recipe_text(recipes: Sequence[Recipe]) -> str:
    """Return the models as a TOML file that `read_recipes` reads back, with a sentence over each field.

    >>> recipe_text([Recipe()]).splitlines()[3]
    'architecture = "lite0"'
    """
    common = {key: value for key, value in recipes[0].as_dict().items() if key != "name"}
    common = {k: v for k, v in common.items() if all(recipe.as_dict()[k] == v for recipe in recipes)}
    sentences = _sentences()
    lines = [f"# {sentences[key]}\n{key} = {toml(value)}" for key, value in common.items()]
    for recipe in recipes:
        own = {key: v for key, v in recipe.as_dict().items() if key not in common and key != "name"}
        lines.append(f"\n[models.{json.dumps(recipe.name)}]")
        lines += [f"# {sentences[key]}\n{key} = {toml(value)}" for key, value in own.items()]
    return "\n".join(lines) + "\n"


def _read(source: str | Path) -> tuple[str, Fields]:
    path = Path(source)
    if path.suffix in (".toml", ".yaml", ".yml"):
        if not path.is_file():
            raise InputError(f"There is no recipe file {path}.", remedy="Check the path.")
        return path.stem, _parsed(path.name, _text(path), is_toml=path.suffix == ".toml")
    known = list(shipped_recipes())
    if str(source) not in known:
        raise InputError(
            f"The recipe {str(source)!r} is unknown.",
            expected=f"Expected a .toml or .yaml file, or one of {', '.join(known)}.",
            remedy=nearest(str(source), known),
        )
    return str(source), _parsed(str(source), (_shipped() / f"{source}.toml").read_text("utf-8"), is_toml=True)


def _shipped() -> Any:
    return resources.files("kiyome.training") / "recipes"


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The recipe {path} cannot be read as text ({error}).", remedy="Save it as text in UTF-8."
        ) from error
    if len(raw) > MOST_BYTES:
        raise InputError(
            f"The recipe {path} is larger than {MOST_BYTES >> 10} KiB.",
            remedy="Check that it is the right file.",
        )
    return text


def _parsed(name: str, text: str, *, is_toml: bool) -> Fields:
    try:
        content = _toml(text) if is_toml else _yaml(text)
        _refuse_depth(content)
    except RecursionError as error:
        raise _invalid(name, "tables or lists nested without end") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # YAML's reader raises all of them
        raise _invalid(name, error) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(
            f"The recipe {name} does not hold fields but {content!r}.",
            remedy="Write `epochs: 3`, for example.",
        )
    return content


def _invalid(name: str, reason: object) -> InputError:
    return InputError(f"The recipe {name} is not valid TOML or YAML: {reason}.", remedy="Correct the line.")


def _toml(text: str) -> Fields:
    if found := DOTTED_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"a key of more than {DEEPEST} parts (at line {line})")
    return tomllib.loads(text)


def _refuse_depth(content: Any) -> None:
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(DEEPEST):
        tables = [each.values() if isinstance(each, dict) else each for each in level]
        level = [inner for table in tables for inner in table if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError(TOO_DEEP)


def _settings(table: Fields) -> list[Change]:
    """Return what a table of a recipe sets, field by field."""
    return [Change(keys=[name], value=value) for name, value in table.items()]


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("A recipe in YAML", extra="torch") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """A loader with limited depth and no aliases, by which some hundred bytes can stand for billions."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            mark = self.peek_event().start_mark
            if self.check_event(yaml.AliasEvent):
                raise yaml.composer.ComposerError(None, None, "an alias; write out what it stands for", mark)
            if self.depth > DEEPEST:
                raise yaml.composer.ComposerError(None, None, TOO_DEEP, mark)
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        return yaml.load(text, Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


@cache
def _sentences() -> dict[str, str]:
    """The sentence under each field, from the source, in one line."""
    owners: list[type[Group]] = [Recipe, *GROUPS.values()]
    return {
        owner.renamed.get(node.target.id, node.target.id): " ".join(str(after.value.value).split())
        for owner in owners
        for node, after in pairwise(ast.walk(ast.parse(inspect.getsource(owner))))
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


def _check_same_folds(recipes: Sequence[Recipe]) -> None:
    titles = [recipe.title for recipe in recipes]
    if len(set(titles)) < len(titles):
        raise InputError(f"Two models have the same title ({', '.join(titles)}).", remedy="Rename one.")
    numbers = sorted({recipe.data.num_folds for recipe in recipes})
    if len(numbers) > 1:
        raise InputError(
            f"The models differ in num_folds ({', '.join(map(str, numbers))}).",
            expected="All models of a recipe share their folds.",
            remedy="Choose one number.",
        )
