"""From logits to probabilities, as the loss that trained the network reads them. N samples, K classes.

    softmax            every loss but two
    tempered_softmax   bi_tempered, at its temperature t2
    polynomial         taylor_softmax, at its order

A link is stored beside the model, so that whoever predicts needs neither the loss nor its defaults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from kiyome.errors import StaleArtifact
from kiyome.losses.bi_tempered import tempered_softmax
from kiyome.losses.by_name import full_name, loss_options
from kiyome.losses.cross_entropies import polynomial_softmax


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
        """Scores (N, K) in the order of the probabilities: the logits, or log p where that is another."""
        return self(logits).log() if self.name == "polynomial" else logits

    def as_dict(self) -> dict[str, Any]:
        """The link as JSON can hold it."""
        return {"name": self.name, **self.options}


SOFTMAX = Link()


def link_of_loss(loss: str, options: Mapping[str, Any]) -> Link:
    """The link of a network that was trained with this loss and these options.

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
    """The link that member.json names; softmax where it names none, by which such members were scored.

    Raises
    ------
    StaleArtifact
        Where the link is unknown here.
    """
    options = dict(facts.get("link", SOFTMAX.as_dict()))
    name = options.pop("name", None)
    if name not in LINKS:
        raise StaleArtifact(
            f"Logits become probabilities by {', '.join(LINKS)}.",
            came=f"{name!r} in member.json of {facts.get('member')}",
            remedy="Install the version of kiyome that trained this member.",
        )
    return Link(name, options)


LINKS: dict[str, Callable[..., Tensor]] = {
    "softmax": softmax,
    "tempered_softmax": tempered_softmax,
    "polynomial": polynomial_softmax,
}
