"""From a finished run to ONNX files that programs without torch can run, each checked on real photos.

The folders that timm loads need no export: they lie in the run as ``members/*/models/*``.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import default_cache_folder, write_bytes, write_text
from kiyome.artifacts.table_files import load_table
from kiyome.errors import InputError, KiyomeError, UnreadablePhoto
from kiyome.features import has_heads
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.reading.photo_list import read_photo_list
from kiyome.workflows.head_of_run import open_head

if TYPE_CHECKING:
    from torch import nn

    from kiyome.models import Backbone, Network
    from kiyome.training.recipe import Recipe

TOLERANCE = 1e-4
"""Largest difference between two probabilities that counts as rounding."""
NUM_PHOTOS = 32
"""Number of photos that each file is checked on."""


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The files that were written, and their largest difference from torch."""

    folder: Path
    files: tuple[Path, ...]
    """One for each model; a JSON file of the same stem describes how to use it."""
    largest_difference: float
    """Between probabilities of ONNX Runtime and of torch, over all files, photos and classes."""
    num_photos: int
    """Photos that each file was checked on."""

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "folder": str(self.folder),
            "files": [path.name for path in self.files],
            "megabytes": round(sum(path.stat().st_size for path in self.files) / 1e6, 1),
            "largest_difference": self.largest_difference,
            "tolerance": TOLERANCE,
            "photos": self.num_photos,
        }


@shows_progress
def export(
    run: Path | str,
    photos: Path | str,
    *,
    output: Path | str | None = None,
    cache_folder: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> ExportResult:
    """Write each model of a finished run as ONNX, once its outputs agree with torch's on real photos.

    Each file takes ``photos`` (n, S, S, 3) uint8 RGB, cropped as the JSON file beside it describes, and gives
    ``pred_probs`` (n, K): normalization and the loss's own link from logits to probabilities are inside, any
    n goes. The ensemble is the mean over files, each member counting alike.

    Parameters
    ----------
    run
        The folder of a finished `train` run, or of a `find` run on photos, whose backbone and heads become
        one file; each file in it is checked first.
    photos
        Real photos to check with: a folder, or a table with their ids. A sample of them is used.
    output
        Where the files go; ``onnx`` in the run folder if not given.
    cache_folder
        Where decoded photos are kept between runs.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Raises
    ------
    StaleArtifact
        Where the run did not finish, or a file in it was changed.
    MissingExtra
        Without onnx, onnxscript or onnxruntime.
    KiyomeError
        Where outputs differ by more than 1e-4; no file of that model is written.
    """
    from kiyome.losses import stored_link
    from kiyome.models import load_timm_folder
    from kiyome.models.onnx_file import onnx_of, run_torch
    from kiyome.training.recipe import Recipe

    run = Path(run)
    manifest = verify_run(run)
    if manifest["command"] != "train" and not has_heads(run):
        raise InputError(
            f"{run} is a run of {manifest['command']!r}, which has no models.",
            expected="Expected a run of `kiyome train`, or of `kiyome find` on photos.",
            remedy="Name the folder of such a run; after `kiyome find --with`, one without --with.",
        )
    folder = Path(output) if output else run / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    paths, cache = _photos_to_check(photos), Path(cache_folder or default_cache_folder())
    if manifest["command"] == "find":
        return _export_heads(run, paths, folder, manifest["table"]["classes"])
    deep_bits = load_table(run / "table.parquet").deep_bits
    models, files, differences = list(_models(run)), [], [0.0]
    for number, (model, facts) in enumerate(models, start=1):
        recipe, link = Recipe.of(**facts["recipe"]), stored_link(facts)
        network = load_timm_folder(model).with_link(link)
        graph = _graph(recipe, network, paths, cache=cache, deep_bits=deep_bits)
        content = onnx_of(graph.module, image_size=graph.size, name=network.architecture)
        expected, name = run_torch(graph.module, graph.crops), f"{facts['member']}, {model.name}"
        differences.append(check_probs(content, graph.crops, expected, name=name))
        files.append(folder / f"{facts['member']}-{model.name}.onnx")
        write_bytes(files[-1], content)
        described = {
            "member": facts["member"],
            "architecture": recipe.model.architecture,
            **_interface(content, manifest["table"]["classes"], graph),
        }
        described["output"]["link"] = link.as_dict()
        described["checked"] = {
            "photos": len(graph.crops),
            "largest_difference": differences[-1],
            "tolerance": TOLERANCE,
        }
        write_text(files[-1].with_suffix(".json"), json.dumps(described, indent=2) + "\n")
        on_progress("export", number, len(models))
    return ExportResult(
        folder=folder,
        files=tuple(files),
        largest_difference=max(differences),
        num_photos=len(graph.crops),
    )


class _Graph(NamedTuple):
    """What becomes a file: a module from crops to probabilities, and how crops are made."""

    module: "nn.Module"
    crops: NDArray[np.uint8]
    """(n, S, S, 3) of the photos to check with."""
    made_for: "Network | Backbone"
    size: int
    share: float
    """Of the short side."""
    whole: bool
    """The whole photo is made square."""


def _graph(recipe: "Recipe", network: "Network", paths: list[str], *, cache: Path, deep_bits: int) -> _Graph:
    """A member of a run: a head with the frozen network that gives its features, or a whole network."""
    if recipe.model.frozen:
        return _frozen_graph(recipe, network, paths, deep_bits=deep_bits)
    from kiyome.models.onnx_file import PhotosToProbs

    whole = recipe.data.crop == "whole"
    return _Graph(
        module=PhotosToProbs(network),
        crops=_views(paths, recipe, network, cache, deep_bits=deep_bits),
        made_for=network,
        size=recipe.data.image_size,
        share=1.0 if whole else network.crop_pct,
        whole=whole,
    )


def _frozen_graph(recipe: "Recipe", network: "Network", paths: list[str], *, deep_bits: int) -> _Graph:
    from kiyome.models import load_backbone
    from kiyome.models.torch_backbone import MemberOnBackbone, torch_backbone

    weights = recipe.model.weights or None
    backbone = replace(load_backbone(recipe.model.architecture, weights=weights), deep_bits=deep_bits)
    module = MemberOnBackbone(torch_backbone(backbone, weights=weights), network)
    return _backbone_graph(paths, module, backbone)


def _backbone_graph(paths: list[str], module: "nn.Module", backbone: "Backbone") -> _Graph:
    """A module that begins with a frozen network."""
    crops, reasons = [], []
    for path in paths:
        try:
            crops.append(backbone.prepare(_decoded(path, backbone)))
        except UnreadablePhoto as error:
            reasons.append(error)
    if not crops:
        raise InputError(f"None of the photos can be read: {reasons[0]}", remedy="Name other photos.")
    return _Graph(module.eval(), np.stack(crops), backbone, backbone.size, backbone.crop_pct, whole=False)


def _export_heads(run: Path, paths: list[str], folder: Path, classes: list[str]) -> ExportResult:
    """Write the backbone and the heads of a `find` run as one file."""
    from kiyome.features.heads_module import HeadsModule
    from kiyome.models.onnx_file import onnx_of, run_torch
    from kiyome.models.torch_backbone import torch_backbone

    heads, facts, backbone, _ = open_head(run)
    graph = _backbone_graph(
        paths, HeadsModule(torch_backbone(backbone, weights=facts.weights), heads), backbone
    )
    content = onnx_of(graph.module, image_size=graph.size, name=backbone.name)
    expected = run_torch(graph.module, graph.crops)
    difference = check_probs(content, graph.crops, expected, name=backbone.name)
    of_engine = np.abs(heads.pred_probs(backbone.embed(graph.crops)) - expected).max()
    path = folder / f"find-{backbone.name}.onnx"
    write_bytes(path, content)
    described = {
        "backbone": backbone.name,
        **_interface(content, classes, graph),
        "out_of_fold": {
            "rows": facts.num_rows,
            "accuracy_on_given": facts.accuracy_on_given,
            "log_loss": facts.log_loss,
        },
        "checked": {
            "photos": len(graph.crops),
            "largest_difference": difference,
            "tolerance": TOLERANCE,
            "largest_difference_to_engine_of_run": float(of_engine),
        },
    }
    write_text(path.with_suffix(".json"), json.dumps(described, indent=2) + "\n")
    return ExportResult(
        folder=folder, files=(path,), largest_difference=difference, num_photos=len(graph.crops)
    )


def _decoded(path: str, backbone: "Backbone") -> NDArray[np.uint8]:
    data = read_photo_file(path)
    return decode_photo(data, shrink_to=backbone.short_side, deep_bits=backbone.deep_bits).pixels


def check_probs(
    content: bytes, pixels: NDArray[np.uint8], expected: NDArray[np.float32], *, name: str
) -> float:
    """Return the largest difference between probabilities of ONNX Runtime and those expected."""
    from kiyome.models.onnx_file import run_onnx

    probs = run_onnx(content, pixels[:1], pixels)  # one photo alone, too, since n is free
    difference = float(np.abs(probs - np.concatenate([expected[:1], expected])).max())
    if not difference <= TOLERANCE:  # also NaN
        raise KiyomeError(
            f"ONNX and torch differ by {difference:g} for {name} on {len(pixels)} photos: not written.",
            expected=f"Expected probabilities that agree to within {TOLERANCE:g}.",
            remedy="Use the folder that timm loads instead, or other versions of torch and onnxruntime.",
        )
    return difference


def _photos_to_check(photos: Path | str) -> list[str]:
    """Up to 32 photos, evenly spread over the set."""
    paths = [path for path in read_photo_list(photos, images_option=None).paths if Path(path).is_file()]
    if not paths:
        raise InputError(f"There are no photos in {photos} to check with.", remedy="Name other photos.")
    return [paths[row] for row in np.unique(np.linspace(0, len(paths) - 1, NUM_PHOTOS).astype(int))]


def _views(
    paths: list[str], recipe: "Recipe", network: "Network", cache: Path, *, deep_bits: int
) -> NDArray[np.uint8]:
    """The plain views (n, S, S, 3) of the photos, as at prediction."""
    from kiyome.images.loader import Loader
    from kiyome.images.pixel_cache import cache_photos

    stored = replace(recipe.data.stored_size, deep_bits=deep_bits)
    photos = cache_photos(paths, stored=stored, folder=cache)
    rows = np.flatnonzero(photos.readable)
    if not len(rows):
        reason = next(reason for reason in photos.reasons if reason)
        raise InputError(f"None of the photos can be read: {reason}.", remedy="Name other photos.")
    view = recipe.data.prediction_view(0, crop_pct=network.crop_pct)
    loader = Loader(photos=photos, rows=rows, augment=view, batch_size=len(rows), seed=0)
    return np.concatenate([np.array(batch.inputs) for batch in loader.epoch(view=0)])


def _models(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each model's folder, with the facts of its member."""
    from kiyome.training.member import read_member_facts

    for folder, facts in read_member_facts(run):
        for name in facts["models"]:
            yield folder / name, facts


def _interface(content: bytes, classes: list[str], graph: _Graph) -> dict[str, Any]:
    """The input, the output and the preparation of photos."""
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "classes": classes,
        "input": {
            "name": "photos",
            "type": "uint8",
            "shape": ["n", graph.size, graph.size, 3],
            "colors": "RGB",
        },
        "output": {"name": "pred_probs", "type": "float32", "shape": ["n", len(classes)]},
        "preparation": {
            "crop": "the whole photo, made square" if graph.whole else "the square in the middle",
            "share_of_short_side": graph.share,
            "resize_to": [graph.size, graph.size],
            "turn_by_exif": True,
            "normalization": "inside the graph",
            "mean": list(graph.made_for.mean),
            "std": list(graph.made_for.std),
        },
    }
