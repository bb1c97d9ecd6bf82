"""What cleaning and soft labels do, and what the leak of global forms is worth, where the truth is known.

    python benchmarks/clean_and_soft.py WORK [SEED ...]

Rows, labels, folds and recipe are those of countermeasures.py (1,600 mango leaves, 20 % class-dependent
noise, `quick` with plain cross entropy); a plain run that it left in WORK is read, not made again. Each form
is scored on all rows, each held out, against given and true labels; beside it stands the score on rows that
were not flagged, which flatters. WORK keeps finished runs, so a second call goes on. Seeds 0, 1 and 2 if none
are named.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import kiyome
from kiyome.errors import StaleArtifact
from kiyome.reading.finished_run import FinishedRun, open_run
from measured import show
from noisy_leaves import NUM_PHOTOS, PLAIN, NoisyLeaves, noisy_leaves

FORMS = {
    "all rows": [],
    "clean, nested": ["leave_out=nested"],
    "clean, global": ["leave_out=global:{plain}"],
    "soft, nested": ["soft_labels=nested"],
    "soft, global": ["soft_labels=global:{plain}"],
}
NOT_FLAGGED = "out_of_fold_rows_not_flagged_only"
COLUMNS = ("given", "true", "given, rows not flagged only", "share not flagged")


def report(work: Path, seeds: list[int]) -> Iterator[str]:
    """The lines to print."""
    scores: dict[str, list[tuple[float, ...]]] = {name: [] for name in FORMS}
    for seed in seeds:
        leaves = noisy_leaves(work, seed)
        for name in FORMS:
            started = time.perf_counter()
            scores[name].append(one_form(leaves, name))
            told = "  ".join(f"{c} {v:.4f}" for c, v in zip(COLUMNS, scores[name][-1], strict=True))
            yield f"  seed {seed}  {name:<14} {told}  ({time.perf_counter() - started:.0f} s)"
    yield f"n = {len(seeds)} seeds of {NUM_PHOTOS:,} photos; out of fold, mean over seeds, least to greatest"
    for name, values in scores.items():
        columns = zip(COLUMNS, np.array(values).T, strict=True)
        yield f"{name:<14} " + "  ".join(f"{c} {_spread(v)}" for c, v in columns)
    for word in ("clean", "soft"):
        leak = np.subtract(scores[f"{word}, global"], scores[f"{word}, nested"])
        yield f"{word}: global less nested, given {_spread(leak[:, 0])}  true {_spread(leak[:, 1])}"


def one_form(leaves: NoisyLeaves, name: str) -> tuple[float, ...]:
    """The values of the columns."""
    plain = leaves.folder / "0"
    if name == "all rows":
        probs = np.asarray(_plain_run(leaves, plain).predictions.pred_probs)
        kept = ~kiyome.find_label_issues(leaves.labels, probs)
        not_flagged = (probs.argmax(axis=1) == leaves.labels)[kept].mean()
        return *leaves.scores(probs), float(not_flagged), float(kept.mean())
    output = leaves.folder / name.replace(", ", "-")
    trained = _train(leaves, output, [change.replace("{plain}", str(plain)) for change in FORMS[name]])
    scores = trained.scores["all members"]
    not_flagged = scores.get(f"{NOT_FLAGGED}_accuracy_on_labels", np.nan)
    share = scores.get("rows_not_flagged", NUM_PHOTOS) / NUM_PHOTOS
    return *leaves.scores(trained.predictions.pred_probs), not_flagged, share


def _plain_run(leaves: NoisyLeaves, place: Path) -> FinishedRun:
    try:
        return open_run(place)
    except StaleArtifact:
        _train(leaves, place, [])
        return open_run(place)


def _train(leaves: NoisyLeaves, output: Path, changes: list[str]) -> kiyome.TrainResult:
    return kiyome.train(
        leaves.table,
        images=leaves.images,
        recipe="quick",
        changes=[*PLAIN, *changes],
        output=output,
        seed=leaves.seed,
        cache_folder=leaves.work / "cache",
    )


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():+.4f} ({values.min():+.4f} to {values.max():+.4f})"


if __name__ == "__main__":
    seeds = [int(seed) for seed in sys.argv[2:]] or [0, 1, 2]
    show(__file__, report(Path(sys.argv[1]), seeds), "torch", "timm", "accelerate")
