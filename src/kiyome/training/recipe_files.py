"""Recipes on disk: TOML or YAML files and those that ship with kiyome, with changes from the command line.

    about = "..."                 fields at the top hold for all models of the recipe
    epochs = 10
    [models.resnext]              each table is one model, with what differs; none means one model
    architecture = "resnext50_32x4d.a1_in1k"

`kiyome train --recipe NAME epochs=3 augment.cutout=0.5 resnext.weights=FILE` changes fields of every model,
or of one (`training/recipe_files.py`).
"""

import ast
import dataclasses
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
    """The models of a recipe, one Recipe each.

    Parameters
    ----------
    source
        The name of a shipped recipe (`shipped_recipes`), or a file that ends in .toml, .yaml or .yml.
    overrides
        Texts ``key=value``, values as in TOML; text needs no quotes. They hold for every model, and
        ``NAME.key=value`` for the one of that name. ``augment.cutout=0.5`` reaches into a table.
    on_note
        Called with what people should hear. Of the recipe's loss_options another loss keeps those that it
        has; mixing, average_last and accumulate follow a changed loss, epochs and batch_size.

    Raises
    ------
    InputError
        With the known names, where a recipe, a field or a value is unknown or out of bounds.
    MissingExtra
        For YAML without PyYAML.

    Examples
    --------
    >>> [recipe] = read_recipes("quick", ["epochs=1", "loss_options.label_smoothing=0.2"])
    >>> recipe.name, recipe.epochs, recipe.loss_options
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
            "`models` holds one table a model.", came=repr(models), remedy="Write [models.NAME]."
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
            fields, told = changed(fields, [each for each in layer if each.keys not in later])
            for note in told:
                notes.setdefault(note, []).append(name)
        recipes.append(Recipe(**fields))
    _check_one_deal(recipes)
    for note, names in notes.items():
        on_note(note if len(names) == len(models) else f"{', '.join(names)}: {note}")
    return tuple(recipes)


def shipped_recipes() -> dict[str, str]:
    """The names of the recipes that come with kiyome, and what is said about each.

    >>> "quick" in shipped_recipes()
    True
    """
    files = sorted(path for path in _shipped().iterdir() if path.name.endswith(".toml"))
    return {
        path.name.removesuffix(".toml"): tomllib.loads(path.read_text("utf-8"))["about"] for path in files
    }


def recipe_text(recipes: Sequence[Recipe]) -> str:
    """The models as a TOML file that `read_recipes` reads back, with a sentence over each field.

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
            raise InputError(
                "A recipe is a file or a name.", came=f"no file {path}", remedy="Check the path."
            )
        return path.stem, _parsed(path.name, _text(path), is_toml=path.suffix == ".toml")
    known = list(shipped_recipes())
    if str(source) not in known:
        must = f"A recipe is a .toml or .yaml file, or one of {', '.join(known)}."
        raise InputError(must, came=repr(str(source)), remedy=nearest(str(source), known))
    return str(source), _parsed(str(source), (_shipped() / f"{source}.toml").read_text("utf-8"), is_toml=True)


def _shipped() -> Any:
    return resources.files("kiyome.training") / "recipes"


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        must = "A recipe is a file of text in UTF-8."
        raise InputError(must, came=f"{path}: {error}", remedy="Save it as UTF-8.") from error
    if len(raw) > MOST_BYTES:
        must = f"A recipe has at most {MOST_BYTES >> 10} KiB."
        raise InputError(must, came=f"more in {path}", remedy="Check that it is the right file.")
    return text


def _parsed(name: str, text: str, *, is_toml: bool) -> Fields:
    try:
        content = _toml(text) if is_toml else _yaml(text)
        _refuse_depth(content)
    except RecursionError as error:
        raise _unsound(f"{name}: tables or lists nested without end") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # YAML's reader raises all of them
        raise _unsound(f"{name}: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError("A recipe holds fields.", came=f"{name}: {content!r}", remedy="Write `epochs: 3`.")
    return content


def _unsound(came: str) -> InputError:
    return InputError("A recipe is sound TOML or YAML.", came=came, remedy="Correct the line.")


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
    """What a table of a recipe sets, field by field."""
    return [Change(keys=[name], value=value) for name, value in table.items()]


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("A recipe in YAML", extra="torch") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Without depth and without aliases, by which some hundred bytes can stand for billions."""

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
    [tree] = ast.parse(inspect.getsource(Recipe)).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    pairs = pairwise(body)
    return {
        node.target.id: " ".join(str(after.value.value).split())
        for node, after in pairs
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


def _check_one_deal(recipes: Sequence[Recipe]) -> None:
    titles = [recipe.title for recipe in recipes]
    if len(set(titles)) < len(titles):
        must = "Models are told apart by name and form."
        raise InputError(must, came=", ".join(titles), remedy="Rename one.")
    deals = {recipe.num_folds for recipe in recipes}
    if len(deals) > 1:
        raise InputError(
            "All models share one deal of folds.", came=f"num_folds {deals}", remedy="Choose one."
        )
