"""What cassava's out-of-fold predictions say about its labels, and what its duplicates say about that.

    python benchmarks/cassava_noise.py [FOLDER]

FOLDER holds cassava_oof.npz and cassava_duplicates.csv (kozodoi/Kaggle_Leaf_Disease_Classification, MIT).
They are not part of the project.

A duplicate pair is one photo that stands in the contest's data of 2019 and of 2020, labeled independently.
Only the 2020 row has a prediction. **A pair counts as flagged when its 2020 row is flagged**, as one of the
21,397 rows of the whole set. In a disagreeing pair at least one of the two labels is wrong, not always that
of 2020: of the 68, the prediction sides with 2020 in 33, with 2019 in 32, with neither in 3. Flagging
the wrong 2020 labels and no others would thus flag about half of them. Not known: whether the models that
made the predictions had seen the 2019 photos.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kiyome.estimates import proportion
from kiyome.noise import find_label_issues, noise_rate, posterior_matrix, transition_matrix
from kiyome.noise.label_issues import METHODS
from measured import SHARED_DATA, show

CLASSES = ["cbb", "cbsd", "cgm", "cmd", "healthy"]


def read_predictions(folder: Path):
    """Image ids, given labels and out-of-fold probabilities of the 21,397 rows."""
    with np.load(folder / "cassava_oof.npz") as stored:
        ids = [image_id.decode() for image_id in stored["image_id"]]
        return ids, stored["label"].astype(int), stored["probs"]


def read_pairs(folder: Path) -> dict[str, bool]:
    """For the 2020 id of each photo that 2019 labeled too: whether both labels agree."""
    groups = defaultdict(list)
    with (folder / "cassava_duplicates.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            groups[row["group"]].append(row)
    pairs = {}
    for rows in groups.values():
        sources = {row["source"]: row for row in rows}
        if len(rows) == 2 and set(sources) == {"2019-train", "2020"}:
            pairs[sources["2020"]["image_id"]] = rows[0]["label"] == rows[1]["label"]
    return pairs


def flagged_pairs(folder: Path, flagged: np.ndarray) -> dict[bool, tuple[int, int]]:
    """For agreeing (True) and disagreeing (False) pairs: how many are flagged, of how many."""
    ids, _, _ = read_predictions(folder)
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    pairs = read_pairs(folder)
    hits = {
        agree: [flagged[row_of[i]] for i, same in pairs.items() if same is agree] for agree in (False, True)
    }
    return {agree: (int(sum(rows)), len(rows)) for agree, rows in hits.items()}


def report(folder: Path) -> Iterator[str]:
    """The lines to print."""
    _, labels, probs = read_predictions(folder)
    rate, theirs = noise_rate(labels, probs), noise_rate(labels, probs, method="confident_joint")
    yield from (
        f"rows {len(labels):,}, classes {', '.join(CLASSES)}, labeled {np.bincount(labels).tolist()}",
        f"accuracy on given labels {(probs.argmax(axis=1) == labels).mean():.4f}",
        f"noise rate {rate.value:.4f}, band {rate.low:.4f} to {rate.high:.4f}",
        f"confident joint {theirs.value:.4f}, 95 % interval of chance {theirs.low:.4f} to {theirs.high:.4f}",
        "transition matrix, row: true class, column: given label",
        *(f"  {row}" for row in np.array_str(transition_matrix(labels, probs), precision=3).splitlines()),
        "posterior matrix, row: given label, column: true class",
        *(f"  {row}" for row in np.array_str(posterior_matrix(labels, probs), precision=3).splitlines()),
        "flagged rows; share of duplicate pairs whose 2020 row is flagged, with Wilson 95 % interval",
    )
    for method in ("adaptive", *METHODS):
        flagged = find_label_issues(labels, probs, method=method)
        shares = []
        for agree, (hits, num) in flagged_pairs(folder, flagged).items():
            estimate = proportion(hits, num)
            name = "agreeing" if agree else "disagreeing"
            shares.append(
                f"{name} {hits}/{num} = {hits / num:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
            )
        yield (f"  {method:21} {flagged.sum():5,}   {'   '.join(shares)}")


if __name__ == "__main__":
    show(__file__, report(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cassava"), "numpy")
