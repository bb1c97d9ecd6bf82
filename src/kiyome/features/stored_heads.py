"""The heads of a run on disk: arrays by name in one file without pickle, and JSON for what they belong to.

Landmarks are rows of the run's own features, which lie beside the heads, so only their numbers are kept.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import write_bytes, write_text
from kiyome.errors import StaleArtifact
from kiyome.features.inputs import InputMap, to_unit_length
from kiyome.features.readings import Head, Heads
from kiyome.features.ridge import Ridge

FOLDER, ARRAYS, FACTS, FEATURES = "head", "arrays.npz", "head.json", "features.npy"


@dataclass(frozen=True, kw_only=True)
class HeadFacts:
    """What the heads of a run belong to, and how well they did on photos that they had not seen."""

    backbone: str
    """As `load_backbone` takes it."""
    weights: str | None
    """The path of its weights file, if it was loaded from one."""
    weights_sha256: str
    engine: str
    num_features: int
    num_rows: int
    accuracy_on_given: float
    """Out of fold."""
    log_loss: float
    """Out of fold, before the last calibration."""


def save_heads(heads: Heads, facts: HeadFacts, run: Path) -> None:
    """Write the heads into a run folder whose features.npy holds the rows that they were fitted on."""
    input_map = heads.input_map
    arrays: dict[str, Any] = {
        "mean": input_map.mean,
        "deviation": input_map.deviation,
        "directions": input_map.directions,
        "variances": input_map.variances,
        "landmark_rows": input_map.landmark_rows,
        "scale": np.float64(input_map.scale),
        "power": np.float64(heads.power),
        "logistic": np.stack([head.logistic for head in heads.of_folds]),
        "ridge": np.stack([head.ridge.coefficients for head in heads.of_folds]),
        "shares": np.stack([head.ridge.shares for head in heads.of_folds]),
        "sharpness": np.array([head.sharpness for head in heads.of_folds]),
    }
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    (run / FOLDER).mkdir(exist_ok=True)
    write_bytes(run / FOLDER / ARRAYS, content.getvalue())
    write_text(run / FOLDER / FACTS, json.dumps(vars(facts), indent=2) + "\n")


def has_heads(run: Path) -> bool:
    """Whether a run folder holds heads."""
    return (run / FOLDER / FACTS).is_file()


def load_heads(run: Path) -> tuple[Heads, HeadFacts]:
    """Return the heads of a run folder, and what they belong to.

    Raises
    ------
    StaleArtifact
        If the folder holds no heads.
    """
    try:
        facts = HeadFacts(**json.loads((run / FOLDER / FACTS).read_bytes()))
        with np.load(run / FOLDER / ARRAYS, allow_pickle=False) as stored:
            arrays = dict(stored)
        features = np.load(run / FEATURES, mmap_mode="r", allow_pickle=False)
        return _heads(arrays, features), facts
    except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError, IndexError) as error:
        raise StaleArtifact(
            f"{run} holds no head that can be read ({error}).",
            expected="`kiyome find` on photos writes one.",
            remedy="Run `kiyome find` on the photos again, into another folder.",
        ) from error


def _heads(arrays: dict[str, NDArray[Any]], features: NDArray[np.float16]) -> Heads:
    learned = {
        name: arrays[name] for name in ("mean", "deviation", "directions", "variances", "landmark_rows")
    }
    without = InputMap(**learned, landmarks=np.empty((0, 0), np.float32), scale=float(arrays["scale"]))
    landmarks = to_unit_length(without.clipped(features[arrays["landmark_rows"]]))
    of_folds = zip(*(arrays[name] for name in ("logistic", "ridge", "shares", "sharpness")), strict=True)
    return Heads(
        input_map=InputMap(**learned, landmarks=landmarks, scale=without.scale),
        of_folds=tuple(
            Head(logistic, Ridge(coefficients, shares), tuple(sharpness.tolist()))
            for logistic, coefficients, shares, sharpness in of_folds
        ),
        power=float(arrays["power"]),
    )
