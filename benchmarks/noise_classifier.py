"""Does it show in a photo that its label will be flagged? Out of fold, beside chance and plain doubt.

    python benchmarks/noise_classifier.py WORK [SEED ...]

1,600 mango leaves with 20 % class-dependent noise: labels are flagged by `kiyome find`, then the recipe
`quick` learns from photos alone which are flagged. The talk, on cassava leaves, reached a precision of 22 %
and gave up. Mistakes here are drawn by class, so a photo can tell no more than its class does. About three
minutes a seed on one core; WORK keeps what is finished. Seeds 0, 1 and 2 if none are named.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import kiyome
from measured import show
from noisy_leaves import NUM_PHOTOS, PLAIN, noisy_leaves


def report(work: Path, seeds: list[int]) -> Iterator[str]:
    """The lines to print."""
    for seed in seeds:
        leaves = noisy_leaves(work, seed)
        cache = {"cache_folder": work / "cache"}
        found = kiyome.find(leaves.table, images=leaves.images, output=leaves.folder / "found", **cache)
        result = kiyome.noise_classifier(found.folder, changes=PLAIN, output=leaves.folder / "flags", **cache)
        photo = result.by_photo
        precision = "none called flagged" if photo.precision is None else photo.precision.as_percent()
        yield f"seed {seed}: {found.num_issues} of {NUM_PHOTOS:,} photos flagged"
        yield f"  chance                             {photo.chance.as_percent()}"
        yield f"  average precision by photo         {photo.average_precision.as_percent()}"
        yield f"  average precision by 1 - max prob  {result.by_doubt.average_precision.as_percent()}"
        yield f"  difference                         {result.gain.as_percent()}"
        yield f"  precision at one half              {precision}; recall {photo.recall.as_percent()}"


if __name__ == "__main__":
    show(__file__, report(Path(sys.argv[1]), [int(s) for s in sys.argv[2:]] or [0, 1, 2]), "torch", "timm")
