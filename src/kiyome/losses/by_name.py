"""The losses by name, for recipes, and their links from logits to probabilities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from kiyome.errors import InputError, StaleArtifact, nearest
from kiyome.losses import bounded, correction, cross_entropies
from kiyome.losses.early_learning import EarlyLearning


def softmax(logits: Tensor) -> Tensor:
    """Probabilities (N, K) of logits, torch's own."""
    return logits.softmax(1)


@dataclass(frozen=True)
class Link:
    """A function from logits to probabilities (N, K), by name and options.

    >>> import torch
    >>> Link("tempered_softmax", {"temperature": 4.0})(torch.tensor([[3.0, 0.0, 0.0]]))
    tensor([[0.3597, 0.3201, 0.3201]])
    """

    name: str = "softmax"
    """A key of LINKS."""
    options: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, logits: Tensor) -> Tensor:
        """Probabilities (N, K) of these logits."""
        probs: Tensor = LINKS[self.name](logits, **self.options)
        return probs

    def scores(self, logits: Tensor) -> Tensor:
        """Return scores (N, K) in the order of the probabilities: logits, or log p if that differs."""
        return self(logits).log() if self.name == "polynomial" else logits

    def as_dict(self) -> dict[str, Any]:
        """Return the link as JSON can hold it."""
        return {"name": self.name, **self.options}


SOFTMAX = Link()


def link_of_loss(loss: str, options: Mapping[str, Any]) -> Link:
    """Return the link of a network trained with this loss and these options.

    >>> link_of_loss("bi_tempered", {"t1": 0.7}), link_of_loss("focal", {}) == SOFTMAX
    (Link(name='tempered_softmax', options={'temperature': 1.4}), True)
    """
    name, values = full_name(loss)[0], {**loss_options(loss), **options}
    if name == "bi_tempered":
        return Link("tempered_softmax", {"temperature": values["t2"]})
    if name == "taylor_softmax":
        return Link("polynomial", {"order": values["order"]})
    return SOFTMAX


def stored_link(facts: Mapping[str, Any]) -> Link:
    """Return the link in member.json, softmax for older members; StaleArtifact for an unknown link."""
    options = dict(facts.get("link", SOFTMAX.as_dict()))
    name = options.pop("name", None)
    if name not in LINKS:
        raise StaleArtifact(
            f"member.json of {facts.get('member')} has the unknown link {name!r}.",
            expected=f"Known links are {', '.join(LINKS)}.",
            remedy="Install the version of kiyome that trained this member.",
        )
    return Link(name, options)


LINKS: dict[str, Callable[..., Tensor]] = {
    "softmax": softmax,
    "tempered_softmax": bounded.tempered_softmax,
    "polynomial": cross_entropies.polynomial_softmax,
}

LossFunction = Callable[..., Tensor]


def make_loss(name: str, **options: Any) -> LossFunction:
    """Return the loss of that name with its options set: a function ``(logits, targets) -> (N,)``.

    The name is a key of LOSSES or SHORT_NAMES; options that are not given keep their defaults.
    "early_learning" gives an EarlyLearning, which takes ``(logits, targets, rows)``. InputError for an
    unknown name or option (it lists the known ones), a missing one, or a value out of range.

    >>> loss_fn = make_loss("bi_tempered", t1=0.8, t2=1.4)
    >>> loss_fn(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.1456])
    """
    name, implied = full_name(name)
    options = {**implied, **options}
    _check_options(name, options)
    if LOSSES[name] is EarlyLearning:
        return EarlyLearning(**options)
    loss_fn = partial(LOSSES[name], **options)
    num_classes = len(options.get("transition_matrix", "01"))
    loss_fn(torch.zeros(1, max(num_classes, 2)), torch.tensor([0]))  # one sample, to check values now
    return loss_fn


def loss_options(name: str) -> dict[str, Any]:
    """Return the options of a loss with their defaults; `inspect.Parameter.empty` where a value is required.

    >>> loss_options("bi_tempered")
    {'t1': 0.8, 't2': 1.4, 'label_smoothing': 0.0}
    """
    name, implied = full_name(name)
    parameters = signature(LOSSES[name]).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
    return {**defaults, **implied}


def full_name(name: str) -> tuple[str, dict[str, Any]]:
    """Return the key of LOSSES for a name, and the options that a short name sets.

    >>> full_name("sce"), full_name("ls")
    (('symmetric_cross_entropy', {}), ('cross_entropy', {'label_smoothing': 0.1}))
    """
    if name in LOSSES:
        return name, {}
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    expected = f"Expected one of {', '.join(LOSSES)}, or in short {', '.join(SHORT_NAMES)}."
    raise InputError(
        f"The loss {name!r} is unknown.",
        expected=expected,
        remedy=nearest(str(name), [*LOSSES, *SHORT_NAMES]),
    )


def _check_options(name: str, options: dict[str, Any]) -> None:
    known = loss_options(name)
    for option in options:
        if option not in known:
            expected = f"Its options are: {', '.join(known) or 'none'}."
            raise InputError(
                f"The loss {name} has no option {option!r}.", expected=expected, remedy=nearest(option, known)
            )
    for option, default in known.items():
        if default is Parameter.empty and option not in options:
            raise InputError(
                f"The loss {name} needs the option {option}.",
                remedy=f"Give {option} a value, in a recipe as loss_options.{option}=VALUE.",
            )


LOSSES: dict[str, LossFunction] = {
    "active_passive": bounded.active_passive,
    "backward_correction": correction.backward_correction,
    "bi_tempered": bounded.bi_tempered,
    "bootstrap": cross_entropies.bootstrap,
    "confidence_regularized": cross_entropies.confidence_regularized,
    "cross_entropy": cross_entropies.cross_entropy,
    "early_learning": EarlyLearning,
    "focal": cross_entropies.focal,
    "forward_correction": correction.forward_correction,
    "generalized_cross_entropy": bounded.generalized_cross_entropy,
    "mean_absolute_error": bounded.mean_absolute_error,
    "normalized_cross_entropy": bounded.normalized_cross_entropy,
    "normalized_focal": bounded.normalized_focal,
    "reverse_cross_entropy": bounded.reverse_cross_entropy,
    "symmetric_cross_entropy": bounded.symmetric_cross_entropy,
    "taylor_cross_entropy": bounded.taylor_cross_entropy,
    "taylor_softmax": cross_entropies.taylor_softmax,
}

SHORT_NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "apl": ("active_passive", {}),
    "ce": ("cross_entropy", {}),
    "cores2": ("confidence_regularized", {}),
    "elr": ("early_learning", {}),
    "gce": ("generalized_cross_entropy", {}),
    "ls": ("cross_entropy", {"label_smoothing": 0.1}),
    "mae": ("mean_absolute_error", {}),
    "nce": ("normalized_cross_entropy", {}),
    "nfl": ("normalized_focal", {}),
    "rce": ("reverse_cross_entropy", {}),
    "sce": ("symmetric_cross_entropy", {}),
}
"""Abbreviations of the field: a key of LOSSES, and options that the name implies (`ls`: label smoothing)."""
