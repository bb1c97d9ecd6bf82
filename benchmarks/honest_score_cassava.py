"""What an out-of-fold score of 0.905 on cassava's labels leaves open, and a drawing of it.

    python benchmarks/honest_score_cassava.py [FOLDER]

FOLDER holds cassava_oof.npz and cassava_duplicates.csv (kozodoi/Kaggle_Leaf_Disease_Classification, MIT).
They are not part of the project. 662 photos carry a label of 2019 and one of 2020, given independently; in
68 they differ. At least one label of such a pair is wrong, so half of that share is the least share of wrong
labels among them; errors apart make it a little more. Are these photos like the others? That is looked at.

Writes docs/honest_score.svg.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kiyome.estimates import Estimate, proportion
from kiyome.evaluation.compare import noise_rate_from_pairs
from kiyome.evaluation.noisy_labels import AccuracyUnderNoise, accuracy_under_noise
from kiyome.report.charts import Interval, draw_intervals
from measured import HERE, SHARED_DATA, show

FIGURE = HERE.parent / "docs" / "honest_score.svg"


def read(folder: Path):
    """Labels, choices, probabilities, and the pairs of labels with the choice for the one of 2020."""
    with np.load(folder / "cassava_oof.npz") as stored:
        ids, labels, probs = stored["image_id"].astype(str), stored["label"].astype(int), stored["probs"]
    choice = dict(zip(ids, probs.argmax(axis=1), strict=True))
    groups = defaultdict(list)
    with (folder / "cassava_duplicates.csv").open() as file:
        for row in csv.DictReader(file):
            groups[row["group"]].append((row["source"], int(row["label"]), row["image_id"]))
    pairs = []
    for rows in groups.values():
        new = [(label, name) for source, label, name in rows if source == "2020"]
        old = [(label, name) for source, label, name in rows if source == "2019-train"]
        if len(new) == 1 and len(old) == 1 and new[0][1] in choice:
            pairs.append((old[0][0], new[0][0], choice[new[0][1]]))
    return labels, probs / probs.sum(axis=1, keepdims=True), np.array(pairs)


def report(folder: Path) -> Iterator[str]:
    """The lines to print."""
    labels, probs, pairs = read(folder)
    old, new, choice = pairs.T
    differ = old != new
    agree = of_rows((choice == new)[~differ])
    on_all = (probs.argmax(axis=1) == labels).mean()
    yield f"pairs {len(pairs)}, of which {differ.sum()} differ: {of_rows(differ)}"
    yield f"  of those that agree, the choice is that label in {agree}"
    for year, label in (("2020", new), ("2019", old)):
        sides = of_rows((choice == label)[differ])
        yield f"  of those that differ, the choice is the label of {year} in {sides}"
    yield f"  agreement with labels of 2020: on these photos {of_rows(choice == new)}, on all {on_all:.4f}"
    least = noise_rate_from_pairs(int(differ.sum()), len(pairs))
    apart = noise_rate_from_pairs(int(differ.sum()), len(pairs), num_classes=5)
    yield f"least share of wrong labels in pairs {least.as_percent()}; errors apart {apart.as_percent()}"
    found = {
        "noise rate of the pairs": accuracy_under_noise(labels, probs, measured=apart),
        "noise rate of the predictions": accuracy_under_noise(labels, probs),
    }
    for how, each in found.items():
        yield f"{how}:"
        for sentence in each.describe():
            yield f"  {sentence}"
        for point in each.sensitivity[:5]:
            yield f"    repeats {point.repeats:.2f}: {point.true_accuracy.as_percent()}"
    draw(*found.values())


def of_rows(hits: np.ndarray) -> str:
    return proportion(int(hits.sum()), len(hits)).as_percent()


def draw(pairs: AccuracyUnderNoise, alone: AccuracyUnderNoise) -> None:
    """Intervals as a small SVG."""
    tenth = next(point.true_accuracy for point in pairs.sensitivity if point.repeats == 0.1)
    top, plausible, bounds = pairs.ceiling, alone.plausible, pairs.bounds
    rows = [
        of("agrees with given labels", pairs.accuracy_on_given),
        Interval(name="a perfect model would score", low=top.low, value=top.value, high=top.high),
        of("right, if errors are apart", pairs.estimated_true_accuracy),
        of("right, if it repeats a tenth of the wrong labels", tenth),
        Interval(name="right, whatever the mistakes are like", low=bounds.low, high=bounds.high),
        Interval(name="right, plausible without the pairs", low=plausible.low, high=plausible.high),
    ]
    drawn = draw_intervals(rows, width=300)
    bottom, ink = drawn.height, 'stroke="#1f5f9e" stroke-width="1.5" fill="none"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -24 620 {bottom + 48}" width="620"',
        ' font-family="sans-serif" font-size="11" fill="#666">',
        '<text y="-10">Cassava, 21,397 rows, out of fold; noise rate from 662 photos labeled twice</text>',
    ]
    for x, text in drawn.ticks:
        parts.append(f'<path d="M{x} 0V{bottom}" stroke="#ccc"/>')
        parts.append(f'<text x="{x}" y="{bottom + 14}" text-anchor="middle">{text}</text>')
    for name, y, low, high, value in drawn.rows:
        parts.append(f'<path d="M{low} {y}H{high}M{low} {y - 4}v8M{high} {y - 4}v8" {ink}/>')
        if value is not None:
            parts.append(f'<circle cx="{value}" cy="{y}" r="3" fill="#1f5f9e"/>')
        parts.append(f'<text x="310" y="{y + 4}">{name}</text>')
    FIGURE.write_text("\n".join([*parts, "</svg>", ""]))


def of(name: str, estimate: Estimate) -> Interval:
    return Interval(name=name, low=estimate.low, value=estimate.value, high=estimate.high)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cassava"
    show(__file__, report(folder), "numpy", "scipy")
