"""How fast photos become features and features become probabilities, and what the short cuts cost.

    python benchmarks/features.py [FOLDER]

On 2,624 solar cells (elpv-dataset, CC BY-NC-SA 4.0; defect at a grade of 2/3 and above) lite0 runs under
OpenVINO in bf16 and float32, and as timm's tf_efficientnet_lite0 with the same weights under torch and
under OpenVINO. "a core": photos through the network a second of CPU time, decoding apart, best of three
alternating rounds; torch on one thread. "wall": on this machine as loaded as it was. Quality is out of fold,
over five deals of five folds; "change" is against lite0 in float32 on the same folds.
FOLDER holds mango_leaf/mango_leaf_224.npz (MangoLeafBD) for the figures on injected noise.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from kiyome.features import cross_fit_head, logistic
from kiyome.folds import assign_folds
from kiyome.images.decode import decode_photo
from kiyome.models import load_backbone
from kiyome.models.backbone import fixed_batches
from kiyome.models.efficientnet_lite import load_lite, weights_file
from kiyome.noise.transition import class_dependent_transition, inject_label_noise
from measured import SHARED_DATA, show

SEEDS = range(5)
ROUNDS = 3
REFERENCE = "lite0, openvino f32"


def report(data: Path) -> Iterator[str]:
    """The lines to print."""
    crops, labels = solar_cells()
    yield f"\nEngines, n = {len(crops)} solar cells of 224 px"
    engines = lite0_engines()
    features = {name: embed(crops) for name, embed in engines.items()}
    yield from speeds(engines, crops[:256])
    yield from qualities(features, labels)
    values = features["lite0, openvino bf16"].astype(np.float16)
    yield "\nHeads: 5 folds, regularization chosen inside; CPU seconds of one run"
    yield from heads("solar cells", values, labels)
    leaves, leaf_labels, groups = mango_leaves(data)
    noisy = with_noise(leaf_labels, 0)
    yield from heads("mango leaves, 10 % noise", leaves, noisy, leaf_labels, groups)
    yield from large_heads()
    yield f"\nRegularization, n = {len(leaves)} mango leaves with 10 % noise, {len(SEEDS)} seeds"
    yield from regularizations(leaves, leaf_labels, groups)


def solar_cells() -> tuple[np.ndarray, np.ndarray]:
    import elpv_dataset

    folder = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
    prepare = load_lite().prepare
    crops = [prepare(decode_photo((folder / path).read_bytes()).pixels) for path, _, _ in rows]
    return np.stack(crops), np.array([float(grade) > 0.5 for _, grade, _ in rows]).astype(int)


def mango_leaves(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(data / "mango_leaf" / "mango_leaf_224.npz") as stored:
        content, offsets = stored["jpeg"], stored["offsets"]
        photos = [content[start:stop].tobytes() for start, stop in pairwise(offsets)]
        labels, groups = stored["label"].astype(int), stored["group"]
    backbone = load_lite()
    crops = np.stack([backbone.prepare(decode_photo(photo).pixels) for photo in photos])
    return backbone.embed(crops).astype(np.float16), labels, groups


def lite0_engines() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Engine in words -> embed, all with the same weights."""
    import safetensors.torch
    import timm
    import torch

    torch.set_num_threads(1)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    tensors = torch.load(weights_file(), weights_only=True).values()
    state = {name: own.contiguous() for name, own in zip(model.state_dict(), tensors, strict=True)}
    model.load_state_dict(state)
    model.reset_classifier(0)

    def plain(crops: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            inputs = (
                torch.from_numpy(batch).permute(0, 3, 1, 2) / 127.5 - 1
                for _, batch in fixed_batches(crops, 32)
            )
            return np.concatenate([model(batch.contiguous()).numpy() for batch in inputs])[: len(crops)]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lite0.safetensors"
        safetensors.torch.save_file(state, path)
        by_timm = {
            engine: load_backbone("tf_efficientnet_lite0", weights=path, engine=engine)
            for engine in ("openvino", "torch")
        }
    return {
        "lite0, openvino bf16": load_lite(precision="bf16").embed,
        REFERENCE: load_lite(precision="f32").embed,
        "timm, " + by_timm["openvino"].engine: by_timm["openvino"].embed,
        "timm, " + by_timm["torch"].engine: by_timm["torch"].embed,
        "timm, torch f32 as it comes": plain,
    }


def speeds(engines: dict[str, Callable[[np.ndarray], np.ndarray]], crops: np.ndarray) -> Iterator[str]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, embed in engines.items():
            wall, cpu = time.perf_counter(), time.process_time()
            embed(crops)
            seconds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    for name, rounds in seconds.items():
        cpu, wall = (len(crops) / np.array(part) for part in zip(*rounds, strict=True))
        yield (
            f"{name:<38} {cpu.max():5.0f} photos/s a core ({cpu.min():.0f} to {cpu.max():.0f})   "
            f"wall {np.median(wall):5.0f} ({wall.min():.0f} to {wall.max():.0f})"
        )


def qualities(features: dict[str, np.ndarray], labels: np.ndarray) -> Iterator[str]:
    """Log loss and accuracy on given labels of each engine's features."""
    results = {}
    for name, values in features.items():
        fits = [
            cross_fit_head(values, labels, assign_folds(labels, seed=seed), num_classes=2) for seed in SEEDS
        ]
        results[name] = np.array([(fit.log_loss, fit.accuracy_on_given) for fit in fits])
    for name, result in results.items():
        (loss, accuracy), (loss_sd, accuracy_sd) = result.mean(axis=0), result.std(axis=0, ddof=1)
        change = result - results[REFERENCE]
        yield (
            f"{name:<38} log loss {loss:.4f} sd {loss_sd:.4f}, change {change[:, 0].mean():+.4f} "
            f"sd {change[:, 0].std(ddof=1):.4f};  accuracy on given {accuracy:.4f} sd {accuracy_sd:.4f}, "
            f"change {change[:, 1].mean():+.4f} sd {change[:, 1].std(ddof=1):.4f}"
        )


def heads(
    name: str,
    features: np.ndarray,
    labels: np.ndarray,
    true_labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Iterator[str]:
    folds = assign_folds(labels, groups=groups)
    kept = logistic.TOLERANCE
    for tolerance in (1e-2, kept, 1e-6):
        logistic.TOLERANCE = tolerance
        yield timed_head(f"{name}, tolerance {tolerance:g}", features, labels, true_labels, folds)
    logistic.TOLERANCE = kept


def timed_head(
    name: str,
    features: np.ndarray,
    labels: np.ndarray,
    true_labels: np.ndarray | None,
    folds: np.ndarray,
) -> str:
    num_classes = int(labels.max()) + 1
    wall, cpu = time.perf_counter(), time.process_time()
    fit = cross_fit_head(features, labels, folds, num_classes=num_classes)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    kind, compared = ("given", labels) if true_labels is None else ("true", true_labels)
    accuracy = (fit.pred_probs.argmax(axis=1) == compared).mean()
    return (
        f"{name:<42} {features.shape[0]} x {features.shape[1]} x {num_classes}: {cpu:5.1f} s CPU, "
        f"{wall:5.1f} s wall; log loss {fit.log_loss:.4f}, accuracy on {kind} {accuracy:.4f}, "
        f"C {sorted(set(fit.regularization))}"
    )


def large_heads() -> Iterator[str]:
    """50,000 x 1,280 x 10: five clusters a class in 64 dimensions, seen through rectified random features."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 50, 50_000)
    inner = 0.7 * rng.normal(size=(50, 64))[cluster] + rng.normal(size=(50_000, 64))
    outer = inner.astype(np.float32) @ (rng.normal(size=(64, 1280)) / 8).astype(np.float32)
    features = np.maximum(outer + 0.5 * rng.normal(size=outer.shape), 0).astype(np.float16)
    true_labels = cluster % 10
    labels = with_noise(true_labels, 0)
    yield timed_head("synthetic, 10 % noise", features, labels, true_labels, assign_folds(labels))


def with_noise(true_labels: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    transition = class_dependent_transition(int(true_labels.max()) + 1, 0.1, rng)
    return inject_label_noise(true_labels, transition, rng)


def regularizations(features: np.ndarray, true_labels: np.ndarray, groups: np.ndarray) -> Iterator[str]:
    """Accuracy on true labels out of fold: C chosen inside the folds, against scikit-learn as it comes."""
    results = []
    for seed in SEEDS:
        labels = with_noise(true_labels, seed)
        folds = assign_folds(labels, groups=groups, seed=seed)
        fit = cross_fit_head(features, labels, folds, num_classes=8)
        as_it_comes = default_predictions(features.astype(np.float32), labels, folds)
        results.append(
            [(guess == true_labels).mean() for guess in (fit.pred_probs.argmax(axis=1), as_it_comes)]
        )
    for name, values in zip(
        ("C chosen inside the folds", "scikit-learn's C = 1"), np.array(results).T, strict=True
    ):
        yield f"{name:<38} accuracy on true {values.mean():.4f} sd {values.std(ddof=1):.4f}"


def default_predictions(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    guess = np.empty_like(labels)
    for fold in np.unique(folds):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        guess[folds == fold] = model.fit(features[folds != fold], labels[folds != fold]).predict(
            features[folds == fold]
        )
    return guess


if __name__ == "__main__":
    show(
        __file__,
        report(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA),
        "numpy",
        "scikit-learn",
        "openvino",
        "torch",
        "timm",
    )
