"""How much of a place in the cassava contest is luck, from the places and scores that write-ups give.

    python benchmarks/contest_lottery.py

Known: ten places with their private scores (some rounded to 0.001), 3,900 teams, about 10,350 private rows,
31 % public. Assumed: scores lie evenly between known places; below place 226 they go on as between 165 and
226; two submissions differ, one alone right, on 4 % of rows. Nothing is tuned to the talk's "two images are
worth 24 to 54 ranks". Scores are taken as what submissions are worth, though they hold luck.
"""

from collections.abc import Iterator

import numpy as np

from kiyome.evaluation.compare_many import lottery, ranks_a_row
from measured import show

PLACES = [1, 2, 3, 10, 14, 18, 25, 36, 165, 226]
PRIVATE = [0.9132, 0.9043, 0.9028, 0.9017, 0.9016, 0.9013, 0.9010, 0.9000, 0.8993, 0.8990]
TEAMS, ROWS, PUBLIC, OURS = 3900, 10_350, 0.31, 226


def leaderboard() -> np.ndarray:
    """All scores, the best first."""
    ranks = np.arange(1, TEAMS + 1)
    fall = (PRIVATE[-2] - PRIVATE[-1]) / (PLACES[-1] - PLACES[-2])
    below = PRIVATE[-1] - fall * (ranks - PLACES[-1])
    return np.where(ranks <= PLACES[-1], np.interp(ranks, PLACES, PRIVATE), below)


def report() -> Iterator[str]:
    """The lines to print."""
    scores = leaderboard()
    yield f"leaderboard of {TEAMS:,} from {scores[0]:.4f} to {scores[-1]:.4f}; the talk's was rank {OURS}"
    for within in (0.0002, 0.0003, 0.0005, 0.001):
        worth = 2 * ranks_a_row(scores, ROWS, PRIVATE[-1], within)
        yield f"  two more right rows are worth {worth:.0f} ranks at {PRIVATE[-1]}, by scores within {within}"
    between, least, most = (2 * 129 / (gap * ROWS) for gap in (0.0007, 0.0012, 0.0002))
    yield f"  the talk: 24 to 54. From places 36 to 165: {between:.0f}; by rounding {least:.0f} to {most:.0f}"
    for differing in (0.02, 0.04, 0.08):
        found = lottery(scores, ROWS, place=OURS - 1, differing=differing, public_share=PUBLIC)
        top = found.private_of_public_top
        yield (
            f"  differing on {differing:.0%}: rank {found.rank} on other rows: {found.ranks.median:.0f}"
            f" ({found.ranks.low:.0f} to {found.ranks.high:.0f}); luck of a difference {100 * found.luck:.2f}"
            f" points; the public first is privately {top.median:.0f} ({top.low:.0f} to {top.high:.0f});"
            f" rank correlation of the two parts {found.public_private:.2f}"
        )


if __name__ == "__main__":
    show(__file__, report(), "numpy")
